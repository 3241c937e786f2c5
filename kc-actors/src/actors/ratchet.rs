//! The role of the ratchet: alone makes the keys that the node seals with, and keeps them for late consumers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Actor, Handler, Message, MessageResult, SyncContext};
use kc_core::ratchet::{
    MAX_RETAINED_KEYS, Ratchet, RatchetConfig, RatchetEffect, RatchetInput, RetainedKey,
    RetainedKeys, SealingKey, Step, TopicSecret,
};
use kc_core::store::{RatchetStore, RetainedKeysArchive, StoreError};
use kc_core::types::{KeyId, RootTopic};
use thiserror::Error;

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::role::role;

role! {
    /// The slots of the ratchet.
    ///
    /// A key that is given out is stored for late consumers, and the step that follows it, too.
    pub struct RatchetRole {
        /// Returns the key that seals for a root topic.
        sealing_key: SealingKeyFor,
        /// Turns the ratchet.
        turn: TurnRatchet,
        /// Returns retained keys.
        retained: RetainedKeysFor,
        /// Lists the root topics of the retained keys.
        retained_roots: RetainedRoots,
    }
}

/// Returns the key that seals for a root topic. It is stored for late consumers by then.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Arc<SealingKey>, RatchetError>")]
pub struct SealingKeyFor {
    /// The root topic.
    pub root_topic: RootTopic,
}

/// Turns the ratchet if there is a reason to.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Turned")]
pub struct TurnRatchet(pub TurnReason);

/// Why a ratchet may have to turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnReason {
    /// It may be time.
    Due,
    /// The application asks for it.
    Requested,
    /// A key came onto the denylist.
    Denied {
        /// Whether this node has seen the key in use.
        in_use: bool,
    },
}

/// How turning a ratchet ended.
#[derive(Debug, actix::MessageResponse)]
pub struct Turned {
    /// The new keys of all root topics in use, stored for late consumers; empty if the ratchet did not turn.
    pub keys: Result<Vec<(RootTopic, Arc<SealingKey>)>, RatchetError>,
    /// The time after which to ask whether it is due.
    pub next: Duration,
}

/// Returns those of these keys of a root topic that are retained here.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<(KeyId, TopicSecret)>")]
pub struct RetainedKeysFor {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The keys.
    pub ids: Vec<KeyId>,
}

/// Returns the root topic of each retained key: a root topic as often as it has keys.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<RootTopic>")]
pub struct RetainedRoots;

/// Why the ratchet gives no key.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RatchetError {
    /// The node has no ratchet: it was not opened as a producer.
    #[error("this node has no ratchet")]
    NoRatchet,
    /// The ratchet could not be turned; nothing was used.
    #[error("the ratchet cannot be turned")]
    Ratchet(#[source] Arc<StoreError>),
    /// The key could not be stored for late consumers, so it is not used.
    #[error("the key cannot be stored for late consumers")]
    Archive(#[source] Arc<StoreError>),
    /// The node seals for as many root topics as it can keep keys of.
    #[error("the node seals for {MAX_RETAINED_KEYS} root topics already")]
    TooManyRoots,
}

/// The parts of a ratchet actor.
#[derive(Debug)]
pub struct RatchetParts {
    /// The ratchet; `None` on a node that only consumes.
    pub store: Option<Box<dyn RatchetStore>>,
    /// Keeps retained keys between runs; `None` if they are kept in memory alone.
    pub archive: Option<Box<dyn RetainedKeysArchive>>,
    /// The retained keys of the runs before.
    pub retained: RetainedKeys,
    /// The index of the latest step that the runs before used.
    pub used: Option<u64>,
    /// How it works.
    pub config: RatchetConfig,
    /// The time.
    pub clock: Clock,
    /// The source of random numbers.
    pub entropy: Entropy,
}

/// The node's own ratchet: executes what a [`Ratchet`] decides. Runs on a thread of its own, because storing waits for
/// a disk or a token.
///
/// Clones share the ratchet: an actor that is restarted goes on from what is stored.
#[derive(Clone, Debug)]
pub struct RatchetActor {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    ratchet: Ratchet,
    store: Option<Box<dyn RatchetStore>>,
    archive: Option<Box<dyn RetainedKeysArchive>>,
    clock: Clock,
    entropy: Entropy,
}

type Keys = Vec<(RootTopic, Arc<SealingKey>)>;

impl RatchetActor {
    /// Returns an actor over a ratchet that has not been turned yet.
    #[must_use]
    pub fn new(parts: RatchetParts) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                ratchet: Ratchet::new(parts.config, parts.retained, parts.used),
                store: parts.store,
                archive: parts.archive,
                clock: parts.clock,
                entropy: parts.entropy,
            })),
        }
    }

    fn with_state<T>(&self, use_state: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        use_state(&mut state)
    }
}

