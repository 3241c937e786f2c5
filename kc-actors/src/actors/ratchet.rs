use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, Handler, MessageResult, SyncContext};
use kc_core::ratchet::{
    Ratchet, RatchetConfig, RatchetEffect, RatchetInput, RetainedKey, RetainedKeys, SealingKey,
    Step,
};
use kc_core::store::{RatchetStore, StoreError};
use kc_core::types::RootTopic;

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::messages::{
    RatchetError, RetainedKeysFor, RetainedRoots, SealingKeyFor, TurnRatchet, TurnReason, Turned,
};

/// Where retained keys are kept for late consumers, between runs.
pub trait KeyArchive: Debug + Send {
    /// Stores the keys, and the index of the latest step that was used, durably before it returns.
    ///
    /// # Errors
    /// [`StoreError`]; the keys must then not be used.
    fn save(&mut self, keys: &RetainedKeys, used: Option<u64>) -> Result<(), StoreError>;
}

/// The parts of a ratchet actor.
#[derive(Debug)]
pub struct RatchetParts {
    /// The ratchet; `None` on a node that only consumes.
    pub store: Option<Box<dyn RatchetStore>>,
    /// Where retained keys are kept.
    pub archive: Box<dyn KeyArchive>,
    /// The retained keys that were kept there.
    pub retained: RetainedKeys,
    /// The index of the latest step that was used, as kept there.
    pub used: Option<u64>,
    /// How it works.
    pub config: RatchetConfig,
    /// What time it is.
    pub clock: Clock,
    /// Where random numbers come from.
    pub entropy: Entropy,
}

/// Executes what a [`Ratchet`] decides: steps the stored ratchet, and stores retained keys. Everything is stored before it is
/// given out. Runs on a thread of its own, because storing means waiting for a disk.
///
/// Clones share the ratchet: if the thread dies, the next goes on from what is stored.
#[derive(Clone, Debug)]
pub struct RatchetActor {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    ratchet: Ratchet,
    store: Option<Box<dyn RatchetStore>>,
    archive: Box<dyn KeyArchive>,
    clock: Clock,
    entropy: Entropy,
}

type Keys = Vec<(RootTopic, Arc<SealingKey>)>;

impl RatchetActor {
    /// Over a ratchet that has not been turned yet.
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
    /// Hands an input in, does what is to be done, and gives the keys to seal with from now on.
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
                    let saved = self
                        .archive
                        .save(self.ratchet.retained(), self.ratchet.used());
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
