//! Keys on a PKCS#11 token, and their description in the configuration.

use kc_core::kem::Suite;
use kc_core::keys::{KeyType, VerifyingKey};
use kc_core::secret::SecretText;
use kc_core::store::config::{ConfigError, NodeConfig, Section, Value};
use kc_core::store::{KeyStore, RatchetStore};
use kc_keystore_file::NodeFiles;
use kc_keystore_hsm::{
    HsmKeyStore, HsmRatchetStore, KeyStoreSettings, NewIdentity, NodeLabels, PinSource, Pkcs11Uri,
    Token,
};

use super::{Keystores, NodePin};
use crate::error::Error;
use crate::token_error::TokenError;

pub(super) const SECTION: Section<'static> = super::TOKEN_SECTION;
pub(super) const SEALED: &str = "sealed_slh_dsa";
const KEY: &str = "key";
const EXCHANGES: &str = "exchanges";
const LEGACY: &str = "legacy_requests";

/// The description of keys on a token in the section `<node>-hsm` of a node's configuration. It contains no plaintext
/// secret. `key0`, `key1`, ... are the public keys in the order of their chains. `sealed_slh_dsa` is the part of a
/// key that the token cannot hold, sealed by the token. `exchanges` and `legacy_requests` are the settings of the key
/// exchange.
#[derive(Clone, Debug)]
pub struct TokenKeys {
    /// The public keys, in the order of their chains.
    pub public: Vec<VerifyingKey>,
    /// The SLH-DSA half of a version-4 key, sealed by the token, if the token cannot hold it.
    pub sealed_slh_dsa: Option<Vec<u8>>,
    /// The key exchange suites that the node offers and accepts, in order of preference.
    pub suites: Vec<Suite>,
    /// Set if the node also sends its requests for data keys in the legacy form
    /// ([`RequestForm::Legacy`](kc_core::exchange::RequestForm::Legacy)), which old peers need.
    pub legacy_requests: bool,
}

/// A description without keys, with all key exchange suites.
impl Default for TokenKeys {
    fn default() -> Self {
        Self {
            public: Vec::new(),
            sealed_slh_dsa: None,
            suites: Suite::ALL.to_vec(),
            legacy_requests: false,
        }
    }
}

impl TokenKeys {
    /// Reads the description from a configuration.
    ///
    /// # Errors
    /// Returns [`TokenError::TokenKeys`] if an entry is invalid, and [`TokenError::TokenKeyMissing`] if a public key is
    /// missing.
    pub fn of(config: &NodeConfig) -> Result<Self, Error> {
        let mut public = Vec::new();
        while let Some(value) = config.load_value(SECTION, key_name(public.len()).as_str())? {
            let key = match &value {
                Value::Bytes(bytes) => VerifyingKey::from_bytes(bytes).ok(),
                _ => None,
            };
            public.push(key.ok_or_else(|| unusable(key_name(public.len())))?);
        }
        require_all(config, public.len())?;
        let sealed_slh_dsa = match config.load_value(SECTION, SEALED)? {
            Some(Value::Bytes(sealed)) => Some(sealed),
            Some(_) => return Err(unusable(SEALED.to_owned())),
            None => None,
        };
        let suites = match config.load_text(SECTION, EXCHANGES)? {
            Some(text) => exchanges(&text).ok_or_else(|| unusable(EXCHANGES.to_owned()))?,
            None => Suite::ALL.to_vec(),
        };
        let legacy_requests = match config.load_value(SECTION, LEGACY)? {
            Some(Value::Bool(legacy)) => legacy,
            Some(_) => return Err(unusable(LEGACY.to_owned())),
            None => false,
        };
        Ok(Self {
            public,
            sealed_slh_dsa,
            suites,
            legacy_requests,
        })
    }

    /// Adds a signing key after the existing ones.
    pub fn add(&mut self, key: NewIdentity) {
        self.public.push(key.verifying_key);
        if let Some(sealed) = key.sealed_slh_dsa {
            self.sealed_slh_dsa = Some(sealed);
        }
    }

    /// Writes the description to a configuration.
    ///
    /// # Errors
    /// Returns [`ConfigError`] if an entry cannot be written.
    pub fn write(&self, config: &mut NodeConfig) -> Result<(), ConfigError> {
        for (index, key) in self.public.iter().enumerate() {
            let value = Value::Bytes(key.to_bytes());
            config.set(SECTION, key_name(index).as_str(), &value)?;
        }
        if let Some(sealed) = &self.sealed_slh_dsa {
            config.set(SECTION, SEALED, &Value::from(sealed.as_slice()))?;
        }
        let versions: Vec<_> = self
            .suites
            .iter()
            .map(|suite| suite.version().to_string())
            .collect();
        config.set(
            SECTION,
            EXCHANGES,
            &Value::from(versions.join(",").as_str()),
        )?;
        config.set(SECTION, LEGACY, &Value::Bool(self.legacy_requests))?;
        Ok(())
    }

