#[cfg(feature = "vectors")]
mod encoded;

#[cfg(feature = "vectors")]
pub use encoded::{CompletedKey, SecretKey};

use std::fmt;

use rand_core::CryptoRng;

use super::primitives::{ml_kem, sntrup761, x25519};
use super::public::concat;
use super::{Encapsulation, EncapsulationKey, KemError, Suite};
use crate::secret::{Secret, SecretVec};
use crate::wire::Writer;
use crate::work;

/// A requester's ephemeral secret key: version 1, 2 or 5.
pub struct DecapsulationKey {
    x25519: Secret<{ x25519::LEN }>,
    /// The KEM's secret key; empty for X25519 alone.
    kem: SecretVec,
    public: EncapsulationKey,
}

impl DecapsulationKey {
    /// Draws a new key: 32 bytes for X25519, then the random bytes of the KEM.
    #[must_use]
    pub fn generate(suite: Suite, rng: &mut dyn CryptoRng) -> Self {
        let x25519 = Secret::random(rng);
        let (kem, kem_public) = match suite {
            Suite::X25519 => (Vec::new().into(), Vec::new()),
            Suite::Sntrup761 => sntrup761::generate(rng),
            Suite::MlKem1024 => ml_kem::generate(rng),
        };
        Self::new(suite, x25519, kem, kem_public)
    }

    /// Returns the public half.
    #[must_use]
    pub fn encapsulation_key(&self) -> &EncapsulationKey {
        &self.public
    }

    /// Returns the shared secret of a reply to this key: 32 or 64 bytes.
    ///
    /// A KEM ciphertext for another key gives a different secret, not an error.
    ///
    /// # Errors
    /// Returns [`KemError::SuiteMismatch`] if the reply is of another suite, and [`KemError::LowOrder`] if its
    /// X25519 key is a point of low order.
    pub fn decapsulate(&self, reply: &Encapsulation) -> Result<SecretVec, KemError> {
        self.require(reply.suite)?;
        work::count(|done| done.key_exchanges += 1);
        let classical = x25519::agree(&self.x25519, &reply.x25519)?;
        Ok(match self.public.suite {
            Suite::X25519 => concat(&classical, None),
            Suite::Sntrup761 => {
                let shared = sntrup761::decapsulate(self.kem.expose(), &reply.ciphertext)?;
                concat(&classical, Some(&shared))
            }
            Suite::MlKem1024 => {
                let shared = ml_kem::decapsulate(self.kem.expose(), &reply.ciphertext)?;
                concat(&classical, Some(&shared))
            }
        })
    }

    /// Returns the stand-alone byte form: 32 bytes for X25519, MessagePack for the other suites.
    #[must_use]
    pub fn expose_bytes(&self) -> SecretVec {
        self.encode(None)
    }

    fn encode(&self, reply: Option<&Encapsulation>) -> SecretVec {
        let suite = self.public.suite;
        if suite == Suite::X25519 {
            return self.x25519.expose().to_vec().into();
        }
        let version = reply.map_or(suite.version(), |_| suite.reply_version());
        // The buffer is allocated once, so that growth leaves no copies of the secrets behind.
        let mut writer = Writer::append_to(Vec::with_capacity(8 * 1024));
        writer.array(2).uint(version.into());
        writer.array(2).bytes(self.x25519.expose());
        writer.array(2 + usize::from(reply.is_some()));
        writer.bytes(self.kem.expose()).bytes(&self.public.kem);
        if let Some(reply) = reply {
            writer.bytes(&reply.ciphertext);
        }
        writer.into_vec().into()
    }

    pub(super) fn x25519_secret(&self) -> &Secret<{ x25519::LEN }> {
        &self.x25519
    }

    pub(super) fn x25519_public(&self) -> &[u8; x25519::LEN] {
        &self.public.x25519
    }

    fn new(
        suite: Suite,
        x25519: Secret<{ x25519::LEN }>,
        kem: SecretVec,
        kem_public: Vec<u8>,
    ) -> Self {
        let public = EncapsulationKey {
            suite,
            x25519: x25519::public_of(&x25519),
            kem: kem_public,
        };
        Self {
            x25519,
            kem,
            public,
        }
    }

    fn require(&self, found: Suite) -> Result<(), KemError> {
        let expected = self.public.suite;
        if found == expected {
            Ok(())
        } else {
            Err(KemError::SuiteMismatch { expected, found })
        }
    }
}

impl fmt::Debug for DecapsulationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DecapsulationKey({:?}, redacted)", self.public.suite)
    }
}
