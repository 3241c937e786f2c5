use rand_core::CryptoRng;

use super::primitives::{ml_kem, sntrup761, x25519};
use super::{KemError, Suite};
use crate::keys::{Element, KeyError, versioned};
use crate::secret::{Secret, SecretVec};
use crate::wire::{Value, WireError, Writer};
use crate::work;

/// A requester's public key: version 1, 2 or 5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncapsulationKey {
    pub(super) suite: Suite,
    pub(super) x25519: [u8; x25519::LEN],
    /// The KEM's public key, of the length that the suite requires.
    pub(super) kem: Vec<u8>,
}

/// A replier's public answer: version 1, 3 or 6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encapsulation {
    pub(super) suite: Suite,
    pub(super) x25519: [u8; x25519::LEN],
    /// The KEM's ciphertext, of the length that the suite requires.
    pub(super) ciphertext: Vec<u8>,
}

/// A public key of either side, as read from a message. A key of version 1 has the same form for both sides, and is
/// read as an [`EncapsulationKey`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// A requester's key.
    Offer(EncapsulationKey),
    /// A replier's answer.
    Reply(Encapsulation),
}

impl EncapsulationKey {
    /// Returns the suite of the key.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Creates a version-1 key.
    #[must_use]
    pub(crate) fn from_x25519(x25519: [u8; 32]) -> Self {
        Self {
            suite: Suite::X25519,
            x25519,
            kem: Vec::new(),
        }
    }

    /// Encapsulates a shared secret to this key. Returns the answer for the requester, and the shared secret. The
    /// secret has 32 bytes for X25519, and 64 bytes for the other suites (32 of X25519, then 32 of the KEM).
    ///
    /// # Errors
    /// Returns [`KemError::LowOrder`] if the X25519 key is a point of low order, and [`KemError::InvalidKey`] if
    /// the KEM's key is invalid.
    pub fn encapsulate(
        &self,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Encapsulation, SecretVec), KemError> {
        work::count(|done| done.key_exchanges += 1);
        self.encapsulate_with(&Secret::random(rng), rng)
    }

    /// Encapsulates like [`encapsulate`](Self::encapsulate), with an existing X25519 secret.
    pub(super) fn encapsulate_with(
        &self,
        secret: &Secret<{ x25519::LEN }>,
        rng: &mut dyn CryptoRng,
    ) -> Result<(Encapsulation, SecretVec), KemError> {
        let classical = x25519::agree(secret, &self.x25519)?;
        let (ciphertext, shared) = match self.suite {
            Suite::X25519 => (Vec::new(), concat(&classical, None)),
            Suite::Sntrup761 => {
                let (ciphertext, shared) = sntrup761::encapsulate(&self.kem, rng)?;
                (ciphertext, concat(&classical, Some(&shared)))
            }
            Suite::MlKem1024 => {
                let (ciphertext, shared) = ml_kem::encapsulate(&self.kem, rng)?;
                (ciphertext, concat(&classical, Some(&shared)))
            }
        };
        let encapsulation = Encapsulation {
            suite: self.suite,
            x25519: x25519::public_of(secret),
            ciphertext,
        };
        Ok((encapsulation, shared))
    }
}

impl Encapsulation {
    /// Returns the suite of the reply.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }
}

impl PublicKey {
    /// Reads a key from a value in a certificate: bare bytes, `[version, content]`, or the stand-alone byte form as
    /// a byte string.
    ///
    /// This checks lengths only; a KEM key is validated when it is used.
    ///
    /// # Errors
    /// Returns a [`KeyError`] if the encoding or a length is wrong, or the version is not that of an exchange key.
    pub fn from_value(value: &Value<'_>) -> Result<Self, KeyError> {
        versioned(value, x25519::LEN, |element| match element {
            Element::Bare(bytes) => Ok(Self::from_x25519(x25519(bytes)?)),
            Element::Versioned(1, content) => Ok(Self::from_x25519(x25519(content.bytes()?)?)),
            Element::Versioned(version, content) => {
                if let Some(suite) = Suite::from_version(version) {
                    let (x25519, kem) = hybrid(content, "KEM public key", suite.public_len())?;
                    Ok(Self::Offer(EncapsulationKey { suite, x25519, kem }))
                } else if let Some(suite) = Suite::from_reply_version(version) {
                    let (x25519, ciphertext) =
                        hybrid(content, "KEM ciphertext", suite.ciphertext_len())?;
                    Ok(Self::Reply(Encapsulation {
                        suite,
                        x25519,
                        ciphertext,
                    }))
                } else {
                    Err(KeyError::Version(version))
                }
            }
        })
    }