    /// Returns the settings to open the keystore. `types` selects the types of signing keys to use; `None` selects all
    /// types.
    #[must_use]
    pub fn settings(self, types: Option<Vec<KeyType>>) -> KeyStoreSettings {
        let mut settings = KeyStoreSettings::default();
        settings.key_types = types;
        settings.pinned = self.public;
        settings.sealed_slh_dsa = self.sealed_slh_dsa;
        settings.suites = self.suites;
        settings.legacy_requests = self.legacy_requests;
        settings
    }
}

impl Keystores<'_> {
    pub(super) fn token_keys(
        &self,
        uri: &str,
        types: Option<Vec<KeyType>>,
    ) -> Result<Box<dyn KeyStore>, Error> {
        let settings = TokenKeys::of(self.config)?.settings(types);
        let (token, labels) = open_token(uri, self.pin, self.lock.files())?;
        Ok(Box::new(HsmKeyStore::open(token, labels, settings)?))
    }

    pub(super) fn token_ratchet(&self, uri: &str) -> Result<Box<dyn RatchetStore>, Error> {
        let (token, labels) = open_token(uri, self.pin, self.lock.files())?;
        let file = self.lock.files().sealed_ratchet();
        Ok(Box::new(HsmRatchetStore::open(token, &labels, &file)?))
    }
}

/// Makes a node's configuration name the token as the place of the keys, and also as the place of the ratchet if the
/// node has one.
pub(super) fn place_on_token(
    config: &mut NodeConfig,
    uri: &Pkcs11Uri,
    labels: &NodeLabels,
    has_ratchet: bool,
) -> Result<(), ConfigError> {
    place(config, "cryptokey", &uri.with_object(labels.identity()))?;
    if has_ratchet {
        place_ratchet(config, uri, labels)?;
    }
    Ok(())
}

/// Makes a node's configuration name the token as the place of the ratchet.
pub(super) fn place_ratchet(
    config: &mut NodeConfig,
    uri: &Pkcs11Uri,
    labels: &NodeLabels,
) -> Result<(), ConfigError> {
    place(config, "ratchet", &uri.with_object(labels.ratchet()))
}

fn place(config: &mut NodeConfig, entry: &str, object: &Pkcs11Uri) -> Result<(), ConfigError> {
    let value = Value::from(object.to_string().as_str());
    config.set(Section::NODE, entry, &value).map(drop)
}

/// Opens the token that a URI names. Returns the token, and the labels of the node's objects on it.
pub(super) fn open_token(
    uri: &str,
    pin: Option<&NodePin>,
    files: &NodeFiles,
) -> Result<(Token, NodeLabels), Error> {
    let uri: Pkcs11Uri = uri.parse().map_err(kc_keystore_hsm::HsmError::from)?;
    let labels = NodeLabels::of_uri(&uri)?;
    let given = pin.map(|pin| match pin {
        NodePin::Asked(pin) => PinSource::Text(SecretText::from(pin.expose().to_owned())),
        NodePin::File(path) => PinSource::File(path.clone()),
    });
    let Some(source) = given.or_else(|| PinSource::of(&uri)) else {
        return Err(TokenError::PinNeeded {
            token: uri.token.unwrap_or_default(),
        }
        .into());
    };
    let token = Token::open_remembering(&uri, source, files.refused_pins())?;
    Ok((token, labels))
}

fn exchanges(text: &str) -> Option<Vec<Suite>> {
    let versions = text.split(',').map(|version| {
        let version: i128 = version.trim().parse().ok()?;
        Suite::from_version(version)
    });
    versions.collect()
}

/// Checks that all public keys of the section were read. `read` is the number of keys that were read, because reading
/// stopped at the first entry without a value. Returns an error if `read` is 0, or if the section has entries of
/// further keys.
fn require_all(config: &NodeConfig, read: usize) -> Result<(), Error> {
    let next = key_name(read);
    let entries = config.own_settings(SECTION)?;
    let unread = entries.iter().map(|entry| entry.name.to_string());
    let unread = unread.filter(|name| key_index(name).is_some_and(|index| index >= read));
    let unread: Vec<_> = unread.collect();
    if unread.contains(&next) {
        Err(unusable(next))
    } else if read == 0 || !unread.is_empty() {
        Err(TokenError::TokenKeyMissing { name: next }.into())
    } else {
        Ok(())
    }
}

fn key_name(index: usize) -> String {
    format!("{KEY}{index}")
}

fn key_index(name: &str) -> Option<usize> {
    name.strip_prefix(KEY)?.parse().ok()
}

pub(super) fn unusable(name: String) -> Error {
    TokenError::TokenKeys { name }.into()
}
