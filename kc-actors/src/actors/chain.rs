use std::sync::Arc;

use actix::{Actor, Handler, SyncContext};
use kc_core::chain::{ChainError, Demand, TrustStore, UnverifiedChain, ValidatedChain};
use kc_core::exchange::{Identity, ValidIdentity};

use crate::clock::Clock;
use crate::messages::{OwnGrant, OwnIdentities, ValidateChain};

/// Validates chains against the node's allowlist and denylist. Runs on a thread of its own, because a
/// hybrid signature takes milliseconds to verify.
#[derive(Clone, Debug)]
pub struct ChainActor {
    trust: Arc<TrustStore>,
    identities: Arc<Vec<Identity>>,
    clock: Clock,
}

impl ChainActor {
    /// With whom the node trusts, and who it is itself.
    #[must_use]
    pub fn new(trust: TrustStore, identities: Vec<Identity>, clock: Clock) -> Self {
        Self {
            trust: Arc::new(trust),
            identities: Arc::new(identities),
            clock,
        }
    }
}

impl Actor for ChainActor {
    type Context = SyncContext<Self>;
}

impl Handler<ValidateChain> for ChainActor {
    type Result = Result<ValidatedChain, ChainError>;

    fn handle(&mut self, message: ValidateChain, _: &mut Self::Context) -> Self::Result {
        let demand = Demand::at(self.clock.now())
            .topic(message.root.as_str())
            .usage(message.usage);
        UnverifiedChain::parse(&message.chain)?.validate(&self.trust, &demand)
    }
}

impl Handler<OwnGrant> for ChainActor {
    type Result = Result<(), ChainError>;

    fn handle(&mut self, message: OwnGrant, _: &mut Self::Context) -> Self::Result {
        let now = self.clock.now();
        let mut refusal = ChainError::Length(0);
        for identity in self.identities.iter() {
            for usage in &message.usages {
                let demand = Demand::at(now).topic(message.root.as_str()).usage(*usage);
                match identity.validate(&self.trust, &demand) {
                    Ok(()) => return Ok(()),
                    Err(error) => refusal = error,
                }
            }
        }
        Err(refusal)
    }
}

impl Handler<OwnIdentities> for ChainActor {
    type Result = Result<Vec<ValidIdentity>, ChainError>;

    fn handle(&mut self, _: OwnIdentities, _: &mut Self::Context) -> Self::Result {
        let now = self.clock.now();
        let mut refusal = ChainError::Length(0);
        let mut valid = Vec::new();
        for identity in self.identities.iter() {
            match identity.validated(&self.trust, now) {
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
}
