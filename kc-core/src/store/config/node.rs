use std::collections::HashMap;
use std::fmt;

use zeroize::Zeroizing;

use super::document::DEFAULT_SECTION;
use super::{ConfigError, Document, KafkaSettings, KafkaUse, Name, Value, kafka_sections};

const NODE_ID: &str = "node_id";

/// A node's configuration: its id and its sections, on top of the file's [`Document`].
#[derive(PartialEq, Eq)]
pub struct NodeConfig {
    node_id: String,
    document: Document,
}

/// Whether a section is listed with what it inherits from `[DEFAULT]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inherit {
    /// With the inherited entries, after its own.
    Defaults,
    /// Without them, and without own entries that merely repeat an inherited one.
    Nothing,
}

/// One entry of a section.
///
/// `Debug` shows the name only.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// The name, in lower case unless binary.
    pub name: Name,
    /// The text, references resolved.
    pub text: Zeroizing<String>,
}

impl Setting {
    /// The text, typed by how it looks; `None` for invalid base64.
    pub fn value(&self) -> Option<Value> {
        Value::decode(&self.text)
    }
}

impl NodeConfig {
    /// The configuration of a fresh node: long key ids, an empty allowlist, an empty denylist. Nobody is trusted
    /// until a root of trust is added.
    ///
    /// # Errors
    /// A node id that cannot stand in a file.
    pub fn create(node_id: &str) -> Result<Self, ConfigError> {
        let mut config = Self::open(Document::default(), Some(node_id))?;
        config.set(Section::NODE, "mgmt_long_keyindex", &Value::Bool(true))?;
        for section in [Section::ALLOWLIST, Section::DENYLIST, Section::CRYPTO] {
            config.add_section(section)?;
        }
        Ok(config)
    }

    /// Adds the Kafka sections of a fresh node: TLS, no servers yet, `ssl_cafile` the certificates of the system.
    ///
    /// # Errors
    /// A path that cannot stand in a file.
    pub fn add_kafka_sections(&mut self, ssl_cafile: &str) -> Result<(), ConfigError> {
        for (name, text) in [
            ("bootstrap_servers", ""),
            ("security_protocol", "SSL"),
            ("ssl_cafile", ssl_cafile),
        ] {
            self.set(Section::KAFKA, name, &Value::from(text))?;
        }
        for purpose in [
            "consumer",
            "producer",
            "crypto",
            "crypto-consumer",
            "crypto-producer",
        ] {
            self.add_section(Section::named(&format!("kafka-{purpose}")))?;
        }
        Ok(())
    }

