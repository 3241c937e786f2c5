use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, Handler, MessageResult, SyncContext};
use kc_core::chain::{
    ChainError, Demand, Identity, Trust, TrustEffect, TrustEntry, TrustEvent, TrustInput,
    TrustList, TrustStore, ValidIdentity, ValidatedChain,
};
use kc_core::exchange::RefusalId;
use kc_core::store::StoreError;

use crate::clock::Clock;
use crate::events::{Events, NodeEvent};
use crate::messages::{
    AskTrust, IdentityStatus, JudgeGivers, ManagementRecords, OwnGrant, OwnIdentities, TendTrust,
    TrustStatus, ValidateChain,
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

/// The parts of a chain validation.
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
    /// Where to tell what happens.
    pub events: Events,
}

/// Validates chains against the node's allowlist and denylist, and takes updates of both and of the node's
/// own chains: executes what a [`Trust`] decides. Runs on a thread of its own, because a hybrid signature takes
/// milliseconds to verify.
///
/// Clones share the lists: if the thread dies, the next goes on with them.
#[derive(Clone, Debug)]
pub struct ChainActor {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    trust: Trust,
    archive: Box<dyn TrustArchive>,
    clock: Clock,
    events: Events,
    /// How many updates were refused, by check.
    refused: BTreeMap<RefusalId, u64>,
}

impl ChainActor {
    /// Validates with these lists, and as this node.
    #[must_use]
    pub fn new(parts: ChainParts) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                trust: Trust::new(parts.trust, parts.identities),
                archive: parts.archive,
                clock: parts.clock,
                events: parts.events,
                refused: BTreeMap::new(),
            })),
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
            let demand = Demand::at(state.clock.now())
                .topic(message.root_topic.as_str())
                .usage(message.usage);
            let validated = state.trust.validate(&message.chain, &demand);
            state.execute();
            validated
        })
    }
}

impl Handler<OwnGrant> for ChainActor {
    type Result = Result<(), ChainError>;

    fn handle(&mut self, message: OwnGrant, _: &mut Self::Context) -> Self::Result {
        self.with_state(|state| {
            let now = state.clock.now();
            state
                .trust
                .grants(&message.root_topic, &message.usages, now)
        })
    }
}

impl Handler<JudgeGivers> for ChainActor {
    type Result = MessageResult<JudgeGivers>;

    fn handle(&mut self, JudgeGivers(givers): JudgeGivers, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.with_state(|state| {
            let givers = givers.iter();
            givers.map(|giver| state.trust.denies(giver)).collect()
        }))
    }
}

impl Handler<OwnIdentities> for ChainActor {
    type Result = Result<Vec<ValidIdentity>, ChainError>;

    fn handle(&mut self, _: OwnIdentities, _: &mut Self::Context) -> Self::Result {
        self.with_state(|state| state.trust.valid_identities(state.clock.now()))
    }
}

impl Handler<ManagementRecords> for ChainActor {
    type Result = ();

    fn handle(&mut self, message: ManagementRecords, _: &mut Self::Context) {
        self.with_state(|state| {
            for record in &message.0 {
                let input = TrustInput::Record {
                    topic: record.topic,
                    kafka_key: &record.kafka_key,
                    value: &record.value,
                };
                state.trust.handle(input, state.clock.both());
                state.execute();
            }
        });
    }
}

impl Handler<TendTrust> for ChainActor {
    type Result = MessageResult<TendTrust>;

    fn handle(&mut self, _: TendTrust, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.with_state(|state| {
            state.execute();
            state.trust.next_timeout()
        }))
    }
}

impl Handler<AskTrust> for ChainActor {
    type Result = MessageResult<AskTrust>;

    fn handle(&mut self, _: AskTrust, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.with_state(|state| state.status()))
    }
}

impl State {
    /// Does what the machine asks for.
    fn execute(&mut self) {
        while let Some(effect) = self.trust.poll_effect(self.clock.both()) {
            match effect {
                TrustEffect::StoreEntry(list, entry) => {
                    report_unless_stored(self.archive.add_entry(list, &entry));
                }
                TrustEffect::StoreChain(index, chain) => {
                    report_unless_stored(self.archive.replace_chain(index, &chain));
                }
                TrustEffect::Verify(message) => {
                    let verified = self.trust.verify(&message);
                    let input = TrustInput::Verified(&verified);
                    self.trust.handle(input, self.clock.both());
                }
                TrustEffect::Report(event) => self.report(event),
                _ => {}
            }
        }
    }

    fn report(&mut self, event: TrustEvent) {
        let event = match event {
            TrustEvent::Listed { list, key, in_use } => {
                let fingerprint = key.fingerprint();
                tracing::info!(target: "kc::chain", list = list.name(), key = fingerprint, "key listed");
                NodeEvent::Listed { list, key, in_use }
            }
            TrustEvent::ChainAdopted { key, expires } => {
                tracing::info!(target: "kc::chain", key = key.fingerprint(), ?expires, "new chain in use");
                NodeEvent::ChainAdopted { key, expires }
            }
            TrustEvent::Denied { key, others_left } => {
                let fingerprint = key.fingerprint();
                tracing::error!(target: "kc::chain", key = fingerprint, "this node is on the denylist");
                NodeEvent::Denied { key, others_left }
            }
            TrustEvent::ChainExpires { key, expires } => {
                let fingerprint = key.fingerprint();
                tracing::warn!(target: "kc::chain", key = fingerprint, ?expires, "chain of this node expires soon");
                NodeEvent::ChainExpires { key, expires }
            }
            TrustEvent::Refused {
                topic,
                claimed,
                error,
                report,
            } => {
                let check = RefusalId::from(&error);
                *self.refused.entry(check).or_default() += 1;
                let Some(times) = report else {
                    return;
                };
                let claimed = claimed.map(|key| key.fingerprint());
                tracing::warn!(target: "kc::chain", ?topic, %check, claimed, times, %error, "update refused");
                NodeEvent::UpdateRefused {
                    topic,
                    claimed,
                    check,
                    reason: error.to_string(),
                    times,
                }
            }
            _ => return,
        };
        self.events.tell(event);
    }

    fn status(&mut self) -> TrustStatus {
        let now = self.clock.now();
        let keys = self.trust.identities().iter();
        let keys: Vec<_> = keys.map(|identity| identity.key().clone()).collect();
        let identity = |(index, key)| IdentityStatus {
            key,
            chain: self
                .trust
                .identity(index, now)
                .map(|valid| valid.max_age().timestamp()),
        };
        let identities = keys.into_iter().enumerate().map(identity).collect();
        let lists = self.trust.lists();
        TrustStatus {
            roots: lists.roots().map(|(root, _)| root.clone()).collect(),
            denied: lists.denylist().len(),
            self_denied: lists.self_denied(),
            dropped_revocations: self.trust.dropped_revocations(),
            identities,
            refused: self.refused.clone(),
        }
    }
}

fn report_unless_stored(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::error!(target: "kc::chain", %error, "in force until the node is closed, and not stored");
    }
}
