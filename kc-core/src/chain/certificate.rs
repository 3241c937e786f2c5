use super::{ChainError, Restrictions};
use crate::kem;
use crate::keys::{KeyError, KeyType, VerifyingKey};
use crate::types::Timestamp;
use crate::wire::{Reader, Value, WireError, Writer};

/// One key in a certificate.
///
/// A byte string of 32 bytes without a version is read as a signing key, but its writer may have meant a key-exchange
/// key (protocol §5); see [`to_exchange`](Self::to_exchange).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateKey {
    /// A signing key.
    Signing(VerifyingKey),
    /// A key-exchange key.
    Exchange(kem::PublicKey),
}

/// The keys that a certificate certifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateKeys {
    /// One key.
    Single(CertificateKey),
    /// A list of keys. In a chain, only the last certificate may have a list.
    List(Vec<CertificateKey>),
}

/// A certificate as read. Nothing in it has been verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate<'a> {
    /// The last time at which the certificate is valid.
    pub max_age: MaxAge,
    /// The certificate's own constraints, not yet evaluated.
    pub restrictions: Restrictions,
    /// The byte string that `restrictions` was read from.
    pub encoded_constraints: &'a [u8],
    /// The keys that the certificate certifies.
    pub keys: CertificateKeys,
    /// The encoded elements after the third, concatenated. Only requests, replies and list updates have such
    /// elements.
    pub extra: &'a [u8],
}

/// Encodes a certificate: `max_age`, the [encoded constraints](super::Constraints::encode), the key, and further
/// elements. `extra` consists of the number of these elements and a function that writes them.
///
/// The result is not signed. The entries of the lists and of a chain server are stored in this form; the caller signs
/// any other certificate.
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
    /// Reads a certificate without its signature. The cost depends only on the length of `bytes`, because no
    /// signature is verified and no regular expression is compiled.
    ///
    /// # Errors
    /// Returns the [`ChainError`] of one of the checks C06 to C08 if an element is missing or malformed.
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

    /// Reads a signed certificate (the signature, then the certificate) without verifying the signature. Tries the
    /// length of an Ed25519 signature first, then the length of a hybrid signature.
    ///
    /// # Errors
    /// Returns the [`ChainError`] of one of the checks C06 to C08 if an element is missing or malformed. If both
    /// attempts fail, the error is the error of the first attempt.
    pub fn parse_signed(signed: &'a [u8]) -> Result<Self, ChainError> {
        let behind = |key_type: KeyType| {
            let certificate = signed.get(key_type.signature_len()..);
            Self::parse(certificate.unwrap_or_default())
        };
        behind(KeyType::Ed25519).or_else(|error| behind(KeyType::Hybrid).map_err(|_| error))
    }

    /// Returns the third element (the keys, as encoded bytes) and the fourth element of a signed certificate, before
    /// anything is verified. Returns `None` if the certificate is malformed or has no fourth element.
    #[must_use]
    pub(crate) fn peek_keys_and_extra(signed: &'a [u8]) -> Option<(&'a [u8], Value<'a>)> {
        [KeyType::Ed25519, KeyType::Hybrid]
            .iter()
            .find_map(|key_type| {
                let parts = Parts::read(signed.get(key_type.signature_len()..)?).ok()?;
                Some((parts.encoded_keys, Reader::new(parts.extra).value().ok()?))
            })
    }

    /// Returns the fourth element of a signed certificate (the first element after the keys), before anything is
    /// verified. Returns `None` if the certificate is malformed or has no fourth element.
    ///
    /// Callers use this to reject messages for other nodes at low cost: neither keys nor constraints are interpreted.
    #[must_use]
    pub fn peek_extra(signed: &'a [u8]) -> Option<Value<'a>> {
        Self::peek_keys_and_extra(signed).map(|(_, extra)| extra)
    }
}

/// The elements of a certificate, not yet interpreted.
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
    /// Reads the third element of a certificate: a key, or a list of keys.
    ///
    /// # Errors
    /// Returns a [`KeyError`] if a key is malformed or of an unknown version, or if the list is empty.
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

    /// Returns all keys.
    #[must_use]
    pub fn as_slice(&self) -> &[CertificateKey] {
        match self {
            Self::Single(key) => std::slice::from_ref(key),
            Self::List(keys) => keys,
        }
    }

    /// Returns the key if the certificate is for a single signing key. Only such a key can sign a further
    /// certificate.
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
    /// Returns a [`KeyError`] if the key is malformed or of an unknown version.
    pub fn from_value(value: &Value<'_>) -> Result<Self, KeyError> {
        match VerifyingKey::from_value(value) {
            Ok(key) => Ok(Self::Signing(key)),
            Err(KeyError::Version(_)) => kem::PublicKey::from_value(value).map(Self::Exchange),
            Err(error) => Err(error),
        }
    }

    /// Returns the key if it was read as a signing key, and `None` if it was read as a key-exchange key.
    #[must_use]
    pub(crate) fn as_signing(&self) -> Option<&VerifyingKey> {
        match self {
            Self::Signing(key) => Some(key),
            Self::Exchange(_) => None,
        }
    }

    /// Returns the key as a key-exchange key, or `None` if it is a hybrid signing key. A byte string of 32 bytes
    /// without a version becomes a key-exchange key of version 1.
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
///
/// The value keeps the form in which it was read, integer or float, so that it is written in the same form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxAge {
    /// Whole seconds.
    Int(i128),
    /// Seconds with fractions, always finite.
    Float(f64),
}

impl MaxAge {
    /// A validity without end.
    pub const UNLIMITED: Self = Self::Int(0);

    /// Creates a validity that ends at `time`.
    #[must_use]
    pub fn until(time: Timestamp) -> Self {
        Self::Float(time.as_secs())
    }

    /// Reads an integer or a float.
    ///
    /// # Errors
    /// Returns [`WireError::Expected`] for any other type and for floats that are not finite.
    pub fn from_value(value: &Value<'_>) -> Result<Self, WireError> {
        match value {
            Value::Int(secs) => Ok(Self::Int(*secs)),
            Value::Float(secs) if secs.is_finite() => Ok(Self::Float(*secs)),
            _ => Err(WireError::Expected("a time")),
        }
    }

    /// Returns whether the validity has no end.
    #[must_use]
    pub fn is_unlimited(self) -> bool {
        self.secs() == 0.0
    }

    /// Returns whether the validity ended before `now`.
    #[must_use]
    pub fn is_over(self, now: Timestamp) -> bool {
        !self.is_unlimited() && self.secs() < now.as_secs()
    }

    /// Returns the end as a time, or `None` if the validity has no end.
    #[must_use]
    pub fn timestamp(self) -> Option<Timestamp> {
        if self.is_unlimited() {
            None
        } else {
            Timestamp::from_secs(self.secs())
        }
    }

    /// Returns the earlier of two ends, or `self` if they are equal.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        if other.is_before(self) { other } else { self }
    }

    /// Returns whether this end comes before `other`.
    #[must_use]
    pub fn is_before(self, other: Self) -> bool {
        !self.is_unlimited() && (other.is_unlimited() || self.secs() < other.secs())
    }

    /// Writes the end in the form in which it was read.
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
