//! The configuration in layers: file < environment < flags.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use figment::error::{Actual, Kind};
use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};
use kc_core::backend::canonical_name;
use kc_core::store::config::{
    ConfigError, Inherit, KafkaSettings, KafkaUse, NodeConfig, Section, kafka_sections,
};
use serde::de::DeserializeOwned;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::FileError;
use crate::atomic::read_bounded;
use crate::files::FILE_REFERENCE;

/// A node's settings: its `.config` file, under the environment, under flags.
///
/// | layer | how it is written |
/// |---|---|
/// | file | `[<node>-crypto]` and `maxage : 3600`; sections inherit from `[DEFAULT]` |
/// | environment | `KC_CONFIG__CRYPTO__MAXAGE=3600` |
/// | flags | [`flag`](Self::flag)`(Section::CRYPTO, "maxage", "3600")` |
///
/// `KC_CONFIG__<SECTION>__<NAME>`: SECTION is `NODE` for the node's own section, else what follows `<node>-` with
/// `_` for `-` (`KAFKA_CONSUMER` is `<node>-kafka-consumer`); NAME is the entry's name (`BOOTSTRAP_SERVERS`); case
/// does not matter. The value is taken as it is: `%` has no meaning in it. Layers above the file are never written
/// to the file.
///
/// [`extract`](Self::extract) fills a struct from a section; an error names the entry and where it came from.
/// Every value is given to serde as text, so that a password of digits stays text; numbers and booleans are made
/// where the struct asks for them.
///
/// ```
/// use std::path::Path;
///
/// use kc_core::store::config::{NodeConfig, Section};
/// use kc_keystore_file::Settings;
///
/// #[derive(serde::Deserialize)]
/// struct Crypto {
///     maxage: f64,
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = NodeConfig::parse("[DEFAULT]\nnode_id : n1\n\n[n1-crypto]\nmaxage : 86400\n")?;
/// let variable = ("KC_CONFIG__CRYPTO__MAXAGE".into(), "soon".into());
/// let settings = Settings::new(&config, Path::new("n1.config")).environment([variable]);
/// let error = settings.extract::<Crypto>(Section::CRYPTO).err().map(|error| error.to_string());
/// assert_eq!(
///     error.as_deref(),
///     Some("invalid type: found text, expected f64 for key \"KC_CONFIG__CRYPTO__MAXAGE\" in the environment")
/// );
/// let settings = settings.flag(Section::CRYPTO, "maxage", "3600");
/// assert_eq!(settings.extract::<Crypto>(Section::CRYPTO)?.maxage, 3600.0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Settings<'a> {
    config: &'a NodeConfig,
    path: PathBuf,
    environment: Vec<Override>,
    flags: Vec<Override>,
}

/// Why settings could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file has a reference that cannot be resolved.
    #[error("{}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: ConfigError,
    },
    /// A file that a setting refers to.
    #[error("`{name}`")]
    Reference {
        /// The setting.
        name: &'static str,
        /// What is wrong with the file.
        source: FileError,
    },
    /// A value is missing or not of the type that the struct wants; says which and where it came from.
    #[error(transparent)]
    Value(Box<Error>),
}

impl<'a> Settings<'a> {
    /// The settings of a file; `path` is for messages.
    pub fn new(config: &'a NodeConfig, path: &Path) -> Self {
        Self {
            config,
            path: path.to_owned(),
            environment: Vec::new(),
            flags: Vec::new(),
        }
    }

    /// Puts the variables `KC_CONFIG__…` of an environment above the file; others are passed over. The program
    /// gives [`std::env::vars_os`]. One that cannot be understood is passed over with a warning.
    #[must_use]
    pub fn environment(
        mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        self.environment.extend(from_environment(variables));
        self
    }

    /// Puts a flag above file and environment; of two for the same entry the later wins.
    #[must_use]
    pub fn flag(mut self, section: Section<'_>, name: &str, text: &str) -> Self {
        self.flags.push(Override::flag(section, name, text));
        self
    }

    /// A struct from one section and what it inherits.
    ///
    /// # Errors
    /// A reference in the file that cannot be resolved; a value missing or of another type.
    pub fn extract<T: DeserializeOwned>(&self, section: Section<'_>) -> Result<T, SettingsError> {
        lossy(&self.figment(section)?)
    }

