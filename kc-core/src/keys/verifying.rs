use std::fmt;

use super::{Element, KeyError, KeyType, SignatureError, ed25519, slh_dsa, versioned};
use crate::symmetric::sha256;
use crate::wire::{Value, WireError, Writer};

/// The public half of a [`SigningKey`](super::SigningKey).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum VerifyingKey {
    /// Version 1: Ed25519.
    Ed25519([u8; ed25519::PUBLIC_LEN]),
    /// Version 4: Ed25519 and SLH-DSA-SHAKE-128f.
    Hybrid {
        /// The Ed25519 public key.
        ed25519: [u8; ed25519::PUBLIC_LEN],
        /// The SLH-DSA-SHAKE-128f public key.
        slh_dsa: [u8; slh_dsa::PUBLIC_LEN],
    },
}

impl VerifyingKey {
    /// Reads a key from a value in a certificate: bare bytes, `[version, content]`, or the stand-alone byte form as
    /// a byte string.
    ///
    /// # Errors
    /// Returns a [`KeyError`] if the encoding or a length is wrong, or the version is not that of a signing key.
    pub fn from_value(value: &Value<'_>) -> Result<Self, KeyError> {
        versioned(value, ed25519::PUBLIC_LEN, |element| match element {
            Element::Bare(bytes) => Ok(Self::Ed25519(part("Ed25519 public key", bytes)?)),
            Element::Versioned(version, content) => match KeyType::from_version(version) {
                Some(KeyType::Ed25519) => {
                    Ok(Self::Ed25519(part("Ed25519 public key", content.bytes()?)?))
                }
                Some(KeyType::Hybrid) => match content.array()? {
                    [ed25519, slh_dsa] => Ok(Self::Hybrid {
                        ed25519: part("Ed25519 public key", ed25519.bytes()?)?,
                        slh_dsa: part("SLH-DSA public key", slh_dsa.bytes()?)?,
                    }),
                    _ => Err(WireError::Expected("two public keys").into()),
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

    /// Returns the stand-alone byte form: 32 bytes for version 1, MessagePack for version 4.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(public) => public.to_vec(),
            Self::Hybrid { .. } => {
                let mut writer = Writer::new();
                self.write_to(&mut writer);
                writer.into_vec()
            }
        }
    }

    /// Writes the form that a certificate contains.
    pub fn write_to(&self, writer: &mut Writer) {
        match self {
            Self::Ed25519(public) => writer.bytes(public),
            Self::Hybrid { ed25519, slh_dsa } => writer
                .array(2)
                .uint(KeyType::Hybrid.version().into())
                .array(2)
                .bytes(ed25519)
                .bytes(slh_dsa),
        };
    }

    /// Returns the key's type.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        match self {
            Self::Ed25519(_) => KeyType::Ed25519,
            Self::Hybrid { .. } => KeyType::Hybrid,
        }
    }

    /// Returns the Ed25519 public key, which both types have.
    #[must_use]
    pub fn ed25519(&self) -> &[u8; 32] {
        match self {
            Self::Ed25519(ed25519) | Self::Hybrid { ed25519, .. } => ed25519,
        }
    }

    /// Verifies a combined signature. Returns the message inside, a part of `signed`.
    ///
    /// # Errors
    /// Returns [`SignatureError`] if the signature does not verify. In version 4, both signatures must verify.
    pub fn verify<'a>(&self, signed: &'a [u8]) -> Result<&'a [u8], SignatureError> {
        match self {
            Self::Ed25519(public) => ed25519::verify(public, signed),
            Self::Hybrid { slh_dsa, .. } => {
                // The cheaper signature is verified first. Neither signature is sufficient alone.
                let message = self.verify_ed25519(signed)?;
                slh_dsa::verify(slh_dsa, signed)?;
                Ok(message)
            }
        }
    }

    /// Verifies only the Ed25519 signature and returns the message inside. Callers use this to reject forged messages
    /// at low cost.
    pub(crate) fn verify_ed25519<'a>(&self, signed: &'a [u8]) -> Result<&'a [u8], SignatureError> {
        match self {
            Self::Ed25519(public) => ed25519::verify(public, signed),
            Self::Hybrid { ed25519, .. } => {
                let classical = signed.get(slh_dsa::SIGNATURE_LEN..).ok_or(SignatureError)?;
                ed25519::verify(ed25519, classical)
            }
        }
    }

    /// Returns a short name that people can compare: the first eight bytes of the SHA-256 of the byte form, in
    /// hexadecimal.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hash = self.short_hash();
        hash.iter().take(8).map(|b| format!("{b:02x}")).collect()
    }

    /// Returns the first 16 bytes of the SHA-256 of the byte form.
    pub(crate) fn short_hash(&self) -> [u8; 16] {
        let mut hash = [0; 16];
        hash.iter_mut()
            .zip(sha256(&[&self.to_bytes()]))
            .for_each(|(to, from)| *to = from);
        hash
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "VerifyingKey({:?}, {})",
            self.key_type(),
            self.fingerprint()
        )
    }
}

fn part<const N: usize>(part: &'static str, bytes: &[u8]) -> Result<[u8; N], KeyError> {
    bytes.try_into().map_err(|_| KeyError::Length {
        part,
        expected: N,
        found: bytes.len(),
    })
}
