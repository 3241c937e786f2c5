use rand_core::CryptoRng;

use super::{KeyError, slh_dsa};
use crate::secret::Secret;

/// The SLH-DSA half of a version-4 key, for a keystore whose Ed25519 half is somewhere else: on a token.
///
/// Such a keystore signs `signed = ed25519_signature || message` there, and completes it with
/// [`complete`](Self::complete), or with a signature of `signed` that the token makes:
/// `slh_dsa_signature || signed` is the version-4 signature (protocol §5).
pub struct SlhDsaHalf(Secret<{ slh_dsa::SECRET_LEN }>);

impl SlhDsaHalf {
    /// From 48 bytes: secret seed, PRF key, public seed.
    #[must_use]
    pub fn from_seed(seed: &Secret<48>) -> Self {
        Self(slh_dsa::from_seed(seed))
    }

    pub(super) fn new(secret: Secret<{ slh_dsa::SECRET_LEN }>) -> Self {
        Self(secret)
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        slh_dsa::public_of(&self.0)
    }

    /// The 48 bytes that it is made from.
    #[must_use]
    pub fn expose_seed(&self) -> Secret<48> {
        Secret::fill_with(|seed| {
            for (to, from) in seed.iter_mut().zip(self.0.expose()) {
                *to = *from;
            }
        })
    }

    /// The private key of FIPS 205, 64 bytes: the seeds, then the root. Tokens import this form.
    #[must_use]
    pub fn expose_private_key(&self) -> &Secret<64> {
        &self.0
    }

    /// Puts the SLH-DSA signature in front of a message that is signed by Ed25519 already.
    ///
    /// # Errors
    /// [`KeyError::Mismatch`] if the key cannot sign.
    pub fn complete(&self, signed: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, KeyError> {
        slh_dsa::sign(&self.0, signed, rng)
    }
}

impl std::fmt::Debug for SlhDsaHalf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SlhDsaHalf(redacted)")
    }
}
