//! The forms of byte strings and typed values in the vectors, and their conversion to the types of kc.

use kc_core::chain::{CertificateKey, MaxAge};
use kc_core::ratchet::{Component, MessageKey};
use kc_core::secret::Secret;
use kc_core::types::KeyId;
use kc_core::wire::{self, Writer};
use serde::{Deserialize, Serialize};

use crate::operation::Invalid;

/// A byte string, in hex.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Hex(#[serde(with = "hex::serde")] pub(crate) Vec<u8>);

impl<T: AsRef<[u8]>> From<T> for Hex {
    fn from(bytes: T) -> Self {
        Self(bytes.as_ref().to_vec())
    }
}

impl std::ops::Deref for Hex {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Hex {
    /// Returns a secret. The error stands for the refusal of any length other than 32 bytes.
    pub(crate) fn secret(&self) -> Result<Secret<32>, String> {
        Secret::from_slice(self).ok_or_else(|| format!("a secret of {} bytes", self.len()))
    }
}

/// Returns all of these byte strings in hex.
pub(crate) fn hex_list<T: AsRef<[u8]>>(list: impl IntoIterator<Item = T>) -> Vec<Hex> {
    list.into_iter().map(Hex::from).collect()
}

/// The largest magnitude of an integer that the vectors write as a JSON number.
const LARGEST_PLAIN_INTEGER: u128 = 1 << 53;

/// A value together with its type (section 1 of the vectors' README).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Typed {
    Nil {},
    Bool { v: bool },
    Int(Int),
    Float(Float),
    Str { v: String },
    Bytes { hex: Hex },
    List { v: Vec<Typed> },
    Map { v: Vec<(Typed, Typed)> },
    SignKey(KeyForm),
    SignSecret(KeyForm),
    KemKey(KeyForm),
    KemSecret(KeyForm),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub(crate) enum Int {
    Plain { v: i64 },
    Digits { dec: String },
}

output! {
    #[derive(Debug, Clone, PartialEq)]
    struct Float {
        bits: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        v: Option<f64>,
    }
    /// A key object.
    #[derive(Debug, Clone, PartialEq)]
    struct KeyForm { version: u64, bytes: Hex }
}

impl Float {
    pub(crate) fn value(&self) -> Option<f64> {
        let bits = u64::from_str_radix(&self.bits, 16);
        bits.ok().map(f64::from_bits)
    }
}

impl Int {
    /// Returns the decimal digits of the integer.
    pub(crate) fn digits(&self) -> String {
        match self {
            Self::Plain { v } => v.to_string(),
            Self::Digits { dec } => dec.clone(),
        }
    }
}

impl Typed {
    pub(crate) fn int(value: i128) -> Self {
        Self::digits(value.to_string())
    }

    /// Returns the integer with these decimal digits.
    pub(crate) fn digits(dec: String) -> Self {
        match dec.parse::<i64>() {
            Ok(v) if u128::from(v.unsigned_abs()) <= LARGEST_PLAIN_INTEGER => {
                Self::Int(Int::Plain { v })
            }
            _ => Self::Int(Int::Digits { dec }),
        }
    }

    pub(crate) fn float(value: f64) -> Self {
        Self::Float(Float {
            bits: format!("{:016x}", value.to_bits()),
            v: value.is_finite().then_some(value),
        })
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Str { v: text.into() }
    }

    pub(crate) fn bytes(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bytes { hex: bytes.into() }
    }

    pub(crate) fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self::List {
            v: items.into_iter().collect(),
        }
    }

    pub(crate) fn as_int(&self) -> Option<i128> {
        match self {
            Self::Int(int) => int.digits().parse().ok(),
            _ => None,
        }
    }

