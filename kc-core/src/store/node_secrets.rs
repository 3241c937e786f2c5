use rand_core::CryptoRng;
use thiserror::Error;

use crate::kem::Suite;
use crate::keys::{KeyError, KeyType, Signer, SigningKey};
use crate::secret::{Secret, SecretVec};
use crate::wire::{Reader, Value, WireError, Writer};

/// The version of the form that is written.
const CURRENT_VERSION: i128 = 2;

/// Why a `.crypto` file cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NodeSecretsError {
    /// Truncated, altered, or another kind of file.
    #[error("malformed key file: {0}")]
    Encoding(#[from] WireError),
    /// A signing key is malformed.
    #[error("key file with a bad signing key: {0}")]
    Key(#[from] KeyError),
    /// Written by a later version.
    #[error("key file of version {0}, which is not known")]
    Version(i128),
    /// None of the signing keys is of a known type.
    #[error("no signing key of a known type")]
    NoKnownKey,
    /// The opaque key has the wrong length.
    #[error("opaque key of {0} bytes instead of 32")]
    OpaqueKey(usize),
    /// None of the key exchanges is known.
    #[error("no key exchange of a known version")]
    NoKnownSuite,
}

/// The content of a node's `.crypto` file: its signing keys, its opaque key, and how it exchanges keys.
#[derive(Debug)]
pub struct NodeSecrets {
    signing_keys: Vec<StoredKey>,
    opaque_key: Secret<32>,
    legacy_requests: bool,
    exchange_versions: Vec<i64>,
}

/// What a `.crypto` file held.
#[derive(Debug)]
pub struct Decoded {
    /// The secrets.
    pub secrets: NodeSecrets,
    /// Whether the file is of an older generation and should be written anew.
    pub outdated: bool,
    /// How many bytes follow the content; they mean nothing.
    pub trailing: usize,
}

#[derive(Debug)]
enum StoredKey {
    Known(SigningKey),
    /// Of a type from the future; kept when the file is written anew.
    Unknown(SecretVec),
}

impl NodeSecrets {
    /// A fresh node: no signing key yet, a random opaque key, all key exchanges.
    #[must_use]
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        Self {
            signing_keys: Vec::new(),
            opaque_key: Secret::random(rng),
            legacy_requests: false,
            exchange_versions: Suite::ALL.map(|suite| suite.version().into()).to_vec(),
        }
    }

    /// Reads any generation: `[2, [keys], opaque key, legacy requests, [exchange versions]]`; version 1
    /// with a single key; and the oldest, `[key, opaque key]`.
    ///
    /// # Errors
    /// Any [`NodeSecretsError`].
    pub fn decode(bytes: &[u8]) -> Result<Decoded, NodeSecretsError> {
        let mut reader = Reader::new(bytes);
        let value = reader.value()?;
        let (secrets, outdated) = match value.array()? {
            [key, opaque_key] => (Self::read(&[key], opaque_key, true, vec![1])?, true),
            [version, keys, opaque_key, legacy, exchanges, ..] => {
                let Value::Bool(legacy) = legacy else {
                    return Err(WireError::Expected("a truth value").into());
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
            _ => return Err(WireError::Expected("a key file").into()),
        };
        Ok(Decoded {
            secrets,
            outdated,
            trailing: reader.rest().len(),
        })
    }

    /// The current generation.
    #[must_use]
    pub fn encode(&self) -> SecretVec {
        let keys: Vec<_> = self
            .signing_keys
            .iter()
            .map(StoredKey::expose_bytes)
            .collect();
        let keys_len: usize = keys.iter().map(|key| key.expose().len() + 3).sum();
        // One allocation, so that growing leaves no copies behind.
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

    /// Draws a signing key of this type unless there is one; says whether it did.
    pub fn ensure_key(&mut self, key_type: KeyType, rng: &mut dyn CryptoRng) -> bool {
        let missing = self
            .signing_keys()
            .all(|key| key.verifying_key().key_type() != key_type);
        if missing {
            self.add_key(SigningKey::generate(key_type, rng));
        }
        missing
    }

    /// Adds a signing key behind the others.
    pub fn add_key(&mut self, key: SigningKey) {
        self.signing_keys.push(StoredKey::Known(key));
    }

    /// The signing keys of known types, in order.
    pub fn signing_keys(&self) -> impl Iterator<Item = &SigningKey> {
        self.signing_keys.iter().filter_map(|key| match key {
            StoredKey::Known(key) => Some(key),
            StoredKey::Unknown(_) => None,
        })
    }

    /// The key that seals values in the configuration.
    #[must_use]
    pub fn opaque_key(&self) -> &Secret<32> {
        &self.opaque_key
    }

    /// The known key exchanges, in order of preference.
    pub fn suites(&self) -> impl Iterator<Item = Suite> {
        let versions = self.exchange_versions.iter();
        versions.filter_map(|version| Suite::from_version((*version).into()))
    }

    /// Whether requests go out in the bare form of old peers, too.
    #[must_use]
    pub fn legacy_requests(&self) -> bool {
        self.legacy_requests
    }

    /// Changes the key exchanges that are offered and accepted, in order of preference; each once.
    ///
    /// # Errors
    /// [`NodeSecretsError::NoKnownSuite`] if there are none.
    pub fn set_suites(&mut self, suites: &[Suite]) -> Result<(), NodeSecretsError> {
        if suites.is_empty() {
            return Err(NodeSecretsError::NoKnownSuite);
        }
        let suites = Suite::each_once(suites).into_iter();
        self.exchange_versions = suites.map(|suite| suite.version().into()).collect();
        Ok(())
    }

    /// Says whether requests go out in the bare form of old peers, too.
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
    let out_of_range = WireError::Expected("an exchange version");
    i64::try_from(value.int()?).map_err(|_| out_of_range)
}
