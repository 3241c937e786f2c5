use std::collections::HashMap;
use std::fmt;

use zeroize::Zeroizing;

use super::document::DEFAULT_SECTION;
use super::{ConfigError, Document, KafkaSettings, KafkaUse, Name, Value, kafka_sections};

const NODE_ID: &str = "node_id";

/// A node's configuration: the text of the file as a [`Document`], and the node's id, which selects the node's
/// sections in the document.
#[derive(PartialEq, Eq)]
pub struct NodeConfig {
    node_id: String,
    document: Document,
}

/// The treatment of entries that a section inherits from `[DEFAULT]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inherit {
    /// Inherited entries follow the section's own entries.
    Defaults,
    /// Inherited entries are omitted, and so are own entries that only repeat an inherited entry.
    Nothing,
}

/// One entry of a section.
///
/// `Debug` shows only the name.
#[derive(Clone, PartialEq, Eq)]
pub struct Setting {
    /// The name, in lower case unless it is binary.
    pub name: Name,
    /// The text, with references resolved.
    pub text: Zeroizing<String>,
}

impl Setting {
    /// Returns the value, with its type inferred from the text. Returns `None` if the text begins with `base64#` and
    /// the rest is not valid base64.
    pub fn value(&self) -> Option<Value> {
        Value::decode(&self.text)
    }
}

impl NodeConfig {
    /// Creates the configuration of a new node. The node uses key ids of 32 bytes. Its allowlist and its denylist are
    /// empty, so the node trusts no key until a root of trust is added.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if the syntax of the file cannot express the node id.
    pub fn create(node_id: &str) -> Result<Self, ConfigError> {
        let mut config = Self::open(Document::default(), Some(node_id))?;
        config.set(Section::NODE, "mgmt_long_keyindex", &Value::Bool(true))?;
        for section in [Section::ALLOWLIST, Section::DENYLIST, Section::CRYPTO] {
            config.add_section(section)?;
        }
        Ok(config)
    }

    /// Adds the Kafka sections of a new node. They select TLS, and contain no bootstrap servers yet. `ssl_cafile` is
    /// the path of the file with the certificates of the trusted certificate authorities.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if the syntax of the file cannot express the path.
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