    /// Returns a text of either family.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Str { v } => Some(v),
            Self::Bytes { hex } => str::from_utf8(hex).ok(),
            _ => None,
        }
    }

    /// Returns a key id of one of the two kinds.
    pub(crate) fn key_id(&self) -> Option<KeyId> {
        match self {
            Self::Bytes { hex } => hex.0.as_slice().try_into().ok().map(KeyId::Long),
            other => u64::try_from(other.as_int()?).ok().map(KeyId::Short),
        }
    }

    /// Returns the value as MessagePack; `None` for an integer that has no form in MessagePack.
    pub(crate) fn pack(&self) -> Option<Vec<u8>> {
        let mut writer = Writer::new();
        self.write(&mut writer)?;
        Some(writer.into_vec())
    }

    fn write(&self, writer: &mut Writer) -> Option<()> {
        match self {
            Self::Nil {} => writer.nil(),
            Self::Bool { v } => writer.bool(*v),
            Self::Int(_) => {
                let int = self.as_int()?;
                match u64::try_from(int) {
                    Ok(int) => writer.uint(int),
                    Err(_) => writer.int(int.try_into().ok()?),
                }
            }
            Self::Float(float) => writer.float(float.value()?),
            Self::Str { v } => writer.text(v),
            Self::Bytes { hex } => writer.bytes(hex),
            Self::List { v } => {
                writer.array(v.len());
                v.iter().try_for_each(|item| item.write(writer))?;
                writer
            }
            Self::Map { v } => {
                writer.map(v.len());
                for (key, value) in v {
                    key.write(writer)?;
                    value.write(writer)?;
                }
                writer
            }
            Self::SignKey(key)
            | Self::SignSecret(key)
            | Self::KemKey(key)
            | Self::KemSecret(key) => match key.version {
                1 => writer.bytes(&key.bytes),
                _ => writer.value(&unpack(&key.bytes).ok()?),
            },
        };
        Some(())
    }
}

impl From<&wire::Value<'_>> for Typed {
    /// Byte strings of both families become bytes.
    fn from(value: &wire::Value<'_>) -> Self {
        match value {
            wire::Value::Nil => Self::Nil {},
            wire::Value::Bool(v) => Self::Bool { v: *v },
            wire::Value::Int(int) => Self::int(*int),
            wire::Value::Float(float) => Self::float(*float),
            wire::Value::Bytes(bytes) | wire::Value::Raw(bytes) => Self::bytes(bytes),
            wire::Value::Array(elements) => Self::list(elements.iter().map(Self::from)),
            wire::Value::Map(entries) => {
                let pairs = entries.iter();
                let v = pairs
                    .map(|(key, value)| (key.into(), value.into()))
                    .collect();
                Self::Map { v }
            }
        }
    }
}

impl From<&KeyId> for Typed {
    fn from(id: &KeyId) -> Self {
        match id {
            KeyId::Long(bytes) => Self::bytes(bytes),
            KeyId::Short(index) => Self::int((*index).into()),
        }
    }
}

impl From<MaxAge> for Typed {
    fn from(max_age: MaxAge) -> Self {
        match max_age {
            MaxAge::Int(secs) => Self::int(secs),
            MaxAge::Float(secs) => Self::float(secs),
        }
    }
}

/// Returns one MessagePack value.
pub(crate) fn unpack(packed: &[u8]) -> Result<wire::Value<'_>, Invalid> {
    wire::Value::decode(packed).map_err(|error| Invalid(format!("MessagePack: {error}")))
}

/// A part of a record: key or value.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kv {
    Key,
    Value,
}

impl From<Kv> for Component {
    fn from(kv: Kv) -> Self {
        match kv {
            Kv::Key => Self::Key,
            Kv::Value => Self::Value,
        }
    }
}

output! {
    /// `key` and `nonce`.
    struct KeyAndNonce { key: Hex, nonce: Hex }
}

impl From<&MessageKey> for KeyAndNonce {
    fn from(message_key: &MessageKey) -> Self {
        let (key, nonce) = message_key.expose();
        Self {
            key: key.into(),
            nonce: nonce.into(),
        }
    }
}

/// The four kinds of keys.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyKind {
    SignPublic,
    SignSecret,
    KemPublic,
    KemSecret,
}

output! {
    /// A public key with its kind.
    struct PublicForm { kind: KeyKind, version: u8, bytes: Hex }
}

impl From<&CertificateKey> for PublicForm {
    fn from(key: &CertificateKey) -> Self {
        let (kind, version, bytes) = match key {
            CertificateKey::Signing(key) => (
                KeyKind::SignPublic,
                key.key_type().version(),
                key.to_bytes(),
            ),
            CertificateKey::Exchange(key) => (KeyKind::KemPublic, key.version(), key.to_bytes()),
        };
        let bytes = bytes.into();
        Self {
            kind,
            version,
            bytes,
        }
    }
}
