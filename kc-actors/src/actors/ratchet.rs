//! The role of the ratchet. Its actor alone derives the data keys for sealing, and retains them for late consumers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Actor, Handler, Message, MessageResult, SyncContext};
use kc_core::ratchet::{
    DataKey, MAX_RETAINED_KEYS, Ratchet, RatchetConfig, RatchetEffect, RatchetInput, RetainedKey,
    RetainedKeys, SealingKey, Step,
};
use kc_core::store::{RatchetStore, RetainedKeysArchive, StoreError};
use kc_core::types::{KeyId, RootTopic};
use thiserror::Error;

use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::role::role;

role! {
    /// The messages that the ratchet actor answers: one [`Slot`](crate::Slot) for each.
    ///
    /// Two things are stored before a data key is returned: the key, for late consumers, and the next step of the
    /// ratchet.
    pub struct RatchetRole {
        /// Returns the data key that seals for a root topic.
        sealing_key: SealingKeyFor,
        /// Turns the ratchet.
        turn: TurnRatchet,
        /// Returns retained data keys.
        retained: RetainedKeysFor,
        /// Returns the root topics of the retained data keys.
        retained_roots: RetainedRoots,
    }
}

/// Returns the data key that seals for a root topic. The key is stored for late consumers before it is returned.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Arc<SealingKey>, RatchetError>")]
pub struct SealingKeyFor {
    /// The root topic.
    pub root_topic: RootTopic,
}

/// Turns the ratchet if the reason requires it.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Turned")]
pub struct TurnRatchet(pub TurnReason);

/// The reason why a ratchet may have to turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnReason {
    /// The time of the next turn may have come.
    Due,
    /// The application requested the turn.
    Requested,
    /// A key was added to the denylist.
    Denied {
        /// Set if this node has seen the denied key in use.
        in_use: bool,
    },
}

/// The result of turning a ratchet.
#[derive(Debug, actix::MessageResponse)]
pub struct Turned {
    /// The new data keys of all root topics in use. They are already stored for late consumers. The list is empty if
    /// the ratchet did not have to turn. If the ratchet could not be turned or the new data keys could not be stored,
    /// this is the error.
    pub keys: Result<Vec<(RootTopic, Arc<SealingKey>)>, RatchetError>,
    /// The time to wait before the next check whether the ratchet must turn.
    pub next: Duration,
}

/// Returns those of the retained data keys of a root topic that have one of the given ids.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<(KeyId, DataKey)>")]
pub struct RetainedKeysFor {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The ids of the data keys.
    pub ids: Vec<KeyId>,
}

/// Returns the root topic of each retained data key. A root topic occurs once for each of its keys.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<RootTopic>")]
pub struct RetainedRoots;

/// The reason why the ratchet gives no data key.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RatchetError {
    /// The node has no ratchet, so it cannot seal.
    #[error("this node has no ratchet")]
    NoRatchet,
    /// The ratchet gave no new step: its store or the source of random numbers failed, or the ratchet did not answer.
    /// No new step is used.
    #[error("the ratchet cannot be turned")]
    Ratchet(#[source] Arc<StoreError>),
    /// The data key could not be stored for late consumers, and is therefore not used.
    #[error("the data key cannot be stored for late consumers")]
    Archive(#[source] Arc<StoreError>),
    /// The node already seals for the maximum number of root topics, and cannot retain more data keys.
    #[error("the node already seals for {MAX_RETAINED_KEYS} root topics, which is the maximum")]
    TooManyRoots,
}

/// The parts of a ratchet actor.
#[derive(Debug)]
pub struct RatchetParts {
    /// The ratchet; `None` on a node that only consumes.
    pub store: Option<Box<dyn RatchetStore>>,
    /// The archive of retained data keys; `None` if the node keeps them only in memory.
    pub archive: Option<Box<dyn RetainedKeysArchive>>,
    /// The data keys that previous runs of the node have retained.
    pub retained: RetainedKeys,
    /// The index of the last step that previous runs of the node have used.
    pub used: Option<u64>,
    /// The configuration of the ratchet machine.
    pub config: RatchetConfig,
    /// The clock.
    pub clock: Clock,
    /// The source of random numbers.
    pub entropy: Entropy,
}

/// The default actor of the ratchet. It executes the decisions of a [`Ratchet`] machine. It runs on a thread of its
/// own, because it waits for a disk or a token when it stores a step.
///
/// Clones share the ratchet, so that a restarted actor continues with the same state.
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
    /// Data keys of turns that became due during another request. The next [`Turned`] contains them.
    turned: Keys,
}

