use std::collections::BTreeMap;

use kc_core::chain::{ChainError, Demand, TrustStore, Usage};
use kc_core::exchange::{RefusalId, ValidIdentity};
use kc_core::types::{RootTopic, Timestamp};

use super::ChainParts;
use crate::messages::{IdentityStatus, TrustStatus};

/// What chain validation goes by.
#[derive(Debug)]
pub(super) struct State {
    pub(super) parts: ChainParts,
    /// How many updates were refused, by check.
    pub(super) refused: BTreeMap<RefusalId, u64>,
}

impl State {
    pub(super) fn new(parts: ChainParts) -> Self {
        Self {
            parts,
            refused: BTreeMap::new(),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    pub(super) fn trust(&self) -> &TrustStore {
        &self.parts.trust
    }

    /// Whether one of the node's chains grants one of these usages for a root topic.
    pub(super) fn grants(&self, root: &RootTopic, usages: &[Usage]) -> Result<(), ChainError> {
        let now = self.now();
        let mut refusal = ChainError::Length(0);
        for identity in &self.parts.identities {
            for usage in usages {
                let demand = Demand::at(now).topic(root.as_str()).usage(*usage);
                match identity.validate(self.trust(), &demand) {
                    Ok(()) => return Ok(()),
                    Err(error) => refusal = error,
                }
            }
        }
        Err(refusal)
    }

    pub(super) fn valid_identities(&self) -> Result<Vec<ValidIdentity>, ChainError> {
        let now = self.now();
        let mut refusal = ChainError::Length(0);
        let mut valid = Vec::new();
        for identity in &self.parts.identities {
            match identity.validated(self.trust(), now) {
                Ok(identity) => valid.push(identity),
                Err(error) => refusal = error,
            }
        }
        if valid.is_empty() {
            Err(refusal)
        } else {
            Ok(valid)
        }
    }

    pub(super) fn status(&self) -> TrustStatus {
        let now = self.now();
        let identities = self.parts.identities.iter();
        TrustStatus {
            roots: self.trust().roots().map(|(root, _)| root.clone()).collect(),
            denied: self.trust().denylist().len(),
            identities: identities
                .map(|identity| IdentityStatus {
                    key: identity.key().clone(),
                    chain: identity
                        .validated(self.trust(), now)
                        .map(|valid| valid.max_age().timestamp()),
                })
                .collect(),
            refused: self.refused.clone(),
        }
    }
}
