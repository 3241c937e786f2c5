use super::{ChainError, Restrictions};
use crate::kem;
use crate::keys::{KeyError, KeyType, VerifyingKey};
use crate::types::Timestamp;
use crate::wire::{Reader, Value, WireError, Writer};

/// One key in a certificate. A bare 32-byte string reads as a signing key, and may be meant as a
/// key-exchange key (protocol §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateKey {
    /// A signing key.
    Signing(VerifyingKey),
    /// A key-exchange key.
    Exchange(kem::PublicKey),
}

/// The keys that a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateKeys {
    /// One key.
    Single(CertificateKey),
    /// A list of keys; such a certificate ends a chain.
    List(Vec<CertificateKey>),
}

/// A certificate as read; nothing has been verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate<'a> {
    /// The last time at which it is valid.
    pub max_age: MaxAge,
    /// Its own restrictions, not evaluated.
    pub restrictions: Restrictions,
    /// The byte string that they were read from.
    pub encoded_constraints: &'a [u8],
    /// What it is for.
    pub keys: CertificateKeys,
    /// The bytes of further elements, one after the other, as requests and replies have them.
    pub extra: &'a [u8],
}

/// The bytes of a certificate, to be signed (or not, for a root): `max_age`, the
/// [encoded constraints](super::Constraints::encode), the key and whatever `extra` adds, with the number of
/// elements that it adds.
#[must_use]
pub fn encode_certificate(
    max_age: MaxAge,
    constraints: &[u8],
    key: impl FnOnce(&mut Writer),
    extra: (usize, impl FnOnce(&mut Writer)),
) -> Vec<u8> {
    let mut writer = Writer::new();
    let (extra_len, write_extra) = extra;
    writer.array(3 + extra_len);
    max_age.write_to(&mut writer);
    writer.bytes(constraints);
    key(&mut writer);
    write_extra(&mut writer);
    writer.into_vec()
}

impl<'a> Certificate<'a> {
    /// Reads a certificate without its signature. Bounded by its length: nothing in it is evaluated.
    ///
    /// # Errors
    /// The checks C06 to C08.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ChainError> {
        let parts = Parts::read(bytes).map_err(ChainError::Certificate)?;
        let constraints = parts
            .constraints
            .bytes()
            .map_err(|_| ChainError::Constraints("not a byte string"))?;
        Ok(Self {
            max_age: MaxAge::from_value(&parts.max_age).map_err(ChainError::Certificate)?,
            restrictions: Restrictions::decode(constraints)?,
            encoded_constraints: constraints,
            keys: CertificateKeys::from_value(&parts.keys)?,
            extra: parts.extra,
        })
    }

    /// Reads a certificate behind a signature of whatever type of key, for people to look at: the signature
    /// is not verified.
    ///
    /// # Errors
    /// The checks C06 to C08.
    pub fn parse_signed(signed: &'a [u8]) -> Result<Self, ChainError> {
        let behind = |key_type: KeyType| {
            let certificate = signed.get(key_type.signature_len()..);
            Self::parse(certificate.unwrap_or_default())
        };
        behind(KeyType::Ed25519).or_else(|error| behind(KeyType::Hybrid).map_err(|_| error))
    }

    /// The bytes of the key slot of a signed certificate and the first of the elements behind it, before anything of it
    /// is verified.
    #[must_use]
    pub fn peek_keys_and_extra(signed: &'a [u8]) -> Option<(&'a [u8], Value<'a>)> {
        [KeyType::Ed25519, KeyType::Hybrid]
            .iter()
            .find_map(|key_type| {
                let parts = Parts::read(signed.get(key_type.signature_len()..)?).ok()?;
                Some((parts.encoded_keys, Reader::new(parts.extra).value().ok()?))
            })
    }

    /// The first of the elements behind the key of a signed certificate, before anything of it is verified: to pass
    /// over what concerns others without looking at signatures. Reads neither keys nor restrictions.
    #[must_use]
    pub fn peek_extra(signed: &'a [u8]) -> Option<Value<'a>> {
        Self::peek_keys_and_extra(signed).map(|(_, extra)| extra)
    }
}

/// The elements of a certificate, not looked at yet.
struct Parts<'a> {
    max_age: Value<'a>,
    constraints: Value<'a>,
    keys: Value<'a>,
    encoded_keys: &'a [u8],
    extra: &'a [u8],
}

impl<'a> Parts<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let len = reader.array()?;
        let extra_len = len.checked_sub(3);
        let extra_len = extra_len.ok_or(WireError::Expected("at least three elements"))?;
        let (max_age, constraints) = (reader.value()?, reader.value()?);
        let before_keys = reader.rest();
        let keys = reader.value()?;
        let extra = reader.rest();
        let encoded_keys = before_keys.get(..before_keys.len() - extra.len());
        for _ in 0..extra_len {
            reader.value()?;
        }
        reader.finish()?;
        Ok(Self {
            max_age,
            constraints,
            keys,
            encoded_keys: encoded_keys.unwrap_or_default(),
            extra,
        })
    }
}