type Keys = Vec<(RootTopic, Arc<SealingKey>)>;

impl RatchetActor {
    /// Returns an actor whose ratchet has not been turned yet.
    #[must_use]
    pub fn new(parts: RatchetParts) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                ratchet: Ratchet::new(parts.config, parts.retained, parts.used),
                store: parts.store,
                archive: parts.archive,
                clock: parts.clock,
                entropy: parts.entropy,
                turned: Keys::new(),
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
        self.with_state(|state| state.sealing_key(root_topic))
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
        MessageResult(self.with_state(|state| state.turn(input)))
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
    fn sealing_key(&mut self, root_topic: RootTopic) -> Result<Arc<SealingKey>, RatchetError> {
        let ran = self.run(Some(RatchetInput::Prepare(root_topic.clone())));
        let key = self.ratchet.sealing_key(&root_topic);
        match (key, ran) {
            (Some(key), ran) => {
                let others = ran.unwrap_or_default().into_iter();
                self.turned
                    .extend(others.filter(|(root, _)| *root != root_topic));
                Ok(key)
            }
            (None, Ok(_)) => Err(RatchetError::NoRatchet),
            (None, Err(error)) => Err(error),
        }
    }

    fn turn(&mut self, input: Option<RatchetInput>) -> Turned {
        let keys = self.run(input).map(|keys| {
            let mut turned = std::mem::take(&mut self.turned);
            turned.extend(keys);
            turned
        });
        Turned {
            keys,
            next: self.ratchet.next_timeout(self.clock.both()),
        }
    }

    /// Passes an input to the machine, and executes its effects. Returns the new data keys for sealing.
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
                    tracing::warn!(
                        target: "kc::ratchet", index,
                        "ratchet was restored from an old copy: a step that was used before is skipped"
                    );
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

#[cfg(test)]
mod tests {
    use kc_core::ratchet::{KeyIdForm, Seed};
    use kc_core::store::MemoryRatchetStore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn keys_of_a_turn_that_was_due_with_another_request_are_not_lost() {
        let interval = Duration::from_secs(60);
        let seed = Seed::generate(&mut *Entropy::system().generator().unwrap());
        let actor = RatchetActor::new(RatchetParts {
            store: Some(Box::new(MemoryRatchetStore::new(seed))),
            archive: None,
            retained: RetainedKeys::default(),
            used: None,
            config: RatchetConfig {
                form: KeyIdForm::Short,
                interval,
                max_age: interval * 10,
            },
            clock: Clock::system(),
            entropy: Entropy::system(),
        });
        let key = |root: &str| actor.with_state(|state| state.sealing_key(root.into()).unwrap());
        let (first, _) = (key("a"), key("c"));
        tokio::time::advance(interval).await;
        let other = key("b");
        let turned = actor.with_state(|state| state.turn(None)).keys.unwrap();
        let ids: Vec<_> = turned
            .iter()
            .map(|(root, key)| (root.as_str(), key.id()))
            .collect();
        assert_ne!(first.id(), other.id());
        assert_eq!(ids, [("a", other.id()), ("c", other.id())]);
        assert!(
            actor
                .with_state(|state| state.turn(None))
                .keys
                .unwrap()
                .is_empty()
        );
    }
}
