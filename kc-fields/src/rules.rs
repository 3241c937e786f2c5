//! Rules: which fields are encrypted, and how. Read from TOML.

mod policies;
mod rule_text;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

pub use self::policies::{
    Format, OnMissing, OnMissingKey, OnNestedArray, OnNull, OnUnfit, OnWrongType, Plaintext,
};
use crate::envelope::Caps;
use crate::error::SetupError;
use crate::json::JsonType;
use crate::path::FieldPath;
use crate::transit::TransitSettings;

/// The maximum number of rules.
pub const MAX_RULES: usize = 256;
/// The maximum size of a file with rules, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Rules that are valid as far as can be checked without keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Rule>,
    transit: Option<TransitSettings>,
}

/// A rule: the fields of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The line at which the rule begins.
    pub line: usize,
    /// The topics; empty for all topics.
    pub topics: Vec<String>,
    /// The path of the fields.
    pub path: FieldPath,
    /// How the fields are encrypted.
    pub engine: EngineRule,
    /// The path of the value to which the fields are tied.
    pub bind: Option<FieldPath>,
    /// The types that are encrypted.
    pub types: Vec<JsonType>,
    /// What to do with missing fields.
    pub on_missing: OnMissing,
    /// What to do with null.
    pub on_null: OnNull,
    /// What to do with values of other types.
    pub on_wrong_type: OnWrongType,
    /// What to do with arrays in which the path expects objects.
    pub on_nested_array: OnNestedArray,
}

/// The engine of a rule, with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineRule {
    /// Data keys of the nodes' own key exchange.
    Kc {
        /// The root topic to which the data keys belong.
        key_topic: String,
        /// What to do if the data key of a token is missing.
        on_missing_key: OnMissingKey,
    },
    /// Format-preserving encryption.
    Fpe {
        /// The key.
        key: KeySource,
        /// The form of the text.
        format: Format,
        /// The number of digits at the end of a card number that stay readable.
        keep_last: usize,
        /// Whether card numbers must have and keep a valid check digit.
        luhn: bool,
        /// The name under which fields share tokens; `None` if each topic and path has tokens of its own.
        join: Option<String>,
        /// What to do with text that cannot be encrypted.
        on_unfit: OnUnfit,
    },
    /// Deterministic tokens.
    Deterministic {
        /// The key, by version. The first encrypts.
        keys: Vec<(u32, KeySource)>,
        /// The name under which fields share tokens; `None` if each topic and path has tokens of its own.
        join: Option<String>,
    },
    /// A key in the Transit engine of Vault or OpenBao.
    Transit {
        /// The name of the key.
        key: String,
        /// Whether tokens are bound to topic and path by a derived key.
        context: bool,
        /// What is encrypted.
        plaintext: Plaintext,
    },
    /// Envelopes: data keys that another key wraps.
    Envelope {
        /// The key that wraps the data keys.
        key: KeySource,
        /// When a data key ends.
        caps: Caps,
    },
}

/// The place of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file with 32 bytes.
    File(PathBuf),
    /// The data keys of this key topic, of the nodes' own key exchange.
    Kc(String),
    /// A key in Transit.
    Transit(String),
    /// A data key that a key in Transit wraps.
    Wrapped {
        /// The name of the key in Transit.
        name: String,
        /// The wrapped data key of 32 bytes: `vault:v1:…`.
        wrapped: String,
    },
}

impl KeySource {
    pub(crate) fn is_wrapped(&self) -> bool {
        matches!(self, Self::Wrapped { .. })
    }
}

impl Rules {
    /// Reads rules from a file.
    ///
    /// # Errors
    /// Returns [`SetupError`] if the file cannot be read or a rule is not valid.
    pub fn read(file: &Path) -> Result<Self, SetupError> {
        let failed = |source| SetupError::File {
            file: file.to_owned(),
            source,
        };
        if fs::metadata(file).map_err(failed)?.len() > MAX_BYTES {
            return Err(failed(std::io::Error::other(
                "the file has more than 1 MiB",
            )));
        }
        let text = fs::read_to_string(file).map_err(failed)?;
        text::parse(file, &text)
    }

    /// Reads rules from TOML text. Key files are relative to the current folder.
    ///
    /// # Errors
    /// Returns [`SetupError::Rules`] if a rule is not valid.
    pub fn parse(text: &str) -> Result<Self, SetupError> {
        text::parse(Path::new("rules"), text)
    }

    /// Returns the rules.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns the only topic that the rules name. Returns `None` if a rule applies to all topics, or if the rules name
    /// several topics.
    #[must_use]
    pub fn only_topic(&self) -> Option<&str> {
        let mut topics = self.rules.iter().flat_map(|rule| &rule.topics);
        let first = topics.next()?;
        let is_only = self
            .rules
            .iter()
            .all(|rule| rule.topics == [first.as_str()]);
        is_only.then_some(first)
    }

    /// Returns the settings of the server, if the rules have any.
    #[must_use]
    pub fn transit(&self) -> Option<&TransitSettings> {
        self.transit.as_ref()
    }

    /// Returns whether a rule needs the data keys of a node.
    #[must_use]
    pub fn need_node(&self) -> bool {
        self.rules.iter().any(|rule| match &rule.engine {
            EngineRule::Kc { .. } => true,
            EngineRule::Envelope { key, .. } => matches!(key, KeySource::Kc(_)),
            EngineRule::Fpe { .. }
            | EngineRule::Deterministic { .. }
            | EngineRule::Transit { .. } => false,
        })
    }

    /// Returns what the operator should know about valid rules, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.rules.iter().flat_map(Rule::warnings).collect()
    }
}

impl Rule {
    /// Returns whether the rule applies to a topic.
    #[must_use]
    pub fn applies_to(&self, topic: &str) -> bool {
        self.topics.is_empty() || self.topics.iter().any(|named| named == topic)
    }

    fn warnings(&self) -> Vec<String> {
        let (path, mut warnings) = (&self.path, Vec::new());
        match &self.engine {
            EngineRule::Kc { key_topic, .. }
            | EngineRule::Envelope {
                key: KeySource::Kc(key_topic),
                ..
            } => {
                warnings.push(format!(
                    "{path}: a chain without --topics (^.*$), and a chain whose grant begins with ^ and matches {key_topic}, \
                     grants this field as well: grant {key_topic} as a literal name"
                ));
            }
            EngineRule::Fpe { .. } => warnings.push(format!(
                "{path}: equal values have equal results, and a changed result is not noticed: format-preserving \
                 encryption hides values, it does not authenticate them"
            )),
            EngineRule::Deterministic { .. } => warnings.push(format!(
                "{path}: equal values have equal tokens, so every reader of the topic can count and join them: use them only for \
                 values that are rarely equal or hard to guess"
            )),
            EngineRule::Transit { context: false, .. } => warnings.push(format!(
                "{path}: context = false: a token can be moved to another topic or path unnoticed"
            )),
            EngineRule::Envelope { .. } | EngineRule::Transit { .. } => {}
        }
        let ties = matches!(
            self.engine,
            EngineRule::Kc { .. }
                | EngineRule::Envelope { .. }
                | EngineRule::Transit { context: true, .. }
        );
        if ties && self.bind.is_none() {
            warnings.push(format!(
                "{path}: without bind, a token can be copied into another record of the same topic unnoticed"
            ));
        }
        if self.on_wrong_type == OnWrongType::Keep {
            warnings.push(format!("{path}: values of other types stay readable"));
        }
        if self.on_nested_array == OnNestedArray::Keep {
            warnings.push(format!("{path}: nested arrays stay readable"));
        }
        warnings
    }
}
