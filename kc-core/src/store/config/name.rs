use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::value::{BASE64_PREFIX, Value};
use crate::hash::sha256;

/// The name of an entry (protocol §11).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// Text, in lower case: names ignore case.
    Text(String),
    /// Bytes, written `base64#…` in standard base64, whose case matters.
    Binary(Vec<u8>),
}

impl Name {
    /// Reads a name as it stands in a file. What begins with `base64#` and is not valid base64 is text, with
    /// its case kept.
    pub fn parse(written: &str) -> Self {
        match written.strip_prefix(BASE64_PREFIX) {
            None => Self::Text(written.to_lowercase()),
            Some(encoded) => match STANDARD.decode(encoded) {
                Ok(bytes) => Self::Binary(bytes),
                Err(_) => Self::Text(written.to_owned()),
            },
        }
    }

    /// The name under which an entry of the allowlist or the denylist is stored: the SHA-256 of its bytes.
    pub fn of_entry(entry: &[u8]) -> Self {
        Self::Binary(sha256(&[entry]).to_vec())
    }

    /// The name as a [`Value`], the way KafkaCrypto lists it: `12` is an integer, `true` a boolean.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Binary(bytes) => Value::Bytes(bytes.clone()),
            Self::Text(text) => Value::decode(text).unwrap_or_else(|| Value::Text(text.clone())),
        }
    }
}

impl From<&str> for Name {
    fn from(written: &str) -> Self {
        Self::parse(written)
    }
}

impl From<&[u8]> for Name {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(bytes.to_vec())
    }
}

impl From<&Name> for Name {
    fn from(name: &Name) -> Self {
        name.clone()
    }
}

/// The name as it is written to a file.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Binary(bytes) => write!(f, "{BASE64_PREFIX}{}", STANDARD.encode(bytes)),
        }
    }
}
