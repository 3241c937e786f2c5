use std::path::PathBuf;

use figment::value::{Dict, Map, Value};
use figment::{Error, Metadata, Profile, Provider};

use super::overrides::variable;

/// Where values come from, for messages.
#[derive(Debug, Clone)]
pub(super) enum Origin {
    File {
        path: PathBuf,
        /// The section's whole name.
        section: String,
    },
    /// The section's suffix.
    Environment(String),
    Flags,
}

/// Entries of one section from one place: what figment merges.
pub(super) struct Scope {
    origin: Origin,
    entries: Dict,
}

impl Scope {
    /// Of two entries with the same name the later stays.
    pub(super) fn new<'a>(
        origin: Origin,
        entries: impl Iterator<Item = (String, &'a str)>,
    ) -> Self {
        Self {
            origin,
            entries: entries
                .map(|(name, text)| (name, Value::from(text)))
                .collect(),
        }
    }
}

impl Provider for Scope {
    fn metadata(&self) -> Metadata {
        match self.origin.clone() {
            Origin::File { path, section } => Metadata::from("configuration file", path.as_path())
                .interpolater(move |_, keys| format!("[{section}] {}", keys.join("."))),
            Origin::Environment(section) => Metadata::named("the environment")
                .interpolater(move |_, keys| variable(&section, &keys.join("."))),
            Origin::Flags => Metadata::named("a flag").interpolater(|_, keys| keys.join(".")),
        }
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.entries.clone()))
    }
}
