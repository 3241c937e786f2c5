//! Data messages (protocol §3): sealing and opening Kafka keys and values.
//!
//! [`seal`] requires a [`SealingKey`], which only a ratchet makes. [`KeyRing::open`] looks up the data key of a message
//! and returns an [`Opened`]: the plaintext, or the reason why there is no plaintext. [`seal_batch`] and
//! [`KeyRing::open_batch`] do the same for many messages in less time.

mod batch;
mod keyring;

use std::mem;

use kc_kernels::Engine;
use thiserror::Error;

use crate::ratchet::{Component, DataKey, Exhausted, SALT_LEN, SealingKey};
use crate::symmetric::{self, TAG_LEN};
use crate::types::{KEY_ID_LEN, KeyId};
use crate::wire::{Reader, Value, Writer};

pub use batch::{Kernel, ToSeal, seal_batch, seal_batch_with};
pub use keyring::{Added, KeyRing, MAX_CANDIDATES, MAX_KEYS_PER_ROOT};

/// The first byte of every sealed component.
const VERSION: u8 = 0x01;

/// A reason why bytes are not an envelope. No key can open such bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum Foreign {
    /// There are no bytes. The Python peer sends an empty key or value instead of a null if it uses confluent-kafka.
    #[error(
        "the message is empty; the Python peer can send an empty key or value instead of a null"
    )]
    Empty,
    /// The first byte is not 0x01, the first byte of every envelope.
    #[error("the message is not sealed: its first byte is not 0x01")]
    FirstByte,
    /// The bytes after the first are not an array of key id, salt and sealed box.
    #[error(
        "the message is malformed: the bytes after the first are not an array of key id, salt and sealed box"
    )]
    Layout,
    /// The key id is neither 32 bytes nor an unsigned integer.
    #[error("the message is malformed: its key id is neither 32 bytes nor an unsigned integer")]
    KeyId,
}

/// The parts of a sealed Kafka key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The id of the key that the component was sealed with.
    pub key_id: KeyId,
    /// The salt and the sealed box (a tag of 16 bytes, then the ciphertext). It is `None` if the salt or the box has
    /// the wrong form; no key can open such an envelope.
    pub body: Option<(&'a [u8; SALT_LEN], &'a [u8])>,
}

impl<'a> Envelope<'a> {
    /// Splits a sealed key or value of a Kafka record into the parts of its envelope.
    ///
    /// # Errors
    /// Returns a [`Foreign`] if the bytes are not an envelope.
    pub fn parse(component: &'a [u8]) -> Result<Self, Foreign> {
        Self::parse_usual(component).map_or_else(|| Self::parse_any(component), Ok)
    }

    /// Splits an envelope in the form that producers with ratchets write, in a fraction of the time of
    /// [`parse_any`](Self::parse_any). Returns `None` for any other form.
    fn parse_usual(component: &'a [u8]) -> Option<Self> {
        let (head, rest) = component.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk::<KEY_ID_LEN>()?;
        let (middle, rest) = rest.split_first_chunk()?;
        let (salt, rest) = rest.split_first_chunk::<SALT_LEN>()?;
        if *head != [VERSION, 0x93, 0xc4, 32] || *middle != [0xc4, 16] {
            return None;
        }
        let (marker, rest) = rest.split_first()?;
        let (length, sealed) = match marker {
            0xc4 => rest
                .split_first_chunk()
                .map(|(length, sealed)| (u32::from(u8::from_be_bytes(*length)), sealed)),
            0xc5 => rest
                .split_first_chunk()
                .map(|(length, sealed)| (u32::from(u16::from_be_bytes(*length)), sealed)),
            0xc6 => rest
                .split_first_chunk()
                .map(|(length, sealed)| (u32::from_be_bytes(*length), sealed)),
            _ => None,
        }?;
        (usize::try_from(length) == Ok(sealed.len())).then_some(Self {
            key_id: KeyId::Long(*id),
            body: Some((salt, sealed)),
        })
    }