    /// The Kafka settings for one client. Inside a layer the sections merge as
    /// [`NodeConfig::kafka_config`] says; any section of a higher layer wins over every section of a lower one, whether
    /// it has kafka-python's name of a setting or librdkafka's.
    ///
    /// `sasl_plain_password` and `ssl_password` may be `file#PATH`: the content of the file, without a final line feed.
    /// In `ssl_cafile`, `ssl_certfile` and `ssl_keyfile`, `file#PATH` is that path. Such a path is relative to the
    /// folder of the configuration if it stands there, else to the current one.
    ///
    /// # Errors
    /// A reference in the file that cannot be resolved; a file that cannot be read.
    pub fn kafka(
        &self,
        purpose: KafkaUse,
        extra: Option<&str>,
    ) -> Result<KafkaSettings, SettingsError> {
        let sections = kafka_sections(purpose, extra);
        let mut settings = KafkaSettings::default();
        let mut in_file = BTreeSet::new();
        for section in sections.iter().map(|section| Section::named(section)) {
            let of_section = self.config.own_settings(section);
            for setting in of_section.map_err(|problem| self.refused(problem))? {
                let name = setting.name.to_string();
                let name = canonical_name(&name);
                settings.apply(name, &setting.text);
                in_file.insert(name.to_owned());
            }
        }
        for layer in [&self.environment, &self.flags] {
            for section in &sections {
                for item in layer.iter().filter(|item| item.section == *section) {
                    let name = canonical_name(&item.name);
                    settings.apply(name, &item.text);
                    in_file.remove(name);
                }
            }
        }
        resolve_files(&mut settings, |name| {
            self.path.parent().filter(|_| in_file.contains(name))
        })?;
        Ok(settings.with_group_id(self.config.node_id(), purpose, extra))
    }

    /// One section with its layers, for extraction in other ways; every value is a string.
    ///
    /// # Errors
    /// A reference in the file that cannot be resolved.
    pub fn figment(&self, section: Section<'_>) -> Result<Figment, SettingsError> {
        let in_file = self.config.load_section(section, Inherit::Defaults);
        let in_file = in_file
            .map_err(|problem| self.refused(problem))?
            .unwrap_or_default();
        let mut figment = Figment::new().merge(Scope::new(
            self.file_origin(section),
            in_file
                .iter()
                .map(|setting| (setting.name.to_string(), setting.text.as_str())),
        ));
        for (origin, layer) in [
            (Origin::Environment(suffix(section)), &self.environment),
            (Origin::Flags, &self.flags),
        ] {
            let of_section = layer.iter().filter(|item| item.section == suffix(section));
            figment = figment.merge(Scope::new(
                origin,
                of_section.map(|item| (item.name.clone(), item.text.as_str())),
            ));
        }
        Ok(figment)
    }

    fn file_origin(&self, section: Section<'_>) -> Origin {
        Origin::File {
            path: self.path.clone(),
            section: section.name(self.config.node_id()),
        }
    }

    fn refused(&self, problem: ConfigError) -> SettingsError {
        SettingsError::Config {
            path: self.path.clone(),
            problem,
        }
    }
}

/// The key of a section in the layers above the file: empty for the node's own.
fn suffix(section: Section<'_>) -> String {
    section.suffix().unwrap_or_default().to_owned()
}

/// Numbers and booleans are made from text where the struct asks for them. The message does not show a text: it
/// may be a password in the wrong place.
fn lossy<T: DeserializeOwned>(figment: &Figment) -> Result<T, SettingsError> {
    figment.extract_lossy().map_err(|mut error| {
        if let Kind::InvalidType(actual @ Actual::Str(_), _)
        | Kind::InvalidValue(actual @ Actual::Str(_), _) = &mut error.kind
        {
            *actual = Actual::Other("text".to_owned());
        }
        SettingsError::Value(Box::new(error))
    })
}

/// The content of the file is the value.
const SECRETS: [&str; 2] = ["sasl_plain_password", "ssl_password"];

