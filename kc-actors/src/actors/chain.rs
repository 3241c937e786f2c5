//! The role of chain validation. Its actor alone decides which chains are valid, and keeps the identities of the node:
//! its signing keys, each with its chain.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Actor, Handler, Message, MessageResult, SyncContext};
use kc_core::chain::{
    ChainError, Demand, Identity, Trust, TrustEffect, TrustEvent, TrustInput, TrustStore, Usage,
    ValidIdentity, ValidatedChain,
};
use kc_core::exchange::RefusalId;
use kc_core::keys::VerifyingKey;
use kc_core::ratchet::Giver;
use kc_core::store::{StoreError, TrustArchive};
use kc_core::text::with_sources;
use kc_core::types::{ManagementTopic, RootTopic, Timestamp};

use tokio::sync::Notify;

use crate::clock::Clock;
use crate::events::{Events, NodeEvent};
use crate::role::role;

role! {
    /// The messages that the actor for chain validation answers: one [`Slot`](crate::Slot) for each.
    ///
    /// The answers must agree: if [`validate`](Self::validate) refuses a chain because one of its keys is on the
    /// denylist, then [`judge`](Self::judge) reports the node with that chain as denied. Each change of trust is
    /// reported as [`NodeEvent::Listed`] or [`NodeEvent::ChainAdopted`]; the exchange and the key table rely on these
    /// events.
    pub struct ChainRole {
        /// Validates a chain that was received.
        validate: ValidateChain,
        /// Returns the identities of this node that are valid now.
        identities: OwnIdentities,
        /// Checks that one of the node's own chains grants a usage for a root topic.
        grants: OwnGrant,
        /// Returns whether nodes that have sent data keys are denied.
        judge: JudgeGivers,
        /// Processes the records of the management topics.
        records: ManagementRecords,
        /// Runs the tasks of chain validation that are due.
        tend: TendTrust,
        /// Returns the state of trust and of the node's identities.
        status: AskTrust,
    }
}

/// Validates a chain that was received. Succeeds only if the chain is valid now and grants a usage for a root topic.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<ValidatedChain, ChainError>")]
pub struct ValidateChain {
    /// The bytes of the chain.
    pub chain: Vec<u8>,
    /// The root topic for which the chain must grant the usage.
    pub root_topic: RootTopic,
    /// The usage that the chain must grant.
    pub usage: Usage,
}

/// Returns the identities of this node whose chains are valid now. If there are none, returns the reason why the last
/// chain is not valid.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Vec<ValidIdentity>, ChainError>")]
pub struct OwnIdentities;

/// Checks that one of the node's own chains now grants a usage for a root topic.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), ChainError>")]
pub struct OwnGrant {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The usages. One of the node's chains must grant at least one of them.
    pub usages: Vec<Usage>,
}

/// Checks nodes that have sent data keys. Returns for each node, in the same order, whether the allowlist and the
/// denylist now deny that node.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<bool>")]
pub struct JudgeGivers(pub Vec<Giver>);

/// Processes the records of one poll of the management topics. The actor answers when the accepted updates are in force
/// and stored. If an update cannot be stored, it is in force nevertheless, and the failure is logged. A self-revocation
/// may come into force after the answer, because it may have to wait for its verification ([`TendTrust`]). The gateway
/// polls again only after the answer.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ManagementRecords(pub Vec<ManagementRecord>);

/// A record of a management topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagementRecord {
    /// The topic.
    pub topic: ManagementTopic,
    /// The Kafka key; empty if the record has no key.
    pub kafka_key: Vec<u8>,
    /// The Kafka value.
    pub value: Vec<u8>,
}

/// Runs the tasks that are due: verifies waiting self-revocations, and reports the chains of this node that expire
/// soon. Returns the time to wait before the next call.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Duration")]
pub struct TendTrust;

/// Returns the roots of trust, the lists and the identities of the node.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "TrustStatus")]
pub struct AskTrust;

/// The roots of trust, the lists and the identities of a node.
#[derive(Clone, Debug, Default, PartialEq, actix::MessageResponse)]
pub struct TrustStatus {
    /// The roots of trust that are in force.
    pub roots: Vec<VerifyingKey>,
    /// The number of entries of the denylist.
    pub denied: usize,
    /// The number of keys that revoked themselves before this node saw them in use. A key that this node saw in use
    /// afterwards is counted in `denied`, too.
    pub self_denied: usize,
    /// The number of self-revocations that were dropped without verification, because too many others were waiting or
    /// because the message was too long.
    pub dropped_revocations: u64,
    /// The signing keys of the node.
    pub identities: Vec<IdentityStatus>,
    /// The number of refused updates, by the check that failed.
    pub refused: BTreeMap<RefusalId, u64>,
}

/// A signing key of a node, and the state of its chain.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityStatus {
    /// The public key.
    pub key: VerifyingKey,
    /// The end of the validity of a valid chain (`None` if the validity has no end), or the reason why the chain is not
    /// valid.
    pub chain: Result<Option<Timestamp>, ChainError>,
}

/// The parts of a chain validation actor.
#[derive(Debug)]
pub struct ChainParts {
    /// The allowlist and the denylist.
    pub trust: TrustStore,
    /// The signing keys of the node, each with its chain. The archive names a key by its index in this list.
    pub identities: Vec<Identity>,
    /// The archive that stores changes.
    pub archive: Box<dyn TrustArchive>,
    /// The clock.
    pub clock: Clock,
    /// The destination of events about changes of trust, refused updates and chains that expire soon.
    pub events: Events,
}

/// The default actor for chain validation. It executes the decisions of a [`Trust`] machine. It runs on a thread of its
/// own, because the verification of a hybrid signature takes milliseconds.
///
/// Clones share the lists and the chains, so that a restarted actor continues with the same state.
#[derive(Clone, Debug)]
pub struct ChainActor {
    state: Arc<Mutex<State>>,
    /// Notified when records may have changed the time of the next task.
    updated: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    trust: Trust,
    archive: Box<dyn TrustArchive>,
    clock: Clock,
    events: Events,
    /// The number of refused updates, by the check that failed.
    refused: BTreeMap<RefusalId, u64>,
}

impl ChainActor {
    /// Returns an actor with these lists and identities.
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
            updated: Arc::default(),
        }
    }

    /// Waits until records may have changed the time of the next task.
    pub(crate) async fn updated(&self) {
        self.updated.notified().await;
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
        self.updated.notify_one();
    }
}

impl Handler<TendTrust> for ChainActor {
    type Result = MessageResult<TendTrust>;

    fn handle(&mut self, _: TendTrust, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.with_state(|state| {
            state.execute();
            state.trust.next_timeout(state.clock.both())
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
    /// Executes the effects that are due.
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
                tracing::info!(target: "kc::chain", list = list.name(), key = fingerprint, "key added to a list");
                NodeEvent::Listed { list, key, in_use }
            }
            TrustEvent::ChainAdopted { key, expires } => {
                tracing::info!(target: "kc::chain", key = key.fingerprint(), ?expires, "new chain in use");
                NodeEvent::ChainAdopted { key, expires }
            }
            TrustEvent::Denied { key, others_left } => {
                let fingerprint = key.fingerprint();
                tracing::error!(
                    target: "kc::chain", key = fingerprint,
                    "a key of this node's chain was denied: other nodes refuse the chain from now on"
                );
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
                tracing::warn!(target: "kc::chain", ?topic, %check, claimed, times, error = %with_sources(&error), "update refused");
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
        tracing::error!(target: "kc::chain", error = %with_sources(&error), "change of trust not stored: it stays in force until the node closes");
    }
}
