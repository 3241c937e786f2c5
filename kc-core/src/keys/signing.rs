use rand_core::CryptoRng;

use super::{Element, KeyError, KeyType, SlhDsaHalf, VerifyingKey, ed25519, slh_dsa, versioned};
use crate::secret::{Secret, SecretVec};
use crate::wire::{Value, WireError, Writer};

/// Signs with the secret key that belongs to a [`VerifyingKey`]. The secret key is in memory or on a token.
pub trait Signer {
    /// Returns the public half of the key.
    fn verifying_key(&self) -> &VerifyingKey;

    /// Signs `message`. Returns the signature followed by the message (protocol §5).
    ///
    /// # Errors
    /// Returns a [`KeyError`] if the signature cannot be made, for example because the token does not answer.
    fn sign(&self, message: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, KeyError>;
}

impl<S: Signer + ?Sized> Signer for &S {
    fn verifying_key(&self) -> &VerifyingKey {
        (**self).verifying_key()
    }

    fn sign(&self, message: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, KeyError> {
        (**self).sign(message, rng)
    }
}

/// A secret signing key in memory.
pub struct SigningKey {
    ed25519: Secret<{ ed25519::SECRET_LEN }>,
    slh_dsa: Option<Secret<{ slh_dsa::SECRET_LEN }>>,
    public: VerifyingKey,
}

impl SigningKey {
    /// Draws a new key: 32 bytes for the Ed25519 seed, then 48 bytes for SLH-DSA if the key is hybrid.
    #[must_use]
    pub fn generate(key_type: KeyType, rng: &mut dyn CryptoRng) -> Self {
        let ed25519 = Secret::random(rng);
        match key_type {
            KeyType::Ed25519 => Self::from_ed25519_seed(&ed25519),
            KeyType::Hybrid => Self::from_hybrid_seeds(&ed25519, &Secret::random(rng)),
        }
    }

    /// Creates a version-1 key from an Ed25519 seed of 32 bytes.
    #[must_use]
    pub fn from_ed25519_seed(seed: &Secret<32>) -> Self {
        Self::new(ed25519::from_seed(seed), None)
    }

    /// Creates a version-4 key from an Ed25519 seed of 32 bytes and an SLH-DSA seed of 48 bytes (secret seed, PRF
    /// key, public seed).
    #[must_use]
    pub fn from_hybrid_seeds(ed25519: &Secret<32>, slh_dsa: &Secret<48>) -> Self {
        Self::new(
            ed25519::from_seed(ed25519),
            Some(slh_dsa::from_seed(slh_dsa)),
        )
    }

    /// Reads a key in any form: 64 bytes, `[version, content]`, or the stand-alone byte form.
    ///
    /// # Errors
    /// Returns a [`KeyError`] if the encoding or a length is wrong, the version is not that of a signing key, or a
    /// public half does not belong to its secret.
    pub fn from_value(value: &Value<'_>) -> Result<Self, KeyError> {
        versioned(value, ed25519::SECRET_LEN, |element| match element {
            Element::Bare(bytes) => Ok(Self::new(ed25519::parse(bytes)?, None)),
            Element::Versioned(version, content) => match KeyType::from_version(version) {
                Some(KeyType::Ed25519) => Ok(Self::new(ed25519::parse(content.bytes()?)?, None)),
                Some(KeyType::Hybrid) => match content.array()? {
                    [ed25519, slh_dsa] => Ok(Self::new(
                        ed25519::parse(ed25519.bytes()?)?,
                        Some(slh_dsa::parse(slh_dsa.bytes()?)?),
                    )),
                    _ => Err(WireError::Expected("two secret keys").into()),
                },
                None => Err(KeyError::Version(version)),
            },
        })
    }

    /// Reads the stand-alone byte form.
    ///
    /// # Errors
    /// Returns the same errors as [`from_value`](Self::from_value).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::from_value(&Value::Bytes(bytes))
    }

    /// Returns the stand-alone byte form, which the `.crypto` file holds: 64 bytes for version 1, MessagePack for
    /// version 4.
    #[must_use]
    pub fn expose_bytes(&self) -> SecretVec {
        let ed25519 = self.ed25519.expose();
        let Some(slh_dsa) = &self.slh_dsa else {
            return ed25519.to_vec().into();
        };
        // The buffer is allocated once, so that growth leaves no copies of the secrets behind.
        let mut writer = Writer::append_to(Vec::with_capacity(160));
        writer
            .array(2)
            .uint(KeyType::Hybrid.version().into())
            .array(2)
            .bytes(ed25519)
            .bytes(slh_dsa.expose());
        writer.into_vec().into()
    }

    /// Returns the 32-byte seed of the Ed25519 key, to import it into a token.
    #[must_use]
    pub fn expose_ed25519_seed(&self) -> Secret<32> {
        Secret::fill_with(|seed| {
            for (to, from) in seed.iter_mut().zip(self.ed25519.expose()) {
                *to = *from;
            }
        })
    }

    /// Returns a copy of the SLH-DSA half of a version-4 key, to import it into a token. Returns `None` for version
    /// 1.
    #[must_use]
    pub fn expose_slh_dsa_half(&self) -> Option<SlhDsaHalf> {
        let slh_dsa = self.slh_dsa.as_ref()?;
        Some(SlhDsaHalf::new(slh_dsa.expose_copy()))
    }

    fn new(
        ed25519: Secret<{ ed25519::SECRET_LEN }>,
        slh_dsa: Option<Secret<{ slh_dsa::SECRET_LEN }>>,
    ) -> Self {
        let ed25519_public = ed25519::public_of(&ed25519);
        let public = match &slh_dsa {
            None => VerifyingKey::Ed25519(ed25519_public),
            Some(slh_dsa) => VerifyingKey::Hybrid {
                ed25519: ed25519_public,
                slh_dsa: slh_dsa::public_of(slh_dsa),
            },
        };
        Self {
            ed25519,
            slh_dsa,
            public,
        }
    }
}

impl Signer for SigningKey {
    fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    fn sign(&self, message: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, KeyError> {
        let signed = ed25519::sign(&self.ed25519, message);
        match &self.slh_dsa {
            None => Ok(signed),
            Some(slh_dsa) => slh_dsa::sign(slh_dsa, &signed, rng),
        }
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey(of {:?}, redacted)", self.public)
    }
}