    /// Reads a node's file.
    ///
    /// # Errors
    /// As [`Document::parse`], and a file without node id.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::open(Document::parse(text)?, None)
    }

    /// A document as the configuration of a node. A node id that is given and missing in the document is added.
    ///
    /// # Errors
    /// No node id at all, or another one than the given.
    pub fn open(mut document: Document, node_id: Option<&str>) -> Result<Self, ConfigError> {
        let found = document
            .get(DEFAULT_SECTION, &NODE_ID.into())?
            .filter(|found| !found.is_empty());
        let node_id = match (found, node_id) {
            (Some(found), None) => found.to_string(),
            (Some(found), Some(wanted)) if *found == wanted => wanted.to_owned(),
            (Some(found), Some(wanted)) => {
                return Err(ConfigError::NodeIdMismatch {
                    found: found.to_string(),
                    wanted: wanted.to_owned(),
                });
            }
            (None, None | Some("")) => return Err(ConfigError::NodeIdMissing),
            (None, Some(wanted)) => {
                document.set(DEFAULT_SECTION, &NODE_ID.into(), wanted)?;
                wanted.to_owned()
            }
        };
        if node_id == DEFAULT_SECTION {
            return Err(ConfigError::UnwritableSection { section: node_id });
        }
        Ok(Self { node_id, document })
    }

    /// The node's id.
    pub fn node_id(&self) -> &str {
        &self.node_id
    }

    /// The file.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The file's text.
    pub fn render(&self) -> Zeroizing<String> {
        self.document.render()
    }

    /// An entry, typed by how it looks, from the section or inherited from `[DEFAULT]`, even if the section does
    /// not exist. `None` if it is not set or is invalid base64.
    ///
    /// Names of settings ignore case. The labels of `-allowlist`, `-denylist` and `-chainkeys` are found only if
    /// the file has them in lower case, as KafkaCrypto finds them.
    ///
    /// # Errors
    /// A reference (`%(name)s`) that cannot be resolved.
    pub fn load_value(
        &self,
        section: Section<'_>,
        name: impl Into<Name>,
    ) -> Result<Option<Value>, ConfigError> {
        Ok(self
            .load_text(section, name)?
            .and_then(|text| Value::decode(&text)))
    }

    /// An entry as written, references resolved: for what must not be taken for a number, such as a password.
    /// Found as by [`load_value`](Self::load_value).
    ///
    /// # Errors
    /// A reference that cannot be resolved.
    pub fn load_text(
        &self,
        section: Section<'_>,
        name: impl Into<Name>,
    ) -> Result<Option<Zeroizing<String>>, ConfigError> {
        let (file_section, name) = (section.name(&self.node_id), name.into());
        if section.holds_labels() {
            let written = self.document.written_name(&file_section, &name);
            if written != Some(name.to_string().as_str()) {
                return Ok(None);
            }
        }
        self.document.get(&file_section, &name)
    }

    /// The entries of a section in the file's order, then the inherited ones. `None` if there is no such section
    /// and nothing to inherit was asked for.
    ///
    /// # Errors
    /// A reference that cannot be resolved.
    pub fn load_section(
        &self,
        section: Section<'_>,
        inherit: Inherit,
    ) -> Result<Option<Vec<Setting>>, ConfigError> {
        let file_section = section.name(&self.node_id);
        if inherit == Inherit::Nothing && !self.document.has_section(&file_section) {
            return Ok(None);
        }
        let mut settings = self.own_settings(section)?;
        match inherit {
            Inherit::Defaults => {
                for entry in self.document.inherited(&file_section) {
                    settings.push(Setting::from(entry?));
                }
            }
            Inherit::Nothing => {
                let defaults: Result<HashMap<&Name, Zeroizing<String>>, _> =
                    self.document.own(DEFAULT_SECTION).collect();
                let defaults = defaults?;
                settings.retain(|setting| defaults.get(&setting.name) != Some(&setting.text));
            }
        }
        Ok(Some(settings))
    }

    /// What stands in a section itself, in the file's order; empty if there is no such section.
    ///
    /// # Errors
    /// A reference that cannot be resolved.
    pub fn own_settings(&self, section: Section<'_>) -> Result<Vec<Setting>, ConfigError> {
        self.document
            .own(&section.name(&self.node_id))
            .map(|entry| entry.map(Setting::from))
            .collect()
    }

    /// The Kafka sections merged for one client, see [`kafka_sections`]; later ones win, an empty value unsets.
    /// What a section repeats of `[DEFAULT]` counts, what it only inherits does not.
    ///
    /// # Errors
    /// A reference that cannot be resolved.
    pub fn kafka_config(
        &self,
        purpose: KafkaUse,
        extra: Option<&str>,
    ) -> Result<KafkaSettings, ConfigError> {
        let mut settings = KafkaSettings::default();
        for section in kafka_sections(purpose, extra) {
            for setting in self.own_settings(Section::named(&section))? {
                settings.apply(&setting.name.to_string(), &setting.text);
            }
        }
        Ok(settings.with_group_id(&self.node_id, purpose, extra))
    }

    /// Sets an entry, creating its section if need be; see [`Document::set`]. Returns whether anything changed.
    ///
    /// # Errors
    /// A name or value that would not read back the same.
    pub fn set(
        &mut self,
        section: Section<'_>,
        name: impl Into<Name>,
        value: &Value,
    ) -> Result<bool, ConfigError> {
        self.document
            .set(&section.name(&self.node_id), &name.into(), &value.encode())
    }

    /// Removes an entry of the section itself. Returns whether there was one.
    pub fn remove(&mut self, section: Section<'_>, name: impl Into<Name>) -> bool {
        self.document
            .remove(&section.name(&self.node_id), &name.into())
    }

    /// Adds an empty section unless the file has it. Returns whether it was added.
    ///
    /// # Errors
    /// A name that cannot stand in a file.
    pub fn add_section(&mut self, section: Section<'_>) -> Result<bool, ConfigError> {
        self.document.add_section(&section.name(&self.node_id))
    }
}

impl From<(&Name, Zeroizing<String>)> for Setting {
    fn from((name, text): (&Name, Zeroizing<String>)) -> Self {
        Self {
            name: name.clone(),
            text,
        }
    }
}

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeConfig")
            .field("node_id", &self.node_id)
            .field("document", &self.document)
            .finish()
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// One of a node's sections: its own, named after the node, or `<node>-<suffix>` (protocol §11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Section<'a>(Option<&'a str>);

impl<'a> Section<'a> {
    /// `<node>`: the node's own settings.
    pub const NODE: Section<'static> = Section(None);
    /// `<node>-crypto`: `maxage`, `oldkeys`.
    pub const CRYPTO: Section<'static> = Section(Some("crypto"));
    /// `<node>-chains`: `chain0`, `chain1`, … by signing key order.
    pub const CHAINS: Section<'static> = Section(Some("chains"));
    /// `<node>-allowlist`: the roots of trust.
    pub const ALLOWLIST: Section<'static> = Section(Some("allowlist"));
    /// `<node>-denylist`: revoked keys.
    pub const DENYLIST: Section<'static> = Section(Some("denylist"));
    /// `<node>-chainkeys`: the keys a chain server renews.
    pub const CHAIN_KEYS: Section<'static> = Section(Some("chainkeys"));
    /// `<node>-provisioners`: a list of old versions, see [`NodeConfig::migrate`](super::NodeConfig::migrate).
    pub const PROVISIONERS: Section<'static> = Section(Some("provisioners"));
    /// `<node>-kafka`: Kafka settings of every client.
    pub const KAFKA: Section<'static> = Section(Some("kafka"));

    /// `<node>-<suffix>`.
    pub const fn named(suffix: &'a str) -> Self {
        Self(Some(suffix))
    }

    /// The part after `<node>-`; `None` for the node's own section.
    pub const fn suffix(self) -> Option<&'a str> {
        self.0
    }

    /// The name in the file.
    pub fn name(self, node_id: &str) -> String {
        match self.0 {
            None => node_id.to_owned(),
            Some(suffix) => format!("{node_id}-{suffix}"),
        }
    }

    /// Whether the names in this section are labels of list entries rather than settings. KafkaCrypto finds a
    /// label by name only if the file has it in lower case; settings we find in any case.
    pub(super) fn holds_labels(self) -> bool {
        [
            Self::ALLOWLIST,
            Self::DENYLIST,
            Self::CHAIN_KEYS,
            Self::PROVISIONERS,
        ]
        .contains(&self)
    }
}
