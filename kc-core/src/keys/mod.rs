//! Signing keys (protocol §5): Ed25519 (version 1) and the hybrid of Ed25519 and SLH-DSA (version 4).
//!
//! Signatures are *combined*: the signature stands in front of the message it signs. In version 4 an
//! SLH-DSA-SHAKE-128f signature stands in front of the Ed25519-signed message and covers all of it,
//! and both must verify.

mod ed25519;
mod encoding;
mod error;
mod signing;
mod slh_dsa;
mod slh_half;
mod verifying;

pub(crate) use encoding::{Element, versioned};
pub use error::{KeyError, SignatureError};
pub use signing::{Signer, SigningKey};
pub use slh_half::SlhDsaHalf;
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

#[cfg(test)]
mod tests;
