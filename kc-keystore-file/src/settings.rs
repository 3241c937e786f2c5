//! The settings of a node in three layers: the environment overrides the file, and flags override both.

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

/// The settings of a node in three layers. The environment overrides the `.config` file, and flags override both.
///
/// | layer | form |
/// |---|---|
/// | file | `[<node>-crypto]` and `maxage : 3600`; sections inherit from `[DEFAULT]` |
/// | environment | `KC_CONFIG__CRYPTO__MAXAGE=3600` |
/// | flags | [`flag`](Self::flag)`(Section::CRYPTO, "maxage", "3600")` |
///
/// In `KC_CONFIG__<SECTION>__<NAME>`, SECTION is `NODE` for the node's own section. For another section, it is the part
/// of the section's name after `<node>-`, with `_` instead of `-`: `KAFKA_CONSUMER` stands for `<node>-kafka-consumer`.
/// NAME is the name of the entry, for example `BOOTSTRAP_SERVERS`. Upper and lower case are equivalent. The value is
/// taken literally: `%` has no special meaning. Values of the environment and of flags are never written to the file.
///
/// [`extract`](Self::extract) fills a struct from a section. An error names the entry and its origin. serde receives
/// each value as text, so that a password of digits stays text. The text is converted to a number or a boolean if the
/// struct requires one.
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

/// The reason why settings cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The configuration contains a reference (`%(name)s`) that cannot be resolved.
    #[error("{}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The error in the file.
        problem: ConfigError,
    },
    /// A file that a setting refers to cannot be read.
    #[error("cannot use the file that `{name}` refers to")]
    Reference {
        /// The name of the setting.
        name: &'static str,
        /// The error of the file.
        source: FileError,
    },
    /// A value is missing, or does not have the type that the struct requires. The message names the entry and, if the
    /// entry exists, its origin.
    #[error(transparent)]
    Value(Box<Error>),
}

impl<'a> Settings<'a> {
    /// Returns the settings of a `.config` file. `path` is the path of this file. Messages name this path. Relative
    /// paths in the file are relative to the folder of the file.
    pub fn new(config: &'a NodeConfig, path: &Path) -> Self {
        Self {
            config,
            path: path.to_owned(),
            environment: Vec::new(),
            flags: Vec::new(),
        }
    }

    /// Adds the environment variables `KC_CONFIG__…`, which override the file. Other variables are ignored. A
    /// `KC_CONFIG__` variable that is malformed is ignored, too, and a warning is logged. The program passes
    /// [`std::env::vars_os`].
    #[must_use]
    pub fn environment(
        mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        self.environment.extend(from_environment(variables));
        self
    }

    /// Adds a flag, which overrides the file and the environment. A later flag overrides an earlier flag for the same
    /// entry.
    #[must_use]
    pub fn flag(mut self, section: Section<'_>, name: &str, text: &str) -> Self {
        self.flags.push(Override::flag(section, name, text));
        self
    }

    /// Fills a struct from the entries of one section in all layers, and from the entries that the section inherits
    /// from `[DEFAULT]`.
    ///
    /// # Errors
    /// Returns [`SettingsError::Config`] if a reference in the file cannot be resolved, and [`SettingsError::Value`] if
    /// a value is missing or has another type.
    pub fn extract<T: DeserializeOwned>(&self, section: Section<'_>) -> Result<T, SettingsError> {
        lossy(&self.figment(section)?)
    }

