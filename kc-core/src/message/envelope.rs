use thiserror::Error;

use crate::ratchet::SALT_LEN;
use crate::types::{KEY_ID_LEN, KeyId};
use crate::wire::{Reader, Value, Writer};

/// The first byte of every sealed component.
const VERSION: u8 = 0x01;

/// Why bytes are not an envelope, and will never be decryptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Foreign {
    /// No bytes at all: what the Python peer on confluent-kafka sends for a null.
    #[error("empty: the Python peer's null")]
    Empty,
    /// The first byte is not an envelope's.
    #[error("not sealed: the first byte is not 0x01")]
    FirstByte,
    /// What follows is not an array of key id, salt and box.
    #[error("not an array of key id, salt and box")]
    Layout,
    /// The key id is neither 32 bytes nor an unsigned integer.
    #[error("no key has such an id")]
    KeyId,
}

/// A sealed Kafka key or value, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The key it was sealed under.
    pub key_id: KeyId,
    /// The salt and the sealed box (16 bytes of tag, then the ciphertext); `None` if they have no such
    /// form, so that no key opens them.
    pub body: Option<(&'a [u8; SALT_LEN], &'a [u8])>,
}

impl<'a> Envelope<'a> {
    /// Takes a component apart.
    ///
    /// # Errors
    /// [`Foreign`] if it is not an envelope.
    pub fn parse(component: &'a [u8]) -> Result<Self, Foreign> {
        let (&version, body) = component.split_first().ok_or(Foreign::Empty)?;
        if version != VERSION {
            return Err(Foreign::FirstByte);
        }
        let (key_id, salt, sealed) = elements(body).ok_or(Foreign::Layout)?;
        let key_id = match key_id {
            Value::Int(index) => KeyId::Short(u64::try_from(index).map_err(|_| Foreign::KeyId)?),
            Value::Bytes(id) | Value::Raw(id) => {
                KeyId::Long(id.try_into().map_err(|_| Foreign::KeyId)?)
            }
            _ => return Err(Foreign::KeyId),
        };
        let salt = salt.bytes().ok().and_then(|salt| salt.try_into().ok());
        let sealed = sealed.bytes().ok();
        Ok(Self {
            key_id,
            body: salt.zip(sealed),
        })
    }
}

fn elements(body: &[u8]) -> Option<(Value<'_>, Value<'_>, Value<'_>)> {
    let mut reader = Reader::new(body);
    if reader.array().ok()? != 3 {
        return None;
    }
    let elements = (
        reader.value().ok()?,
        reader.value().ok()?,
        reader.value().ok()?,
    );
    reader.finish().ok()?;
    Some(elements)
}

/// The most bytes that an envelope puts in front of its sealed box.
pub(super) const MAX_HEADER_LEN: usize = 1 + 1 + (2 + KEY_ID_LEN) + (2 + SALT_LEN) + 5;

/// Appends all that stands in front of a sealed box of `sealed_len` bytes.
pub(super) fn write_header(
    mut out: Vec<u8>,
    key_id: KeyId,
    salt: &[u8; SALT_LEN],
    sealed_len: usize,
) -> Vec<u8> {
    out.push(VERSION);
    let mut writer = Writer::append_to(out);
    writer.array(3);
    match key_id {
        KeyId::Long(id) => writer.bytes(&id),
        KeyId::Short(index) => writer.uint(index),
    };
    writer.bytes(salt).bytes_header(sealed_len);
    writer.into_vec()
}
