//! Signing keys (protocol §5): Ed25519 (version 1) and the hybrid of Ed25519 and SLH-DSA (version 4).
//!
//! Signatures are *combined*: the signature stands in front of the message that it signs. In version 4, an
//! SLH-DSA-SHAKE-128f signature stands in front of the Ed25519-signed message, and signs the Ed25519 signature and the
//! message. Both signatures must verify.

mod ed25519;
mod signing;
mod slh_dsa;
mod verifying;

use thiserror::Error;

use crate::wire::{Value, WireError};

pub use signing::{Signer, SigningKey};
pub use slh_dsa::SlhDsaHalf;
pub use verifying::VerifyingKey;

/// The type of a signing key. The protocol names it by a version number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyType {
    /// Version 1: Ed25519 (RFC 8032).
    Ed25519,
    /// Version 4: Ed25519 and SLH-DSA-SHAKE-128f (FIPS 205), for a post-quantum root of trust.
    Hybrid,
}

impl KeyType {
    /// Returns the number by which the protocol names the type: 1 or 4.
    #[must_use]
    pub fn version(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Hybrid => 4,
        }
    }

    /// Returns the length of the signature in front of a signed message: 64 or 17,152 bytes.
    #[must_use]
    pub fn signature_len(self) -> usize {
        match self {
            Self::Ed25519 => ed25519::SIGNATURE_LEN,
            Self::Hybrid => slh_dsa::SIGNATURE_LEN + ed25519::SIGNATURE_LEN,
        }
    }

    /// Returns the type with this version number, or `None` for any other number.
    #[must_use]
    pub fn from_version(version: i128) -> Option<Self> {
        match version {
            1 => Some(Self::Ed25519),
            4 => Some(Self::Hybrid),
            _ => None,
        }
    }
}

/// A reason why bytes or a value are not a usable key, or why a key did not sign.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key does not have the encoding that the protocol requires.
    #[error("malformed key: {0}")]
    Encoding(#[from] WireError),
    /// No key of the required kind has this version.
    #[error("no key of the required kind has the version {0}")]
    Version(i128),
    /// A part of the key has the wrong length.
    #[error("{part} is {found} bytes long instead of {expected}")]
    Length {
        /// Name of the part.
        part: &'static str,
        /// The required length, in bytes.
        expected: usize,
        /// The actual length, in bytes.
        found: usize,
    },
    /// The public half that is stored with a secret key does not belong to it.
    #[error("the public half does not belong to the secret key")]
    Mismatch,
    /// The keystore that holds the secret half did not sign. Holds the text of the keystore's error and of its sources.
    #[error("the keystore did not sign with this key: {0}")]
    Signer(String),
    /// A list of keys is empty.
    #[error("the list of keys is empty")]
    EmptyList,
}

/// A signature does not verify: it is truncated, forged, altered, or made with another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("signature does not verify")]
pub struct SignatureError;

/// A key as it stands in a message: bare bytes, or a version number with content.
pub(crate) enum Element<'v, 'a> {
    /// Bytes of the length that only version 1 has.
    Bare(&'a [u8]),
    /// `[version, content]`.
    Versioned(i128, &'v Value<'a>),
}

/// Determines the form of a value that holds a key, and passes the [`Element`] in it to `read` (protocol §5).
///
/// A byte string of the length `bare` is a bare version-1 key. Any other byte string is the stand-alone form:
/// MessagePack, in which byte strings must be of the *bin* family. An array is `[version, content]`.
pub(crate) fn versioned<T>(
    value: &Value<'_>,
    bare: usize,
    read: impl Fn(Element<'_, '_>) -> Result<T, KeyError>,
) -> Result<T, KeyError> {
    match value {
        Value::Bytes(bytes) | Value::Raw(bytes) if bytes.len() == bare => {
            read(Element::Bare(bytes))
        }
        Value::Bytes(bytes) | Value::Raw(bytes) => {
            let inner = Value::decode(bytes)?;
            refuse_raw(&inner)?;
            let (version, content) = pair(&inner)?;
            read(Element::Versioned(version, content))
        }
        _ => {
            let (version, content) = pair(value)?;
            read(Element::Versioned(version, content))
        }
    }
}

fn pair<'v, 'a>(value: &'v Value<'a>) -> Result<(i128, &'v Value<'a>), KeyError> {
    match value.array()? {
        [version, content] => Ok((version.int()?, content)),
        _ => Err(WireError::Expected("a version and a key").into()),
    }
}

fn refuse_raw(value: &Value<'_>) -> Result<(), KeyError> {
    match value {
        Value::Raw(_) => Err(WireError::Expected("a byte string of the bin family").into()),
        Value::Array(elements) => elements.iter().try_for_each(refuse_raw),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