    /// Parses a node's file.
    ///
    /// # Errors
    /// Returns the errors of [`Document::parse`], [`ConfigError::NodeIdMissing`] if the file has no node id, and the
    /// other errors of [`NodeConfig::open`].
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::open(Document::parse(text)?, None)
    }

    /// Interprets a document as the configuration of a node. Adds `node_id` to the document if it has none.
    ///
    /// # Errors
    /// Returns [`ConfigError::NodeIdMissing`] if neither the document nor `node_id` gives a node id,
    /// [`ConfigError::NodeIdMismatch`] if they give different node ids, and another [`ConfigError`] if the node id is
    /// `DEFAULT`, contains a reference that cannot be resolved, or cannot be expressed in the syntax of the file.
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

    /// Returns the node's id.
    pub fn node_id(&self) -> &str {
        &self.node_id
    }

    /// Returns the document.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// Returns the text of the file.
    pub fn render(&self) -> Zeroizing<String> {
        self.document.render()
    }

    /// Returns the value of an entry, with its type inferred from the text. The entry may be one that the section
    /// inherits from `[DEFAULT]`; a section that does not exist inherits, too. Returns `None` if the entry is not set,
    /// or if its text begins with `base64#` and the rest is not valid base64.
    ///
    /// Case does not matter in the names of settings. As in KafkaCrypto, labels in the sections `-allowlist`,
    /// `-denylist`, `-chainkeys` and `-provisioners` are found only if they are in lower case in the file.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if the entry contains a reference (`%(name)s`) that cannot be resolved.
    pub fn load_value(
        &self,
        section: Section<'_>,
        name: impl Into<Name>,
    ) -> Result<Option<Value>, ConfigError> {
        Ok(self
            .load_text(section, name)?
            .and_then(|text| Value::decode(&text)))
    }

    /// Returns the text of an entry, with references resolved. Use this for text that must not be interpreted as a
    /// number, such as a password.
    ///
    /// Entries are found as by [`load_value`](Self::load_value).
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if the entry contains a reference that cannot be resolved.
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

    /// Returns a section's own entries in the file's order. With [`Inherit::Defaults`], the inherited entries follow.
    /// With [`Inherit::Nothing`], own entries that only repeat an inherited entry are left out, and the result is
    /// `None` if the section does not exist.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if an entry contains a reference that cannot be resolved.
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

    /// Returns a section's own entries, in the file's order. The list is empty if the section does not exist.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if an entry contains a reference that cannot be resolved.
    pub fn own_settings(&self, section: Section<'_>) -> Result<Vec<Setting>, ConfigError> {
        self.document
            .own(&section.name(&self.node_id))
            .map(|entry| entry.map(Setting::from))
            .collect()
    }

    /// Returns the settings of one Kafka client, merged from the sections that [`kafka_sections`] lists. A later
    /// section overrides an earlier section, and an empty value removes a setting. Only the own entries of a section
    /// are used, including entries that repeat an entry of `[DEFAULT]`. Inherited entries are ignored. The setting
    /// `group_id` is then set or removed as by [`KafkaSettings::with_group_id`].
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if an entry contains a reference that cannot be resolved.
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

    /// Sets an entry, and creates its section if necessary; see [`Document::set`]. Returns whether anything
    /// changed.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if the name, the value or the section would not read back unchanged.
    pub fn set(
        &mut self,
        section: Section<'_>,
        name: impl Into<Name>,
        value: &Value,
    ) -> Result<bool, ConfigError> {
        self.document
            .set(&section.name(&self.node_id), &name.into(), &value.encode())
    }

    /// Removes an entry from a section. Does not remove an entry that the section inherits from `[DEFAULT]`. Returns
    /// whether an entry was removed.
    pub fn remove(&mut self, section: Section<'_>, name: impl Into<Name>) -> bool {
        self.document
            .remove(&section.name(&self.node_id), &name.into())
    }

    /// Adds an empty section unless the file already has it. Returns whether the section was added.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if the syntax of the file cannot express the name.
    pub(crate) fn add_section(&mut self, section: Section<'_>) -> Result<bool, ConfigError> {
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

/// A section of a node: `<node>` or `<node>-<suffix>` (protocol §11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Section<'a>(Option<&'a str>);

impl<'a> Section<'a> {
    /// `<node>`: the node's own settings.
    pub const NODE: Section<'static> = Section(None);
    /// `<node>-crypto`: settings of the protocol, such as `maxage`, and the sealed retained keys (`oldkeys`).
    pub const CRYPTO: Section<'static> = Section(Some("crypto"));
    /// `<node>-chains`: the certificate chains `chain0`, `chain1`, … in the order of the signing keys.
    pub const CHAINS: Section<'static> = Section(Some("chains"));
    /// `<node>-allowlist`: the roots of trust.
    pub const ALLOWLIST: Section<'static> = Section(Some("allowlist"));
    /// `<node>-denylist`: the keys that the node refuses.
    pub const DENYLIST: Section<'static> = Section(Some("denylist"));
    /// `<node>-chainkeys`: the keys whose chains a chain server renews.
    pub const CHAIN_KEYS: Section<'static> = Section(Some("chainkeys"));
    /// `<node>-provisioners`: a list of keys that only old versions of KafkaCrypto wrote.
    /// [`NodeConfig::migrate`](super::NodeConfig::migrate) moves its entries to the allowlist of a controller.
    pub const PROVISIONERS: Section<'static> = Section(Some("provisioners"));
    /// `<node>-kafka`: Kafka settings of all clients.
    pub const KAFKA: Section<'static> = Section(Some("kafka"));

    /// Creates the section `<node>-<suffix>`.
    pub const fn named(suffix: &'a str) -> Self {
        Self(Some(suffix))
    }

    /// Returns the part of the name after `<node>-`, or `None` for the section `<node>`.
    pub const fn suffix(self) -> Option<&'a str> {
        self.0
    }

    /// Returns the name of the section in the file.
    pub fn name(self, node_id: &str) -> String {
        match self.0 {
            None => node_id.to_owned(),
            Some(suffix) => format!("{node_id}-{suffix}"),
        }
    }

    /// Returns whether the names in this section are labels of list entries. KafkaCrypto finds a label only if it
    /// is in lower case in the file; settings are found in any case.
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
