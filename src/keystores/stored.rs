use kc_core::kem::Suite;
use kc_core::keys::{Signer, VerifyingKey};
use kc_core::store::config::NodeConfig;
use kc_keystore_file::{NodeFiles, crypto_path, read_secrets};

use crate::open_error::OpenError;

/// What a node's files say of its keys. Nothing of it is secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredKeys {
    /// The public halves of the signing keys, of those that the node does not use, too, in the order of their chains.
    pub signing: Vec<VerifyingKey>,
    /// The key exchanges that the node offers and accepts, in order of preference.
    pub suites: Vec<Suite>,
    /// Whether requests go out in the bare form of old peers, too.
    pub legacy_requests: bool,
}

impl StoredKeys {
    /// Those of a node with these files. Needs neither lock nor PIN.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn of(config: &NodeConfig, files: &NodeFiles) -> Result<Self, OpenError> {
        #[cfg(feature = "hsm")]
        if super::on_token(config, "cryptokey")?.is_some() {
            return Ok(super::TokenKeys::of(config)?.into());
        }
        let secrets = read_secrets(&crypto_path(config, files)?)?;
        let keys = secrets.signing_keys().map(Signer::verifying_key);
        Ok(Self {
            signing: keys.cloned().collect(),
            suites: secrets.suites().collect(),
            legacy_requests: secrets.legacy_requests(),
        })
    }
}

#[cfg(feature = "hsm")]
impl From<super::TokenKeys> for StoredKeys {
    fn from(keys: super::TokenKeys) -> Self {
        Self {
            signing: keys.public,
            suites: keys.suites,
            legacy_requests: keys.legacy_requests,
        }
    }
}