    /// Splits an envelope in any form of MessagePack.
    fn parse_any(component: &'a [u8]) -> Result<Self, Foreign> {
        let (&version, body) = component.split_first().ok_or(Foreign::Empty)?;
        if version != VERSION {
            return Err(Foreign::FirstByte);
        }
        let (key_id, salt, sealed) = elements(body).ok_or(Foreign::Layout)?;
        let key_id = key_id.key_id().map_err(|_| Foreign::KeyId)?;
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

/// The maximum number of bytes in front of the sealed box of an envelope.
const MAX_HEADER_LEN: usize = 1 + 1 + (2 + KEY_ID_LEN) + (2 + SALT_LEN) + 5;

/// Returns the number of bytes in front of a sealed box of `sealed_len` bytes.
fn header_len(key_id: &KeyId, sealed_len: usize) -> usize {
    let id = match key_id {
        KeyId::Long(id) => 2 + id.len(),
        KeyId::Short(0..=0x7f) => 1,
        KeyId::Short(0x80..=0xff) => 2,
        KeyId::Short(0x100..=0xffff) => 3,
        KeyId::Short(0x1_0000..=0xffff_ffff) => 5,
        KeyId::Short(_) => 9,
    };
    let sealed = match sealed_len {
        0..=0xff => 2,
        0x100..=0xffff => 3,
        _ => 5,
    };
    1 + 1 + id + (2 + SALT_LEN) + sealed
}

/// Appends all bytes that precede a sealed box of `sealed_len` bytes.
fn write_header(out: &mut Vec<u8>, key_id: KeyId, salt: &[u8; SALT_LEN], sealed_len: usize) {
    out.push(VERSION);
    let mut writer = Writer::append_to(mem::take(out));
    writer.array(3).key_id(&key_id);
    writer.bytes(salt).bytes_header(sealed_len);
    *out = writer.into_vec();
}

/// The result of opening a Kafka key or value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Opened {
    /// The plaintext.
    Plaintext(Vec<u8>),
    /// There is no plaintext, for this reason.
    Unopened(Unopened),
}

/// A reason why a component did not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unopened {
    /// No key with the component's key id is known yet.
    #[error("the data key {0} is not known yet")]
    AwaitingKey(KeyId),
    /// No key opens the component. Either keys with its key id are known, but none of them opens it: the component was
    /// altered, or sealed by another producer that uses the same id. Or its salt or its sealed box has the wrong form.
    #[error("the message is not authentic under data key {0}")]
    Unauthentic(KeyId),
    /// The component is not an envelope.
    #[error("the bytes are not an envelope of this protocol: {0}")]
    Foreign(#[from] Foreign),
}

impl Opened {
    /// Returns the plaintext.
    ///
    /// # Errors
    /// Returns an [`Unopened`] if there is no plaintext.
    pub fn into_plaintext(self) -> Result<Vec<u8>, Unopened> {
        match self {
            Self::Plaintext(plaintext) => Ok(plaintext),
            Self::Unopened(why) => Err(why),
        }
    }
}

/// Returns whether a sealed component is authentic under a data key. Makes no plaintext.
#[must_use]
pub fn is_authentic(secret: &DataKey, component: Component, sealed: &[u8]) -> bool {
    let Ok(Envelope {
        body: Some((salt, sealed)),
        ..
    }) = Envelope::parse(sealed)
    else {
        return false;
    };
    let message_key = secret.message_key(component, salt);
    symmetric::verifies(sealed, &message_key.nonce, &message_key.key)
}

/// Returns an upper bound of the length of a sealed component, in bytes.
#[must_use]
pub const fn sealed_len(plaintext_len: usize) -> usize {
    MAX_HEADER_LEN + TAG_LEN + plaintext_len
}

/// Makes room for `more` bytes. A buffer that has none yet gets exactly these: it often becomes a shared one, which must not
/// have unused capacity.
fn reserve(out: &mut Vec<u8>, more: usize) {
    if out.capacity() == 0 {
        out.reserve_exact(more);
    } else {
        out.reserve(more);
    }
}

/// Appends a sealed component to `out`. Allocates only if `out` is too small: exactly what the component needs, if `out` has
/// no capacity.
///
/// # Errors
/// Returns [`Exhausted`] if the key has sealed the maximum number of messages; `out` is then unchanged.
pub fn seal(
    key: &SealingKey,
    component: Component,
    plaintext: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Exhausted> {
    let (salt, message_key) = key.next(component)?;
    let sealed_len = TAG_LEN + plaintext.len();
    reserve(out, header_len(&key.id(), sealed_len) + sealed_len);
    write_header(out, key.id(), &salt, sealed_len);
    let engine = Engine::detect();
    symmetric::seal_into(engine, out, plaintext, &message_key.nonce, &message_key.key);
    Ok(())
}

#[cfg(test)]
mod tests;