    /// Returns the settings of one Kafka client. Within one layer, the sections are merged as in
    /// [`NodeConfig::kafka_config`]. Then the environment overrides the file, and flags override both, whatever the
    /// section: `<node>-kafka` in the environment overrides `<node>-kafka-consumer` in the file. The names that
    /// kafka-python uses and the names that librdkafka uses are equivalent. The `group_id` is set or removed as by
    /// [`KafkaSettings::with_group_id`].
    ///
    /// If a password, a secret or a PEM text (such as `sasl_plain_password`) is `file#PATH`, its value is the content of
    /// that file without a final line feed. If the name of a file (such as `ssl_cafile`) is `file#PATH`, its value is the
    /// path. PATH is relative to the folder of the configuration if the setting comes from the `.config` file. Otherwise it is
    /// relative to the current folder.
    ///
    /// # Errors
    /// Returns [`SettingsError::Config`] if a reference in the file cannot be resolved, and
    /// [`SettingsError::Reference`] if a file with a password cannot be read.
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

    /// Returns one section with its layers as a [`Figment`], for callers that extract values in another way. Each value
    /// is a string.
    ///
    /// # Errors
    /// Returns [`SettingsError::Config`] if a reference in the file cannot be resolved.
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

/// Returns the part of a section's name after `<node>-`. It is empty for the node's own section.
fn suffix(section: Section<'_>) -> String {
    section.suffix().unwrap_or_default().to_owned()
}

/// Extracts a struct. Converts text to numbers and booleans where the struct requires them. If a value has the wrong
/// type, the error does not show the value's text, because it may be a password in the wrong place. Errors of a type's
/// own conversion may show the text.
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

/// The settings for which `file#PATH` stands for the content of the file.
const CONTENTS: [&str; 6] = [
    "sasl_oauth_client_secret",
    "sasl_plain_password",
    "ssl.ca.pem",
    "ssl.certificate.pem",
    "ssl.key.pem",
    "ssl_password",
];

/// The settings for which `file#PATH` stands for the path of the file.
const PATHS: [&str; 6] = [
    "sasl_oauth_assertion_file",
    "sasl_oauth_cafile",
    "sasl_oauth_token_file",
    "ssl_cafile",
    "ssl_certfile",
    "ssl_keyfile",
];

/// The maximum size of a file whose content is a value, in bytes.
const LONGEST_SECRET: u64 = 64 << 10;

/// Resolves `file#` references. `folder` returns the folder to which the path in a setting is relative, or `None` for
/// the current folder.
fn resolve_files<'f>(
    settings: &mut KafkaSettings,
    folder: impl Fn(&str) -> Option<&'f Path>,
) -> Result<(), SettingsError> {
    let referred = |settings: &KafkaSettings, name| -> Option<PathBuf> {
        let path = settings.text(name)?.strip_prefix(FILE_REFERENCE)?;
        Some(folder(name).unwrap_or(Path::new("")).join(path))
    };
    for name in CONTENTS {
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
            Err(FileError::new("read the text in", path, source))
        }
    }
}

const PREFIX: &str = "KC_CONFIG__";
const SEPARATOR: &str = "__";
/// The name of the node's own section in environment variables. In the file, the name of this section is the id of the
/// node.
const OWN_SECTION: &str = "node";

/// A value from the environment or from a flag. `Debug` hides the value, because it may be a password.
struct Override {
    /// The part of the section's name after `<node>-`; empty for the node's own section.
    section: String,
    /// The name of the entry, in lower case.
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
                "variable ignored: its name does not have the form KC_CONFIG__<SECTION>__<NAME>"
            ),
            (_, Err(_)) => tracing::warn!(?variable, "variable ignored: its value is not UTF-8"),
        }
    }
    overrides
}

/// Returns the name of the environment variable that sets `name` in a section.
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

/// The origin of values, for messages.
#[derive(Debug, Clone)]
enum Origin {
    File {
        path: PathBuf,
        /// The complete name of the section.
        section: String,
    },
    /// Environment variables for one section: the part of the section's name after `<node>-`, or an empty text for the
    /// node's own section.
    Environment(String),
    Flags,
}

/// The entries of one section from one origin, which figment merges.
struct Scope {
    origin: Origin,
    entries: Dict,
}

impl Scope {
    /// Collects entries. A later entry replaces an earlier one with the same name.
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
