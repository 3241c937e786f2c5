mod state;
mod updates;

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, Handler, MessageResult, SyncContext};
use kc_core::chain::{
    ChainError, Demand, TrustEntry, TrustList, TrustStore, UnverifiedChain, ValidatedChain,
};
use kc_core::exchange::{Identity, ValidIdentity};
use kc_core::store::StoreError;

use self::state::State;
use crate::clock::Clock;
use crate::events::Events;
use crate::messages::{
    AskTrust, ManagementRecords, OwnGrant, OwnIdentities, TrustStatus, ValidateChain,
};

/// Where trust that changes is kept, between runs.
pub trait TrustArchive: Debug + Send {
    /// Stores an entry of a list durably before it returns.
    ///
    /// # Errors
    /// [`StoreError`]; the entry is in force all the same, until the node is closed.
    fn add_entry(&mut self, list: TrustList, entry: &TrustEntry) -> Result<(), StoreError>;

    /// Stores the chain of the node's signing key with this index, counted from 0, durably before it
    /// returns.
    ///
    /// # Errors
    /// [`StoreError`]; the chain is in use all the same, until the node is closed.
    fn replace_chain(&mut self, index: usize, chain: &[u8]) -> Result<(), StoreError>;
}

/// What chain validation is made of.
#[derive(Debug)]
pub struct ChainParts {
    /// Whom the node trusts.
    pub trust: TrustStore,
    /// Who it is itself: its signing keys in order, each with its chain.
    pub identities: Vec<Identity>,
    /// Where changes are kept.
    pub archive: Box<dyn TrustArchive>,
    /// What time it is.
    pub clock: Clock,
    /// Who is told what happens.
    pub events: Events,
}

/// Validates chains against the node's allowlist and denylist, and takes updates of both and of the node's
/// own chains. Runs on a thread of its own, because a hybrid signature takes milliseconds to verify.
///
/// Clones share the lists: if the thread dies, the next goes on with them.
#[derive(Clone, Debug)]
pub struct ChainActor {
    state: Arc<Mutex<State>>,
}

impl ChainActor {
    /// With whom the node trusts, and who it is itself.
    #[must_use]
    pub fn new(parts: ChainParts) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(parts))),
        }
    }

    fn with_state<T>(&self, use_state: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        use_state(&mut state)
    }
}

impl Actor for ChainActor {
    type Context = SyncContext<Self>;
}

impl Handler<ValidateChain> for ChainActor {
    type Result = Result<ValidatedChain, ChainError>;

    fn handle(&mut self, message: ValidateChain, _: &mut Self::Context) -> Self::Result {
        self.with_state(|state| {
            let demand = Demand::at(state.now())
                .topic(message.root.as_str())
                .usage(message.usage);
            UnverifiedChain::parse(&message.chain)?.validate(state.trust(), &demand)
        })
    }
}

impl Handler<OwnGrant> for ChainActor {
    type Result = Result<(), ChainError>;

    fn handle(&mut self, message: OwnGrant, _: &mut Self::Context) -> Self::Result {
        self.with_state(|state| state.grants(&message.root, &message.usages))
    }
}

impl Handler<OwnIdentities> for ChainActor {
    type Result = Result<Vec<ValidIdentity>, ChainError>;

    fn handle(&mut self, _: OwnIdentities, _: &mut Self::Context) -> Self::Result {
        self.with_state(|state| state.valid_identities())
    }
}

impl Handler<ManagementRecords> for ChainActor {
    type Result = ();

    fn handle(&mut self, message: ManagementRecords, _: &mut Self::Context) {
        self.with_state(|state| message.0.iter().for_each(|record| state.take(record)));
    }
}

impl Handler<AskTrust> for ChainActor {
    type Result = MessageResult<AskTrust>;

    fn handle(&mut self, _: AskTrust, _: &mut Self::Context) -> Self::Result {
        let status: TrustStatus = self.with_state(|state| state.status());
        MessageResult(status)
    }
}