    /// Reads the stand-alone byte form.
    ///
    /// # Errors
    /// Returns the same errors as [`from_value`](Self::from_value).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::from_value(&Value::Bytes(bytes))
    }

    /// Returns the number by which the protocol names the kind of key: 1, 2 or 5 for a requester's key, 1, 3 or 6 for
    /// a reply.
    #[must_use]
    pub fn version(&self) -> u8 {
        match self {
            Self::Offer(key) => key.suite.version(),
            Self::Reply(reply) => reply.suite.reply_version(),
        }
    }

    /// Returns the suite of the key.
    #[must_use]
    pub fn suite(&self) -> Suite {
        match self {
            Self::Offer(key) => key.suite,
            Self::Reply(reply) => reply.suite,
        }
    }

    /// Returns this key as a reply. A version-1 key of a requester is also a reply; any other key of a requester
    /// gives `None`.
    #[must_use]
    pub(crate) fn into_reply(self) -> Option<Encapsulation> {
        match self {
            Self::Reply(reply) => Some(reply),
            Self::Offer(key) if key.suite == Suite::X25519 => Some(Encapsulation {
                suite: Suite::X25519,
                x25519: key.x25519,
                ciphertext: Vec::new(),
            }),
            Self::Offer(_) => None,
        }
    }

    /// Returns this key as a requester's key, or `None` if it is a reply.
    #[must_use]
    pub fn into_offer(self) -> Option<EncapsulationKey> {
        match self {
            Self::Offer(key) => Some(key),
            Self::Reply(_) => None,
        }
    }

    /// Returns the stand-alone byte form: 32 bytes for version 1, MessagePack for the others.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (x25519, kem) = self.parts();
        if kem.is_empty() {
            return x25519.to_vec();
        }
        let mut writer = Writer::new();
        self.write_to(&mut writer);
        writer.into_vec()
    }

    /// Writes the form that a certificate contains.
    pub fn write_to(&self, writer: &mut Writer) {
        let (x25519, kem) = self.parts();
        if kem.is_empty() {
            writer.bytes(x25519);
        } else {
            writer.array(2).uint(self.version().into());
            writer.array(2).bytes(x25519).bytes(kem);
        }
    }

    fn from_x25519(x25519: [u8; x25519::LEN]) -> Self {
        Self::Offer(EncapsulationKey::from_x25519(x25519))
    }

    fn parts(&self) -> (&[u8; x25519::LEN], &[u8]) {
        match self {
            Self::Offer(key) => (&key.x25519, &key.kem),
            Self::Reply(reply) => (&reply.x25519, &reply.ciphertext),
        }
    }
}

impl From<EncapsulationKey> for PublicKey {
    fn from(key: EncapsulationKey) -> Self {
        Self::Offer(key)
    }
}

impl From<Encapsulation> for PublicKey {
    fn from(reply: Encapsulation) -> Self {
        Self::Reply(reply)
    }
}

/// Concatenates the shared secret of an exchange: the X25519 part, then the KEM's part.
pub(super) fn concat(classical: &Secret<32>, kem: Option<&Secret<32>>) -> SecretVec {
    let mut shared = Vec::with_capacity(64);
    shared.extend_from_slice(classical.expose());
    if let Some(kem) = kem {
        shared.extend_from_slice(kem.expose());
    }
    shared.into()
}

pub(super) fn sized(
    part: &'static str,
    bytes: &[u8],
    expected: usize,
) -> Result<Vec<u8>, KeyError> {
    if bytes.len() == expected {
        Ok(bytes.to_vec())
    } else {
        Err(KeyError::Length {
            part,
            expected,
            found: bytes.len(),
        })
    }
}

/// Splits the content of a hybrid key into the X25519 key and the KEM's part of `expected` bytes.
fn hybrid(
    content: &Value<'_>,
    part: &'static str,
    expected: usize,
) -> Result<([u8; x25519::LEN], Vec<u8>), KeyError> {
    match content.array()? {
        [classical, kem] => Ok((
            x25519(classical.bytes()?)?,
            sized(part, kem.bytes()?, expected)?,
        )),
        _ => Err(
            WireError::Expected("an X25519 public key and a KEM public key or ciphertext").into(),
        ),
    }
}

fn x25519(bytes: &[u8]) -> Result<[u8; x25519::LEN], KeyError> {
    bytes.try_into().map_err(|_| KeyError::Length {
        part: "X25519 public key",
        expected: x25519::LEN,
        found: bytes.len(),
    })
}
