use rand_core::CryptoRng;
use thiserror::Error;

use crate::kem::Suite;
use crate::keys::{KeyError, KeyType, Signer, SigningKey};
use crate::secret::{Secret, SecretVec};
use crate::wire::{Reader, Value, WireError, Writer};

/// The version of the format that [`NodeSecrets::encode`] writes.
const CURRENT_VERSION: i128 = 2;

/// A reason why a `.crypto` file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NodeSecretsError {
    /// The file is truncated or altered, or is not a `.crypto` file.
    #[error("malformed key file: {0}")]
    Encoding(#[from] WireError),
    /// A signing key is malformed.
    #[error("malformed signing key in the key file: {0}")]
    Key(#[from] KeyError),
    /// The file has a version that this version of kc does not know.
    #[error("the key file has the unknown version {0}")]
    Version(i128),
    /// None of the signing keys is of a known type.
    #[error("the key file has no signing key of a known type")]
    NoKnownKey,
    /// The opaque key does not have 32 bytes.
    #[error("the opaque key in the key file has {0} bytes instead of 32")]
    OpaqueKey(usize),
    /// The list of key exchanges is empty, or this version of kc knows none of its entries.
    #[error("the list of key exchanges contains no known key exchange")]
    NoKnownSuite,
}

/// The content of a node's `.crypto` file: the signing keys, the opaque key, the key exchanges, and whether the node
/// also sends requests in the legacy form.
#[derive(Debug)]
pub struct NodeSecrets {
    signing_keys: Vec<StoredKey>,
    opaque_key: Secret<32>,
    legacy_requests: bool,
    exchange_versions: Vec<i64>,
}

/// The result of decoding a `.crypto` file.
#[derive(Debug)]
pub struct Decoded {
    /// The secrets.
    pub secrets: NodeSecrets,
    /// True if the file has an older format and should be written again.
    pub outdated: bool,
    /// The number of bytes that follow the content. These bytes have no meaning.
    pub trailing: usize,
}

#[derive(Debug)]
enum StoredKey {
    Known(SigningKey),
    /// A key of a type that this version of kc does not know. The key is kept when the file is written again.
    Unknown(SecretVec),
}

impl NodeSecrets {
    /// Creates the secrets of a new node. They contain no signing key, a random opaque key, and all key exchanges.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self {
            signing_keys: Vec::new(),
            opaque_key: Secret::random(rng),
            legacy_requests: false,
            exchange_versions: Suite::ALL.map(|suite| suite.version().into()).to_vec(),
        }
    }

    /// Decodes a `.crypto` file in one of three formats:
    ///
    /// - version 2: `[2, [signing keys], opaque key, legacy requests, [key exchanges]]`
    /// - version 1: `[1, signing key, opaque key, legacy requests, [key exchanges]]`
    /// - the oldest format: `[signing key, opaque key]`; the node then uses key exchange 1 and also sends requests in
    ///   the legacy form
    ///
    /// In versions 1 and 2, elements after the fifth are ignored.
    ///
    /// # Errors
    /// Returns a [`NodeSecretsError`] if the layout or a key is malformed, if the version of the file is unknown, if
    /// the file has signing keys but all of them are of unknown types, or if it has no known key exchange.
    pub fn decode(bytes: &[u8]) -> Result<Decoded, NodeSecretsError> {
        let mut reader = Reader::new(bytes);
        let value = reader.value()?;
        let (secrets, outdated) = match value.array()? {
            [key, opaque_key] => (Self::read(&[key], opaque_key, true, vec![1])?, true),
            [version, keys, opaque_key, legacy, exchanges, ..] => {
                let Value::Bool(legacy) = legacy else {
                    return Err(WireError::Expected("a Boolean").into());
                };
                let exchanges = exchanges.array()?.iter().map(exchange_version);
                let exchanges = exchanges.collect::<Result<_, _>>()?;
                let version = version.int()?;
                let keys: Vec<_> = match version {
                    1 => vec![keys],
                    CURRENT_VERSION => keys.array()?.iter().collect(),
                    _ => return Err(NodeSecretsError::Version(version)),
                };
                let secrets = Self::read(&keys, opaque_key, *legacy, exchanges)?;
                (secrets, version != CURRENT_VERSION)
            }
            _ => return Err(WireError::Expected("an array of 2 elements, or of 5 or more").into()),
        };
        Ok(Decoded {
            secrets,
            outdated,
            trailing: reader.rest().len(),
        })
    }

    /// Encodes the secrets in the current format.
    #[must_use]
    pub fn encode(&self) -> SecretVec {
        let keys: Vec<_> = self
            .signing_keys
            .iter()
            .map(StoredKey::expose_bytes)
            .collect();
        let keys_len: usize = keys.iter().map(|key| key.expose().len() + 3).sum();
        // The capacity is sufficient from the start, because a buffer that grows leaves copies of secrets in memory.
        let room = 64 + keys_len + 9 * self.exchange_versions.len();
        let mut writer = Writer::append_to(Vec::with_capacity(room));
        writer.array(5).uint(2).array(keys.len());
        for key in &keys {
            writer.bytes(key.expose());
        }
        writer.bytes(self.opaque_key.expose());
        writer.bool(self.legacy_requests);
        writer.array(self.exchange_versions.len());
        for version in &self.exchange_versions {
            writer.int(*version);
        }
        writer.into_vec().into()
    }

    /// Generates a signing key of this type unless the node already has such a key. Returns whether a key was
    /// generated.
    pub fn ensure_key(&mut self, key_type: KeyType, rng: &mut dyn CryptoRng) -> bool {
        let missing = self
            .signing_keys()
            .all(|key| key.verifying_key().key_type() != key_type);
        if missing {
            self.add_key(SigningKey::generate(key_type, rng));
        }
        missing
    }

    /// Appends a signing key.
    pub fn add_key(&mut self, key: SigningKey) {
        self.signing_keys.push(StoredKey::Known(key));
    }

    /// Returns the signing keys of known types, in the order of the file.
    pub fn signing_keys(&self) -> impl Iterator<Item = &SigningKey> {
        self.signing_keys.iter().filter_map(|key| match key {
            StoredKey::Known(key) => Some(key),
            StoredKey::Unknown(_) => None,
        })
    }

    /// Returns the opaque key, which seals values in the configuration.
    #[must_use]
    pub fn opaque_key(&self) -> &Secret<32> {
        &self.opaque_key
    }

    /// Returns the known key exchanges, in order of preference.
    pub fn suites(&self) -> impl Iterator<Item = Suite> {
        let versions = self.exchange_versions.iter();
        versions.filter_map(|version| Suite::from_version((*version).into()))
    }

    /// Returns whether the node is set to send requests also in the legacy form, which old peers understand. The node does
    /// so only while X25519 is its only key exchange.
    #[must_use]
    pub fn legacy_requests(&self) -> bool {
        self.legacy_requests
    }

    /// Replaces the key exchanges that the node offers and accepts. `suites` are in order of preference;
    /// repetitions are removed.
    ///
    /// # Errors
    /// Returns [`NodeSecretsError::NoKnownSuite`] if `suites` is empty.
    pub fn set_suites(&mut self, suites: &[Suite]) -> Result<(), NodeSecretsError> {
        if suites.is_empty() {
            return Err(NodeSecretsError::NoKnownSuite);
        }
        let suites = Suite::each_once(suites).into_iter();
        self.exchange_versions = suites.map(|suite| suite.version().into()).collect();
        Ok(())
    }

    /// Sets whether the node also sends requests in the legacy form, which old peers understand. This has an effect only
    /// while X25519 is the node's only key exchange.
    pub fn set_legacy_requests(&mut self, legacy_requests: bool) {
        self.legacy_requests = legacy_requests;
    }

    fn read(
        keys: &[&Value<'_>],
        opaque_key: &Value<'_>,
        legacy_requests: bool,
        exchange_versions: Vec<i64>,
    ) -> Result<Self, NodeSecretsError> {
        let opaque_key = opaque_key.bytes()?;
        let secrets = Self {
            signing_keys: keys
                .iter()
                .map(|key| StoredKey::read(key))
                .collect::<Result<_, _>>()?,
            opaque_key: Secret::from_slice(opaque_key)
                .ok_or(NodeSecretsError::OpaqueKey(opaque_key.len()))?,
            legacy_requests,
            exchange_versions,
        };
        if !keys.is_empty() && secrets.signing_keys().next().is_none() {
            return Err(NodeSecretsError::NoKnownKey);
        }
        if secrets.suites().next().is_none() {
            return Err(NodeSecretsError::NoKnownSuite);
        }
        Ok(secrets)
    }
}

impl StoredKey {
    fn read(value: &Value<'_>) -> Result<Self, NodeSecretsError> {
        match SigningKey::from_value(value) {
            Ok(key) => Ok(Self::Known(key)),
            Err(KeyError::Version(_)) => Ok(Self::Unknown(value.bytes()?.to_vec().into())),
            Err(error) => Err(error.into()),
        }
    }

    fn expose_bytes(&self) -> SecretVec {
        match self {
            Self::Known(key) => key.expose_bytes(),
            Self::Unknown(bytes) => bytes.expose().to_vec().into(),
        }
    }
}

fn exchange_version(value: &Value<'_>) -> Result<i64, WireError> {
    let out_of_range = WireError::Expected("the number of a key exchange");
    i64::try_from(value.int()?).map_err(|_| out_of_range)
}
