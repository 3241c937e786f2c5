//! Secret keys of key exchanges in the encoding of the peers. The protocol never sends or stores such keys; only the
//! test vectors read and write them.

use rand_core::CryptoRng;

use super::DecapsulationKey;
use crate::kem::primitives::{ml_kem, sntrup761, x25519};
use crate::kem::public::sized;
use crate::kem::{Encapsulation, KemError, PublicKey, Suite};
use crate::keys::{Element, KeyError, versioned};
use crate::secret::{Secret, SecretVec};
use crate::wire::{Value, WireError};

/// A replier's ephemeral secret key after it has encapsulated: version 3 or 6.
///
/// The protocol never uses such a key again. This type exists because the peers can write such keys.
#[derive(Debug)]
pub struct CompletedKey {
    key: DecapsulationKey,
    reply: Encapsulation,
}

/// A secret key of any version, in the encoding of the peers.
#[derive(Debug)]
pub enum SecretKey {
    /// A key of version 1, or a key of another version that has not encapsulated.
    Fresh(DecapsulationKey),
    /// A replier's key of a post-quantum suite that has encapsulated.
    Completed(CompletedKey),
}

impl SecretKey {
    /// Reads a key in any form: 32 bytes, `[version, content]`, or the stand-alone byte form.
    ///
    /// # Errors
    /// Returns a [`KeyError`] if the encoding or a length is wrong, or the version is not that of an exchange key.
    pub fn from_value(value: &Value<'_>) -> Result<Self, KeyError> {
        versioned(value, x25519::LEN, |element| match element {
            Element::Bare(bytes) => x25519_only(bytes),
            Element::Versioned(1, content) => x25519_only(content.bytes()?),
            Element::Versioned(version, content) => hybrid(version, content),
        })
    }

    /// Reads the stand-alone byte form.
    ///
    /// # Errors
    /// Returns the same errors as [`from_value`](Self::from_value).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::from_value(&Value::Bytes(bytes))
    }

    /// Returns the version number: 1, 2 or 5 for a fresh key, and 3 or 6 for a completed key.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.public_key().version()
    }

    /// Returns the public half of a fresh key, or the reply of a completed key.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        match self {
            Self::Fresh(key) => key.public.clone().into(),
            Self::Completed(completed) => completed.reply.clone().into(),
        }
    }

    /// Completes an exchange: encapsulates to a requester's key, or decapsulates a reply.
    ///
    /// Returns the shared secret, and this key in the state after the exchange.
    ///
    /// # Errors
    /// Returns [`KemError::UsedUp`] if this key is [completed](Self::Completed), [`KemError::SuiteMismatch`] if `peer`
    /// is of another suite, [`KemError::LowOrder`] if the X25519 key of `peer` is a point of low order, and
    /// [`KemError::InvalidKey`] if the KEM key of `peer` is invalid.
    pub fn complete(
        self,
        peer: &PublicKey,
        rng: &mut dyn CryptoRng,
    ) -> Result<(SecretVec, Self), KemError> {
        let Self::Fresh(key) = self else {
            return Err(KemError::UsedUp);
        };
        key.require(peer.suite())?;
        match peer {
            PublicKey::Reply(reply) => Ok((key.decapsulate(reply)?, Self::Fresh(key))),
            PublicKey::Offer(offer) => {
                let (reply, shared) = offer.encapsulate_with(&key.x25519, rng)?;
                let after = match offer.suite {
                    Suite::X25519 => Self::Fresh(key),
                    _ => Self::Completed(CompletedKey { key, reply }),
                };
                Ok((shared, after))
            }
        }
    }

    /// Returns the stand-alone byte form: 32 bytes for version 1, MessagePack for the others.
    #[must_use]
    pub fn expose_bytes(&self) -> SecretVec {
        match self {
            Self::Fresh(key) => key.expose_bytes(),
            Self::Completed(CompletedKey { key, reply }) => key.encode(Some(reply)),
        }
    }
}

fn x25519_only(bytes: &[u8]) -> Result<SecretKey, KeyError> {
    let key = DecapsulationKey::new(
        Suite::X25519,
        x25519_secret(bytes)?,
        Vec::new().into(),
        Vec::new(),
    );
    Ok(SecretKey::Fresh(key))
}

fn hybrid(version: i128, content: &Value<'_>) -> Result<SecretKey, KeyError> {
    let [x25519, kem] = content.array()? else {
        return Err(WireError::Expected("two secret keys").into());
    };
    let key = |suite: Suite, secret: &Value<'_>, public: &Value<'_>| {
        Ok::<_, KeyError>(DecapsulationKey::new(
            suite,
            x25519_secret(x25519.bytes()?)?,
            sized("KEM secret key", secret.bytes()?, secret_len(suite))?.into(),
            sized("KEM public key", public.bytes()?, suite.public_len())?,
        ))
    };
    match (
        Suite::from_version(version),
        Suite::from_reply_version(version),
        kem.array()?,
    ) {
        (Some(suite), None, [secret, public]) => Ok(SecretKey::Fresh(key(suite, secret, public)?)),
        (None, Some(suite), [secret, public, ciphertext]) => {
            let key = key(suite, secret, public)?;
            let ciphertext = sized(
                "KEM ciphertext",
                ciphertext.bytes()?,
                suite.ciphertext_len(),
            )?;
            let reply = Encapsulation {
                suite,
                x25519: key.public.x25519,
                ciphertext,
            };
            Ok(SecretKey::Completed(CompletedKey { key, reply }))
        }
        (None, None, _) => Err(KeyError::Version(version)),
        _ => Err(WireError::Expected("a KEM's keys").into()),
    }
}

fn x25519_secret(bytes: &[u8]) -> Result<Secret<{ x25519::LEN }>, KeyError> {
    Secret::from_slice(bytes).ok_or(KeyError::Length {
        part: "X25519 secret key",
        expected: x25519::LEN,
        found: bytes.len(),
    })
}

/// Returns the length of the KEM's secret key: 0, 1763 or 3168 bytes.
fn secret_len(suite: Suite) -> usize {
    match suite {
        Suite::X25519 => 0,
        Suite::Sntrup761 => sntrup761::SECRET_LEN,
        Suite::MlKem1024 => ml_kem::SECRET_LEN,
    }
}
