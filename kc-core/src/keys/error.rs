use thiserror::Error;

use crate::wire::WireError;

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
