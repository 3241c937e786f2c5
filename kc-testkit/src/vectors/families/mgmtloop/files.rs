//! A node's files, opened.

use std::fmt::Display;
use std::time::Duration;

use kc_core::chain::{TrustEntry, TrustStore};
use kc_core::own_chains::OwnChains;
use kc_core::store::NodeSecrets;
use kc_core::store::config::{NodeConfig, Section, Value};

use crate::vectors::families::convert::binary_entries;
use crate::vectors::families::credentials::{Credentials, secrets};
use crate::vectors::{Fields, InputError};

pub(super) struct Files {
    pub(super) config: NodeConfig,
    pub(super) credentials: Credentials,
}

impl Files {
    /// `config` and `crypto_file`.
    pub(super) fn open(fields: &Fields<'_>) -> Result<Self, InputError> {
        let config = NodeConfig::parse(fields.text("config")?).map_err(invalid("config"))?;
        Self::new(config, secrets(fields)?)
    }

    pub(super) fn new(config: NodeConfig, secrets: NodeSecrets) -> Result<Self, InputError> {
        let entries = |section| {
            let entries = binary_entries(&config, section)?;
            let entries = entries.iter().map(|(_, entry)| TrustEntry::parse(entry));
            entries.collect::<Result<_, _>>().map_err(invalid("a list"))
        };
        let trust = TrustStore::new(
            Some(entries(Section::ALLOWLIST)?),
            entries(Section::DENYLIST)?,
        );
        let chains = OwnChains::load(&config).map_err(invalid("chains"))?;
        Ok(Self {
            credentials: Credentials::new(secrets, &chains, trust),
            config,
        })
    }

    pub(super) fn value(
        &self,
        section: Section<'_>,
        name: &str,
    ) -> Result<Option<Value>, InputError> {
        let value = self.config.load_value(section, name);
        value.map_err(invalid(name))
    }

    /// A length of time in seconds.
    pub(super) fn seconds(
        &self,
        section: Section<'_>,
        name: &str,
    ) -> Result<Option<Duration>, InputError> {
        let seconds = match self.value(section, name)? {
            None => return Ok(None),
            Some(Value::Int(seconds)) => u64::try_from(seconds).ok().map(Duration::from_secs),
            Some(Value::Float(seconds)) => Duration::try_from_secs_f64(seconds).ok(),
            Some(_) => None,
        };
        seconds
            .map(Some)
            .ok_or_else(|| InputError::new(name, "is no length of time"))
    }

    pub(super) fn set(
        &mut self,
        section: Section<'_>,
        name: impl Into<kc_core::store::config::Name>,
        value: Vec<u8>,
    ) -> Result<(), InputError> {
        let set = self.config.set(section, name, &Value::Bytes(value));
        set.map(drop).map_err(invalid("an entry"))
    }

    /// The lines of a section as the file has them, but for empty ones.
    pub(super) fn lines(&self, section: Section<'_>) -> Vec<String> {
        let header = format!("[{}]", section.name(self.config.node_id()));
        let file = self.config.render();
        let below = file.lines().skip_while(|line| *line != header).skip(1);
        let lines = below.take_while(|line| !line.starts_with('['));
        lines
            .filter(|line| !line.is_empty())
            .map(str::to_owned)
            .collect()
    }
}

/// What is recorded cannot be taken for a node's files.
pub(super) fn invalid<E: Display>(at: &str) -> impl Fn(E) -> InputError {
    move |error| InputError::new(at, error.to_string())
}
