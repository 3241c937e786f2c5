//! The right-hand side of an entry.

mod number;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What marks binary names and values.
pub(super) const BASE64_PREFIX: &str = "base64#";

/// A value of the configuration, typed by how it looks (protocol §11).
///
/// The file does not store types: a text that looks like a number or a boolean reads back as one. Whoever wants
/// the text as written (a password of digits) takes [`NodeConfig::load_text`](super::NodeConfig::load_text).
///
/// `Debug` shows the length of texts and bytes only.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// An integer.
    Int(i128),
    /// An integer beyond `i128`: canonical decimal digits, with `-` if negative.
    BigInt(String),
    /// A float; `inf` and `nan` are floats too.
    Float(f64),
    /// `true` or `false` in any case; written `True` and `False`.
    Bool(bool),
    /// `base64#…`.
    Bytes(Vec<u8>),
    /// Anything else.
    Text(String),
}

impl Value {
    /// Types a text as KafkaCrypto does. `None` if it begins with `base64#` and is not standard base64 with
    /// padding. Digits are ASCII digits; single underscores may separate them, as in `86_400`.
    pub fn decode(text: &str) -> Option<Self> {
        if let Some(encoded) = text.strip_prefix(BASE64_PREFIX) {
            return decode_base64(encoded).map(Self::Bytes);
        }
        let trimmed = text.trim();
        let typed = number::parse_int(trimmed)
            .or_else(|| number::parse_float(trimmed).map(Self::Float))
            .or_else(|| parse_bool(trimmed).map(Self::Bool));
        Some(typed.unwrap_or_else(|| Self::Text(text.to_owned())))
    }

    /// The text that a file holds for this value, before `%` is doubled.
    pub fn encode(&self) -> String {
        match self {
            Self::Int(number) => number.to_string(),
            Self::BigInt(digits) => digits.clone(),
            Self::Float(number) => number::float_repr(*number),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Bytes(bytes) => format!("{BASE64_PREFIX}{}", STANDARD.encode(bytes)),
            Self::Text(text) => text.clone(),
        }
    }
}

/// A person may have wrapped a long value over continuation lines.
fn decode_base64(encoded: &str) -> Option<Vec<u8>> {
    let unwrapped: String = encoded.split('\n').map(str::trim).collect();
    STANDARD.decode(unwrapped).ok()
}

fn parse_bool(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => write!(f, "Int({number})"),
            Self::BigInt(digits) => write!(f, "BigInt({} characters)", digits.len()),
            Self::Float(number) => write!(f, "Float({number:?})"),
            Self::Bool(truth) => write!(f, "Bool({truth})"),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.to_vec())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Self::Bool(truth)
    }
}
