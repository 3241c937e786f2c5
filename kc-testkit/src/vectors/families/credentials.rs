//! What a node proves who it is with, and whom it trusts.

use kc_core::chain::{ChainError, Identity, ToBeSigned, TrustStore, ValidIdentity};
use kc_core::kem::Suite;
use kc_core::keys::Signer;
use kc_core::own_chains::OwnChains;
use kc_core::store::NodeSecrets;
use kc_core::types::Timestamp;

use super::convert::identities;
use crate::vectors::{Draws, Fields, InputError};

pub(super) struct Credentials {
    pub(super) secrets: NodeSecrets,
    pub(super) identities: Vec<Identity>,
    pub(super) trust: TrustStore,
}

impl Credentials {
    pub(super) fn new(secrets: NodeSecrets, chains: &OwnChains, trust: TrustStore) -> Self {
        let keys = secrets.signing_keys().map(Signer::verifying_key);
        Self {
            identities: identities(keys, chains),
            secrets,
            trust,
        }
    }

    /// What it can sign with; the refusal is that of the first key's chain.
    pub(super) fn own(&self, now: Timestamp) -> Result<Vec<ValidIdentity>, ChainError> {
        let valid = |identity: &Identity| identity.validated(&self.trust, now);
        let (valid, refused): (Vec<_>, Vec<_>) =
            self.identities.iter().map(valid).partition(Result::is_ok);
        match refused.into_iter().find_map(Result::err) {
            Some(error) if valid.is_empty() => Err(error),
            _ => Ok(valid.into_iter().flatten().collect()),
        }
    }

    pub(super) fn sign(&self, draft: &ToBeSigned, draws: &mut Draws) -> Option<Vec<u8>> {
        let mut keys = self.secrets.signing_keys();
        let key = keys.find(|key| key.verifying_key() == draft.signer())?;
        draft.sign(key, draws).ok()
    }

    /// The key exchanges in use, in order of preference.
    pub(super) fn suites(&self) -> Vec<Suite> {
        self.secrets.suites().collect()
    }
}

/// What a file of secrets holds: `crypto_file`.
pub(super) fn secrets(fields: &Fields<'_>) -> Result<NodeSecrets, InputError> {
    let decoded = NodeSecrets::decode(&fields.bytes("crypto_file")?);
    let decoded = decoded.map_err(|error| fields.error("crypto_file", &error.to_string()))?;
    Ok(decoded.secrets)
}
