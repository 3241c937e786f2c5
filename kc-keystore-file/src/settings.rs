//! The configuration in layers: file < environment < flags.

mod overrides;
mod references;
mod scope;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::error::{Actual, Kind};
use kc_core::backend::canonical_name;
use kc_core::store::config::{
    ConfigError, Inherit, KafkaSettings, KafkaUse, NodeConfig, Section, kafka_sections,
};
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::FileError;
use overrides::{Override, from_environment};
use scope::{Origin, Scope};

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
    Value(Box<figment::Error>),
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
        references::resolve(&mut settings, |name| {
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
