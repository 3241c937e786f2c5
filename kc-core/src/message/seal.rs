use std::mem;

use super::envelope::{MAX_HEADER_LEN, write_header};
use crate::ratchet::{Component, Exhausted, SealingKey};
use crate::secretbox::{self, TAG_LEN};

/// What an application wants to send as a Kafka key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealInput<'a> {
    /// A null, which stays one: tombstones keep working.
    Null,
    /// To be sealed.
    Plain(&'a [u8]),
    /// An envelope received and never opened, to be passed on as it is.
    Sealed(&'a [u8]),
}

/// An upper bound, in bytes, of the length of a sealed component.
#[must_use]
pub const fn sealed_len(plaintext_len: usize) -> usize {
    MAX_HEADER_LEN + TAG_LEN + plaintext_len
}

/// Appends a sealed component to `out`. Allocates only if `out` has less than
/// [`sealed_len`] bytes of room.
///
/// # Errors
/// [`Exhausted`]; `out` is as it was.
pub fn seal(
    key: &SealingKey,
    component: Component,
    plaintext: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), Exhausted> {
    let (salt, message_key) = key.next(component)?;
    out.reserve(sealed_len(plaintext.len()));
    *out = write_header(mem::take(out), key.id(), &salt, TAG_LEN + plaintext.len());
    secretbox::seal_into(out, plaintext, &message_key.nonce, &message_key.key);
    Ok(())
}

/// Seals what is to be sealed and passes the rest on; `None` is a null.
///
/// # Errors
/// [`Exhausted`].
pub fn seal_component(
    key: &SealingKey,
    component: Component,
    input: SealInput<'_>,
) -> Result<Option<Vec<u8>>, Exhausted> {
    match input {
        SealInput::Null => Ok(None),
        SealInput::Sealed(envelope) => Ok(Some(envelope.to_vec())),
        SealInput::Plain(plaintext) => {
            let mut out = Vec::new();
            seal(key, component, plaintext, &mut out)?;
            Ok(Some(out))
        }
    }
}