impl CertificateKeys {
    /// Reads the key slot of a certificate: a key, or a list of keys.
    ///
    /// # Errors
    /// Any [`KeyError`] but `Mismatch`.
    pub fn from_value(value: &Value<'_>) -> Result<Self, KeyError> {
        match value {
            Value::Array(elements) if !matches!(elements.first(), Some(Value::Int(_))) => {
                let keys = elements
                    .iter()
                    .map(CertificateKey::from_value)
                    .collect::<Result<Vec<_>, _>>()?;
                if keys.is_empty() {
                    return Err(KeyError::EmptyList);
                }
                Ok(Self::List(keys))
            }
            _ => CertificateKey::from_value(value).map(Self::Single),
        }
    }

    /// All keys.
    #[must_use]
    pub fn as_slice(&self) -> &[CertificateKey] {
        match self {
            Self::Single(key) => std::slice::from_ref(key),
            Self::List(keys) => keys,
        }
    }

    /// The key, if it is a single signing key: only such a key can sign.
    #[must_use]
    pub fn signer(&self) -> Option<&VerifyingKey> {
        match self {
            Self::Single(CertificateKey::Signing(key)) => Some(key),
            _ => None,
        }
    }
}

impl CertificateKey {
    /// Reads one key.
    ///
    /// # Errors
    /// Any [`KeyError`] but `Mismatch`.
    pub fn from_value(value: &Value<'_>) -> Result<Self, KeyError> {
        match VerifyingKey::from_value(value) {
            Ok(key) => Ok(Self::Signing(key)),
            Err(KeyError::Version(_)) => kem::PublicKey::from_value(value).map(Self::Exchange),
            Err(error) => Err(error),
        }
    }

    /// The signing key, if it reads as one.
    #[must_use]
    pub fn as_signing(&self) -> Option<&VerifyingKey> {
        match self {
            Self::Signing(key) => Some(key),
            Self::Exchange(_) => None,
        }
    }

    /// The key as a key-exchange key; a bare 32-byte string becomes a version-1 key.
    #[must_use]
    pub fn to_exchange(&self) -> Option<kem::PublicKey> {
        match self {
            Self::Exchange(key) => Some(key.clone()),
            Self::Signing(VerifyingKey::Ed25519(bytes)) => {
                Some(kem::EncapsulationKey::from_x25519(*bytes).into())
            }
            Self::Signing(_) => None,
        }
    }
}

/// The last time at which a certificate is valid, in seconds since the epoch; 0 means without end.
/// Remembers whether it was written as an integer or a float.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxAge {
    /// Whole seconds.
    Int(i128),
    /// Seconds with fractions; finite.
    Float(f64),
}

impl MaxAge {
    /// Valid without end.
    pub const UNLIMITED: Self = Self::Int(0);

    /// Valid until `time`.
    #[must_use]
    pub fn until(time: Timestamp) -> Self {
        Self::Float(time.as_secs())
    }

    /// Reads an integer or a float.
    ///
    /// # Errors
    /// [`WireError::Expected`] for other types and for floats that are not finite.
    pub fn from_value(value: &Value<'_>) -> Result<Self, WireError> {
        match value {
            Value::Int(secs) => Ok(Self::Int(*secs)),
            Value::Float(secs) if secs.is_finite() => Ok(Self::Float(*secs)),
            _ => Err(WireError::Expected("a time")),
        }
    }

    /// Whether there is no end.
    #[must_use]
    pub fn is_unlimited(self) -> bool {
        self.secs() == 0.0
    }

    /// Whether the end has come: strictly before `now`.
    #[must_use]
    pub fn is_over(self, now: Timestamp) -> bool {
        !self.is_unlimited() && self.secs() < now.as_secs()
    }

    /// The end as a time; `None` if there is none.
    #[must_use]
    pub fn timestamp(self) -> Option<Timestamp> {
        if self.is_unlimited() {
            None
        } else {
            Timestamp::from_secs(self.secs())
        }
    }

    /// The earlier end of two; of two that are the same, this one.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        if other.is_before(self) { other } else { self }
    }

    /// Whether this end comes before another.
    #[must_use]
    pub fn is_before(self, other: Self) -> bool {
        !self.is_unlimited() && (other.is_unlimited() || self.secs() < other.secs())
    }

    /// Writes it as it was read.
    pub fn write_to(self, writer: &mut Writer) {
        match self {
            Self::Int(secs) => writer.value(&Value::Int(secs)),
            Self::Float(secs) => writer.float(secs),
        };
    }

    #[expect(clippy::cast_precision_loss, reason = "times fit a double's 53 bits")]
    pub(super) fn secs(self) -> f64 {
        match self {
            Self::Int(secs) => secs as f64,
            Self::Float(secs) => secs,
        }
    }
}
