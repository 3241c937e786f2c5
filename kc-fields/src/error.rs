//! Errors: why a record was refused, and why rules cannot be used.

use std::path::PathBuf;

use thiserror::Error;

use crate::json::{JsonType, MAX_DEPTH, MAX_FIELDS, MAX_RECORD_BYTES};

/// The reason why a record was refused. The record is then unchanged.
///
/// The text never contains a value of the record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct FieldError {
    /// The path of the rule that failed; `None` if the record as a whole was refused.
    pub path: Option<String>,
    /// The reason.
    pub fault: Fault,
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{path}: {}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl FieldError {
    pub(crate) fn at(path: impl ToString, fault: Fault) -> Self {
        Self {
            path: Some(path.to_string()),
            fault,
        }
    }

    /// Returns whether another attempt can succeed without changes: the data key may still arrive, or the key
    /// management system may answer again.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        matches!(self.fault, Fault::MissingKey(_) | Fault::Unavailable(_))
    }

    /// Returns advice.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        self.fault.advice()
    }
}

impl From<Fault> for FieldError {
    fn from(fault: Fault) -> Self {
        Self { path: None, fault }
    }
}

/// The kind of a [`FieldError`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The record is not valid JSON in UTF-8.
    #[error("the record is not JSON: {0}")]
    NotJson(String),
    /// The record has more than [`MAX_RECORD_BYTES`] bytes.
    #[error("the record has more than {MAX_RECORD_BYTES} bytes")]
    TooLarge,
    /// Objects and arrays are nested deeper than [`MAX_DEPTH`].
    #[error("the record has more than {MAX_DEPTH} levels of objects and arrays")]
    TooDeep,
    /// The rules select more than [`MAX_FIELDS`] values.
    #[error("the rules select more than {MAX_FIELDS} values of the record")]
    TooManyFields,
    /// An object that a path enters has this name twice.
    #[error("an object has the name {0:?} twice")]
    DuplicateKey(String),
    /// Two rules select the same value, or one selects a value inside a value of the other.
    #[error("two rules select the same bytes of the record")]
    Overlap,
    /// The field is missing, and the rule has `on_missing = "fail"`.
    #[error("the field is missing")]
    Missing,
    /// The field is null, and the rule has `on_null = "fail"`.
    #[error("the field is null")]
    Null,
    /// The field, or a value on the way to it, has a type that the rule does not expect.
    #[error("a value of the type {0} is not what the rule expects")]
    WrongType(JsonType),
    /// An array stands where the path expects an object.
    #[error("the path meets an array where it expects an object")]
    NestedArray,
    /// The value to which `bind` ties the field is missing, or it is not a string or a number.
    #[error("the field of `bind` is missing, or not a string or a number")]
    Bind,
    /// The engine cannot encrypt a value of this form.
    #[error("the value cannot be encrypted: {0}")]
    Unfit(String),
    /// The value is not a token of the engine.
    #[error("the value is not a token: {0}")]
    NotAToken(String),
    /// The token is not authentic, or was made for another topic, path or record.
    #[error("the token does not belong here: {0}")]
    Refused(String),
    /// The data key is missing or denied.
    #[error("{0}")]
    MissingKey(String),
    /// The key management system or the node does not work at the moment.
    #[error("{0}")]
    Unavailable(String),
    /// The key management system refuses the request.
    #[error("{0}")]
    Rejected(String),
    /// The engine refuses the operation.
    #[error("{0}")]
    Unsupported(String),
}

impl Fault {
    fn advice(&self) -> &'static str {
        match self {
            Self::NotJson(_) => {
                "give one JSON value per line, in UTF-8; other formats can only be encrypted as a whole"
            }
            Self::TooLarge | Self::TooDeep | Self::TooManyFields => {
                "split the record, or encrypt a larger part of it as one value"
            }
            Self::DuplicateKey(_) => {
                "correct the producer: programs differ in which of the two members they read"
            }
            Self::Overlap => {
                "give the rules paths that select different values, for example only $[0] or only $[-1]"
            }
            Self::Missing => "on_missing = \"skip\" in the rule allows records without this field",
            Self::Null => "on_null = \"keep\" or \"encrypt\" in the rule allows null",
            Self::WrongType(_) => {
                "on_wrong_type = \"keep\" in the rule leaves such values as they are, readable for everyone"
            }
            Self::NestedArray => {
                "on_nested_array = \"enter\" in the rule continues in each element; \"keep\" leaves the array readable"
            }
            Self::Bind => "bind a field that each record has, such as its id",
            Self::Unfit(_) => {
                "correct the value or the format of the rule; on_unfit = \"keep\" leaves such values readable"
            }
            Self::NotAToken(_) => {
                "check that the record was encrypted with these rules, and only once"
            }
            Self::Refused(_) => {
                "use the topic, path and bind of the rules that encrypted the record, and the same key; otherwise the \
                 token was moved or changed"
            }
            Self::MissingKey(_) => {
                "check that a producer of the key topic runs, and that the chain of this node grants the key topic"
            }
            Self::Unavailable(_) => {
                "try again later: nothing was written in plain, and nothing was lost"
            }
            Self::Rejected(_) => {
                "check the policy of the token and the key: docs/fields.md has the policy that kc needs; raise \
                 min_decryption_version only after `kc fields rewrap`"
            }
            Self::Unsupported(_) => "choose another engine: docs/fields.md compares them",
        }
    }
}

/// The reason why rules cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The rules are not valid.
    #[error("{file}:{line}: {text}", file = file.display())]
    Rules {
        /// The file; `rules` if the rules were given as text.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The reason, with the path of the rule.
        text: String,
    },
    /// A file cannot be read.
    #[error("cannot read {file}: {source}", file = file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A key file cannot be used.
    #[error("key file {file}: {text}", file = file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// The reason.
        text: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// An engine cannot be prepared for this rule.
    #[error("{path}: {text}")]
    Engine {
        /// The path of the rule.
        path: String,
        /// The reason.
        text: String,
        /// What to do.
        advice: &'static str,
    },
}

impl SetupError {
    /// Returns advice, if there is any.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::Rules { .. } => Some("docs/fields.md describes each entry of the rules"),
            Self::File { .. } => None,
            Self::Key { advice, .. } | Self::Engine { advice, .. } => Some(advice),
        }
    }
}
