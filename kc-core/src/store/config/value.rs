//! The names and the values of the entries of a configuration.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::symmetric::sha256;

/// The prefix of binary names and values.
pub(super) const BASE64_PREFIX: &str = "base64#";

/// A value in the configuration, with its type inferred from the text (protocol §11).
///
/// The file does not store types: a text that looks like a number or a Boolean is read as a number or a Boolean.
/// [`NodeConfig::load_text`](super::NodeConfig::load_text) returns the text without a type. This is necessary, for
/// example, for a password that consists of digits.
///
/// `Debug` shows only the length of texts and bytes.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// An integer.
    Int(i128),
    /// An integer that exceeds `i128`, as canonical decimal digits, with `-` if negative.
    BigInt(String),
    /// A floating-point number, including `inf` and `nan`.
    Float(f64),
    /// A Boolean: `true` or `false` in upper or lower case when read, `True` or `False` when written.
    Bool(bool),
    /// Bytes, written as `base64#…`.
    Bytes(Vec<u8>),
    /// Any other text.
    Text(String),
}

impl Value {
    /// Infers the type of a text in the same way as KafkaCrypto does. Returns `None` if the text begins with `base64#`
    /// and the rest is not standard base64 with padding.
    ///
    /// Digits are ASCII digits; single underscores may separate them, as in `86_400`.
    pub fn decode(text: &str) -> Option<Self> {
        if let Some(encoded) = text.strip_prefix(BASE64_PREFIX) {
            return decode_base64(encoded).map(Self::Bytes);
        }
        let trimmed = text.trim();
        let typed = parse_int(trimmed)
            .or_else(|| parse_float(trimmed).map(Self::Float))
            .or_else(|| parse_bool(trimmed).map(Self::Bool));
        Some(typed.unwrap_or_else(|| Self::Text(text.to_owned())))
    }

    /// Returns the text that represents the value in a file. In the file, each `%` of this text is written twice.
    pub fn encode(&self) -> String {
        match self {
            Self::Int(number) => number.to_string(),
            Self::BigInt(digits) => digits.clone(),
            Self::Float(number) => float_repr(*number),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Bytes(bytes) => format!("{BASE64_PREFIX}{}", STANDARD.encode(bytes)),
            Self::Text(text) => text.clone(),
        }
    }
}

/// Decodes base64, which may be wrapped over continuation lines.
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

/// The name of an entry (protocol §11).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Name {
    /// Text. It is in lower case, because case does not matter in these names. Only text that begins with `base64#` and
    /// is not valid base64 keeps its case.
    Text(String),
    /// Bytes, written as `base64#…` in standard base64, whose case matters.
    Binary(Vec<u8>),
}

impl Name {
    /// Parses a name from a file. A name that begins with `base64#` and continues with valid base64 is binary. All
    /// other names are text. The text is converted to lower case unless it begins with `base64#`.
    pub fn parse(written: &str) -> Self {
        match written.strip_prefix(BASE64_PREFIX) {
            None => Self::Text(written.to_lowercase()),
            Some(encoded) => match STANDARD.decode(encoded) {
                Ok(bytes) => Self::Binary(bytes),
                Err(_) => Self::Text(written.to_owned()),
            },
        }
    }

    /// Returns the name under which the allowlist or the denylist stores an entry: the SHA-256 hash of the entry.
    pub fn of_entry(entry: &[u8]) -> Self {
        Self::Binary(sha256(&[entry]).to_vec())
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

/// Writes the name in the form that it has in a file.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Binary(bytes) => write!(f, "{BASE64_PREFIX}{}", STANDARD.encode(bytes)),
        }
    }
}

// Numbers in the forms that Python's `int()` and `float()` read and `repr()` writes.

/// Parses an integer: an optional sign, then digits. Single underscores may stand between digits.
fn parse_int(text: &str) -> Option<Value> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let joined = join_digits(unsigned)?;
    if joined.is_empty() || !joined.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = joined.trim_start_matches('0');
    let canonical = match (negative, digits) {
        (_, "") => "0".to_owned(),
        (false, digits) => digits.to_owned(),
        (true, digits) => format!("-{digits}"),
    };
    Some(
        canonical
            .parse()
            .map_or(Value::BigInt(canonical), Value::Int),
    )
}

/// Parses decimal notation with an optional exponent, or the words `inf`, `infinity` and `nan` in upper or lower case.
fn parse_float(text: &str) -> Option<f64> {
    join_digits(text)?.parse().ok()
}

/// Removes underscores. Returns `None` if an underscore is not between two digits.
fn join_digits(text: &str) -> Option<String> {
    let mut joined = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    let mut after_digit = false;
    while let Some(character) = characters.next() {
        if character == '_' {
            let before_digit = characters.peek().is_some_and(char::is_ascii_digit);
            if !(after_digit && before_digit) {
                return None;
            }
        } else {
            joined.push(character);
        }
        after_digit = character.is_ascii_digit();
    }
    Some(joined)
}

/// Returns the shortest text that reads back as the same number. Zero, and numbers whose absolute value is at least
/// 1e-4 and less than 1e16, are written without an exponent. Other numbers are written with an exponent of at least two
/// digits.
fn float_repr(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(small) if number == 0.0 || (-4..16).contains(&small) => format!("{number:?}"),
        Ok(power) => {
            let sign = if power < 0 { '-' } else { '+' };
            format!("{mantissa}e{sign}{:02}", power.unsigned_abs())
        }
        Err(_) => scientific,
    }
}