/// The path of the file is the value.
const PATHS: [&str; 3] = ["ssl_cafile", "ssl_certfile", "ssl_keyfile"];

/// No password is longer, in bytes.
const LONGEST_SECRET: u64 = 64 << 10;

/// Puts in what is referred to. `folder` tells what the path in a setting is relative to, if not to the current
/// folder.
fn resolve_files<'f>(
    settings: &mut KafkaSettings,
    folder: impl Fn(&str) -> Option<&'f Path>,
) -> Result<(), SettingsError> {
    let referred = |settings: &KafkaSettings, name| -> Option<PathBuf> {
        let path = settings.text(name)?.strip_prefix(FILE_REFERENCE)?;
        Some(folder(name).unwrap_or(Path::new("")).join(path))
    };
    for name in SECRETS {
        if let Some(path) = referred(settings, name) {
            let secret = secret(&path);
            let secret = secret.map_err(|source| SettingsError::Reference { name, source })?;
            settings.apply(name, &secret);
        }
    }
    for name in PATHS {
        if let Some(path) = referred(settings, name) {
            settings.apply(name, &path.to_string_lossy());
        }
    }
    Ok(())
}

fn secret(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let bytes = read_bounded(path, LONGEST_SECRET)?;
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(error) => {
            let source = io::Error::new(io::ErrorKind::InvalidData, error);
            Err(FileError::new("read as text", path, source))
        }
    }
}

const PREFIX: &str = "KC_CONFIG__";
const SEPARATOR: &str = "__";
/// The node's own section, whose name in the file is the node's.
const OWN_SECTION: &str = "node";

/// A value from above the file. `Debug` hides it: it may be a password.
struct Override {
    /// What follows `<node>-`; empty for the node's own section.
    section: String,
    /// In lower case.
    name: String,
    text: Zeroizing<String>,
    source: Source,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    Environment,
    Flag,
}

impl Override {
    fn flag(section: Section<'_>, name: &str, text: &str) -> Self {
        let text = Zeroizing::new(text.to_owned());
        Self {
            section: suffix(section),
            name: name.to_lowercase(),
            text,
            source: Source::Flag,
        }
    }
}

impl fmt::Debug for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} [{}] {}", self.source, self.section, self.name)
    }
}

fn from_environment(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<Override> {
    let mut overrides = Vec::new();
    for (variable, text) in variables {
        let Some(rest) = variable.to_str().and_then(strip_prefix) else {
            continue;
        };
        let parsed = rest
            .split_once(SEPARATOR)
            .filter(|(section, name)| !section.is_empty() && !name.is_empty());
        match (parsed, text.into_string()) {
            (Some((section, name)), Ok(text)) => overrides.push(Override {
                section: section_of(section),
                name: name.to_lowercase(),
                text: Zeroizing::new(text),
                source: Source::Environment,
            }),
            (None, _) => tracing::warn!(
                ?variable,
                "expected KC_CONFIG__<SECTION>__<NAME>; passed over"
            ),
            (_, Err(_)) => tracing::warn!(?variable, "its value is not UTF-8; passed over"),
        }
    }
    overrides
}

/// The variable that sets `name` in a section.
fn variable(section: &str, name: &str) -> String {
    let section = if section.is_empty() {
        OWN_SECTION
    } else {
        section
    };
    format!(
        "{PREFIX}{}{SEPARATOR}{}",
        section.replace('-', "_").to_uppercase(),
        name.to_uppercase()
    )
}

fn strip_prefix(variable: &str) -> Option<&str> {
    let (prefix, rest) = variable.split_at_checked(PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then_some(rest)
}

fn section_of(written: &str) -> String {
    let section = written.to_lowercase().replace('_', "-");
    if section == OWN_SECTION {
        String::new()
    } else {
        section
    }
}

/// Where values come from, for messages.
#[derive(Debug, Clone)]
enum Origin {
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
struct Scope {
    origin: Origin,
    entries: Dict,
}

impl Scope {
    /// Of two entries with the same name the later stays.
    fn new<'a>(origin: Origin, entries: impl Iterator<Item = (String, &'a str)>) -> Self {
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

#[cfg(test)]
mod tests;
