use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::{Actor, Handler, MessageResult, SyncContext};
use kc_core::ratchet::{
    KeyIdForm, MAX_RETAINED_KEYS, Ratchet, RetainedKey, RetainedKeys, SealingKey,
};
use kc_core::store::{RatchetStore, StoreError};
use kc_core::types::RootTopic;

use crate::clock::Clock;
use crate::messages::{HeldKeys, HeldRoots, RatchetError, SealingKeyFor, TurnRatchet};

/// Where past keys are kept for late consumers, between runs.
pub trait KeyArchive: Debug + Send {
    /// Stores the keys, and the index of the latest step that was used, durably before it returns.
    ///
    /// # Errors
    /// [`StoreError`]; the keys must then not be used.
    fn save(&mut self, keys: &RetainedKeys, used: Option<u64>) -> Result<(), StoreError>;
}

/// What a ratchet actor is made of.
#[derive(Debug)]
pub struct RatchetParts {
    /// The ratchet; `None` on a node that only consumes.
    pub store: Option<Box<dyn RatchetStore>>,
    /// Where past keys are kept.
    pub archive: Box<dyn KeyArchive>,
    /// The past keys that were kept there.
    pub retained: RetainedKeys,
    /// The index of the latest step that was used, as kept there.
    pub used: Option<u64>,
    /// How keys are named.
    pub form: KeyIdForm,
    /// How long past keys are kept.
    pub max_age: Duration,
    /// What time it is.
    pub clock: Clock,
}

/// Turns the ratchet, and keeps past keys. Everything is stored before it is given out. Runs on a
/// thread of its own, because storing means waiting for a disk.
///
/// Clones share the ratchet: if the thread dies, the next goes on from what is stored.
#[derive(Clone, Debug)]
pub struct RatchetActor {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    parts: RatchetParts,
    /// The step in use; none until the first key is asked for, so that consumers use up no steps.
    current: Option<Ratchet>,
    /// The root topics in use.
    roots: BTreeSet<RootTopic>,
}

impl RatchetActor {
    /// Over a ratchet that has not been turned yet.
    #[must_use]
    pub fn new(parts: RatchetParts) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                parts,
                current: None,
                roots: BTreeSet::new(),
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

    fn handle(&mut self, message: SealingKeyFor, _: &mut Self::Context) -> Self::Result {
        self.with_state(|state| {
            if state.current.is_none() {
                state.current = Some(state.parts.turn()?);
            }
            let is_new = !state.roots.contains(&message.root);
            if is_new && state.roots.len() >= MAX_RETAINED_KEYS {
                return Err(RatchetError::TooManyRoots);
            }
            state.roots.insert(message.root.clone());
            let keys = state.keys([message.root])?;
            let key = keys.into_iter().next().map(|(_, key)| key);
            key.ok_or(RatchetError::NoRatchet)
        })
    }
}

impl Handler<TurnRatchet> for RatchetActor {
    type Result = Result<Vec<(RootTopic, Arc<SealingKey>)>, RatchetError>;

    fn handle(&mut self, _: TurnRatchet, _: &mut Self::Context) -> Self::Result {
        self.with_state(|state| {
            if state.roots.is_empty() {
                return state.parts.prune().map(|()| Vec::new());
            }
            state.current = Some(state.parts.turn()?);
            state.keys(state.roots.clone())
        })
    }
}

impl Handler<HeldKeys> for RatchetActor {
    type Result = MessageResult<HeldKeys>;

    fn handle(&mut self, HeldKeys { root, ids }: HeldKeys, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.with_state(|state| {
            let retained = &state.parts.retained;
            let copy = |key: &RetainedKey| (key.id, key.secret.expose_copy());
            let held = ids.iter().filter_map(|id| retained.get(&root, id));
            held.map(copy).collect()
        }))
    }
}

impl Handler<HeldRoots> for RatchetActor {
    type Result = MessageResult<HeldRoots>;

    fn handle(&mut self, _: HeldRoots, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.with_state(|state| {
            let retained = state.parts.retained.iter();
            retained.map(|key| key.root.clone()).collect()
        }))
    }
}

impl State {
    /// The current step's keys of these root topics, all of them stored.
    fn keys(
        &mut self,
        roots: impl IntoIterator<Item = RootTopic>,
    ) -> Result<Vec<(RootTopic, Arc<SealingKey>)>, RatchetError> {
        let ratchet = self.current.as_mut().ok_or(RatchetError::NoRatchet)?;
        let key = |root: RootTopic| {
            let key = ratchet.sealing_key(&root);
            (root, key)
        };
        let keys: Vec<_> = roots.into_iter().map(key).collect();
        self.parts.archive(&keys, ratchet.index())?;
        Ok(keys)
    }
}

impl RatchetParts {
    /// The next step that was never used. One that was, by its index or by its key id, means that an old
    /// ratchet has been put back, and its steps must not be used again.
    fn turn(&mut self) -> Result<Ratchet, RatchetError> {
        let store = self.store.as_mut().ok_or(RatchetError::NoRatchet)?;
        loop {
            let step = store.step();
            let step = step.map_err(|error| RatchetError::Ratchet(Arc::new(error)))?;
            let (index, id) = (step.index(), step.key_id(&self.form));
            let unused = self.used.is_none_or(|used| index > used);
            if unused && self.retained.iter().all(|key| key.id != id) {
                tracing::info!(target: "kc::ratchet", index, "ratchet turned");
                return Ok(Ratchet::new(step, &self.form));
            }
            tracing::warn!(target: "kc::ratchet", index, "an old ratchet was put back: step skipped");
        }
    }

    /// Forgets keys that are too old, for a producer that does not seal any more.
    fn prune(&mut self) -> Result<(), RatchetError> {
        if self.retained.prune(self.clock.now(), self.max_age, None) {
            let saved = self.archive.save(&self.retained, self.used);
            saved.map_err(|error| RatchetError::Archive(Arc::new(error)))?;
        }
        Ok(())
    }

    fn archive(
        &mut self,
        keys: &[(RootTopic, Arc<SealingKey>)],
        used: u64,
    ) -> Result<(), RatchetError> {
        let now = self.clock.now();
        let retained = &self.retained;
        let is_new =
            |(root, key): &&(RootTopic, Arc<SealingKey>)| retained.get(root, &key.id()).is_none();
        let new: Vec<_> = keys.iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        // Keys of one step have one id, whatever the root topic.
        let in_use = keys.first().map(|(_, key)| key.id());
        self.retained.prune(now, self.max_age, in_use);
        let kept = new.iter().all(|(root, key)| {
            self.retained.insert(RetainedKey {
                root: root.clone(),
                id: key.id(),
                secret: key.topic_secret().expose_copy(),
                birth: now,
            })
        });
        let saved = if kept {
            let saved = self.archive.save(&self.retained, Some(used));
            saved.map_err(|error| RatchetError::Archive(Arc::new(error)))
        } else {
            Err(RatchetError::TooManyRoots)
        };
        if saved.is_ok() {
            self.used = Some(used);
        } else {
            for (root, key) in &new {
                self.retained.remove(root, &key.id());
            }
        }
        saved
    }
}
