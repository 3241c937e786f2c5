//! Signing keys (protocol §5): Ed25519 (version 1) and the hybrid of Ed25519 and SLH-DSA (version 4).
//!
//! Signatures are *combined*: the signature stands in front of the message it signs. In version 4 an
//! SLH-DSA-SHAKE-128f signature stands in front of the Ed25519-signed message and covers all of it,
//! and both must verify.

mod ed25519;
mod signing;
mod slh_dsa;
mod verifying;

use thiserror::Error;

use crate::wire::{Value, WireError};

pub use signing::{Signer, SigningKey};
pub use slh_dsa::SlhDsaHalf;
pub use verifying::VerifyingKey;

/// The two types of signing key, by their version number on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyType {
    /// Version 1: Ed25519 (RFC 8032).
    Ed25519,
    /// Version 4: Ed25519 and SLH-DSA-SHAKE-128f (FIPS 205), for a post-quantum root of trust.
    Hybrid,
}

impl KeyType {
    /// The version number on the wire: 1 or 4.
    #[must_use]
    pub fn version(self) -> u8 {
        match self {
            Self::Ed25519 => 1,
            Self::Hybrid => 4,
        }
    }

    /// How many bytes of signature stand in front of a signed message: 64, or 17152.
    #[must_use]
    pub fn signature_len(self) -> usize {
        match self {
            Self::Ed25519 => ed25519::SIGNATURE_LEN,
            Self::Hybrid => slh_dsa::SIGNATURE_LEN + ed25519::SIGNATURE_LEN,
        }
    }

    /// The type with this version number, if there is one.
    #[must_use]
    pub fn from_version(version: i128) -> Option<Self> {
        match version {
            1 => Some(Self::Ed25519),
            4 => Some(Self::Hybrid),
            _ => None,
        }
    }
}

/// Why bytes or a value are not the key that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key is not encoded as the protocol says.
    #[error("malformed key: {0}")]
    Encoding(#[from] WireError),
    /// No key of this kind has this version.
    #[error("key version {0} is unknown or of another kind")]
    Version(i128),
    /// A part of the key has the wrong length.
    #[error("{part} is {found} bytes long instead of {expected}")]
    Length {
        /// Which part.
        part: &'static str,
        /// The length due, in bytes.
        expected: usize,
        /// The length found, in bytes.
        found: usize,
    },
    /// The public half stored with a secret key is not its public half.
    #[error("the public half does not belong to the secret key")]
    Mismatch,
    /// Whoever holds the secret half does not sign with it.
    #[error("the key cannot be used to sign")]
    Signer,
    /// A list of keys is empty.
    #[error("empty list of keys")]
    EmptyList,
}

/// A signature does not verify: truncated, forged, malleated, or by another key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("signature does not verify")]
pub struct SignatureError;

/// One key as it stands in a message: bare bytes, or a version number with its content.
pub(crate) enum Element<'v, 'a> {
    /// Bytes of a length that only version 1 has.
    Bare(&'a [u8]),
    /// `[version, content]`.
    Versioned(i128, &'v Value<'a>),
}

/// Looks at a value as a key and hands it to `read` (protocol §5).
///
/// Bytes of one of the `bare` lengths are a bare version-1 key. Any other byte string is the
/// stand-alone form, MessagePack inside, which is strict: there the *raw* family is no substitute for
/// *bin*. An array is `[version, content]`.
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