impl Actor for RatchetActor {
    type Context = SyncContext<Self>;
}

impl Handler<SealingKeyFor> for RatchetActor {
    type Result = Result<Arc<SealingKey>, RatchetError>;

    fn handle(
        &mut self,
        SealingKeyFor { root_topic }: SealingKeyFor,
        _: &mut Self::Context,
    ) -> Self::Result {
        self.with_state(|state| {
            state.run(Some(RatchetInput::Prepare(root_topic.clone())))?;
            let key = state.ratchet.sealing_key(&root_topic);
            key.ok_or(RatchetError::NoRatchet)
        })
    }
}

impl Handler<TurnRatchet> for RatchetActor {
    type Result = MessageResult<TurnRatchet>;

    fn handle(&mut self, TurnRatchet(reason): TurnRatchet, _: &mut Self::Context) -> Self::Result {
        let input = match reason {
            TurnReason::Due => None,
            TurnReason::Requested => Some(RatchetInput::Turn),
            TurnReason::Denied { in_use } => Some(RatchetInput::Denied { in_use }),
        };
        MessageResult(self.with_state(|state| {
            let keys = state.run(input);
            Turned {
                keys,
                next: state.ratchet.next_timeout(state.clock.both()),
            }
        }))
    }
}

impl Handler<RetainedKeysFor> for RatchetActor {
    type Result = MessageResult<RetainedKeysFor>;

    fn handle(
        &mut self,
        RetainedKeysFor { root_topic, ids }: RetainedKeysFor,
        _: &mut Self::Context,
    ) -> Self::Result {
        MessageResult(self.with_state(|state| state.ratchet.hand_out(&root_topic, &ids)))
    }
}

impl Handler<RetainedRoots> for RatchetActor {
    type Result = MessageResult<RetainedRoots>;

    fn handle(&mut self, _: RetainedRoots, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.with_state(|state| {
            let root_topic = |key: &RetainedKey| key.root_topic.clone();
            state.ratchet.retained().iter().map(root_topic).collect()
        }))
    }
}

impl State {
    /// Hands an input in, and executes the effects. Returns the keys to seal with from now on.
    fn run(&mut self, input: Option<RatchetInput>) -> Result<Keys, RatchetError> {
        if self.store.is_none() && matches!(input, Some(RatchetInput::Prepare(_))) {
            return Err(RatchetError::NoRatchet);
        }
        let failed = |error| RatchetError::Ratchet(Arc::new(error));
        let mut rng = self.entropy.generator().map_err(failed)?;
        let mut next = input;
        let mut keys = Vec::new();
        let mut error = None;
        loop {
            if let Some(input) = next.take() {
                self.ratchet.handle(input, self.clock.both(), &mut *rng);
            }
            match self.ratchet.poll_effect(self.clock.both()) {
                None => return error.map_or(Ok(keys), Err),
                Some(RatchetEffect::Step) => {
                    let step = self.step();
                    let step = step.map_err(|failed| error = Some(failed)).ok();
                    next = Some(RatchetInput::Stepped(step));
                }
                Some(RatchetEffect::Save) => {
                    let (retained, used) = (self.ratchet.retained(), self.ratchet.used());
                    let archive = self.archive.as_mut();
                    let saved = archive.map_or(Ok(()), |archive| archive.save(retained, used));
                    next = Some(RatchetInput::Saved(saved.is_ok()));
                    if let Err(failed) = saved {
                        error = Some(RatchetError::Archive(Arc::new(failed)));
                    }
                }
                Some(RatchetEffect::Seal(sealing)) => keys.extend(sealing),
                Some(RatchetEffect::Turned(index)) => {
                    tracing::info!(target: "kc::ratchet", index, "ratchet turned");
                }
                Some(RatchetEffect::TooManyRoots) => error = Some(RatchetError::TooManyRoots),
                Some(RatchetEffect::Skipped(index)) => {
                    tracing::warn!(target: "kc::ratchet", index, "an old ratchet was put back: step skipped");
                }
                Some(_) => {}
            }
        }
    }

    fn step(&mut self) -> Result<Step, RatchetError> {
        let store = self.store.as_mut().ok_or(RatchetError::NoRatchet)?;
        let step = store.step();
        step.map_err(|error| RatchetError::Ratchet(Arc::new(error)))
    }
}
