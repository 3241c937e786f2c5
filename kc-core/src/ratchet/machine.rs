use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand_core::CryptoRng;

use super::data_key::{DataKey, SealingKey};
use super::retained::{MAX_RETAINED_KEYS, RetainedKey, RetainedKeys};
use super::step::{KeyIdForm, Step, StepKeys};
use crate::sabotage::{Rule, broken};
use crate::types::{KeyId, Now, RootTopic};

/// The minimum time from one turn of the ratchet for an entry of the denylist to the next, if this node knows that the
/// newly denied key is in use.
pub const DENIAL_INTERVAL: Duration = Duration::from_secs(60);
/// The minimum time from one turn of the ratchet for an entry of the denylist to the next, if this node does not know
/// whether the newly denied key is in use. It is longer than [`DENIAL_INTERVAL`], because anyone can create such keys
/// and their self-revocations.
pub const UNSEEN_DENIAL_INTERVAL: Duration = Duration::from_secs(600);
/// The delay between a failed attempt to turn the ratchet and the next attempt. [`RatchetConfig::interval`] applies
/// instead if it is shorter.
const RETRY_DELAY: Duration = Duration::from_secs(30);

/// The configuration of a [`Ratchet`].
#[derive(Clone, Debug)]
pub struct RatchetConfig {
    /// The form of key ids.
    pub form: KeyIdForm,
    /// The interval at which the ratchet turns (`CRYPTO_RATCHET_INTERVAL`).
    pub interval: Duration,
    /// The time for which keys are kept for late consumers (`CRYPTO_MAX_PGEN_AGE`).
    pub max_age: Duration,
}

/// The ratchet of a producer. It owns the step in use and the keys that are kept for late consumers, and decides
/// when to turn.
///
/// A step is used only after the next step has been stored, and a key is used only after it has been stored for late
/// consumers.
#[derive(Debug)]
pub struct Ratchet {
    config: RatchetConfig,
    /// The step in use. It is `None` until the first key is needed, so that a node that only consumes uses no steps.
    current: Option<StepKeys>,
    /// The root topics in use.
    roots: BTreeSet<RootTopic>,
    retained: RetainedKeys,
    /// The index of the latest used step.
    used: Option<u64>,
    /// Keys that have not been stored, with their root topics.
    unsaved: Vec<(RootTopic, Arc<SealingKey>)>,
    /// True if a key of the step in use has been sent to a consumer.
    handed_out: bool,
    /// The time of the next turn, or `None` if no turn is planned.
    due: Option<Duration>,
    /// True if an entry of the denylist waits for the turn at `due`, because it came too soon after the last turn that
    /// an entry of the denylist caused.
    due_for_denial: bool,
    /// The time of the last turn that an entry of the denylist caused.
    denial: Option<Duration>,
    effects: VecDeque<RatchetEffect>,
}

/// An input of a [`Ratchet`].
#[derive(Debug)]
pub enum RatchetInput {
    /// Prepare a root topic for sealing.
    Prepare(RootTopic),
    /// Turn the ratchet now, because an operator has requested it.
    Turn,
    /// A key was added to the denylist.
    Denied {
        /// True if this node knows that the denied key is in use.
        in_use: bool,
    },
    /// The step that was taken for [`RatchetEffect::Step`], or `None` if no step could be taken.
    Stepped(Option<Step>),
    /// The result of [`RatchetEffect::Save`]: whether the keys were stored.
    Saved(bool),
}

/// An action for the caller. The caller must perform the actions in the order in which it gets them.
#[derive(Debug)]
#[non_exhaustive]
pub enum RatchetEffect {
    /// Take the next step of the stored ratchet.
    Step,
    /// Store the [`retained`](Ratchet::retained) keys and the index of the latest [used](Ratchet::used) step
    /// durably.
    Save,
    /// Seal with these keys from now on. They are kept for late consumers.
    Seal(Vec<(RootTopic, Arc<SealingKey>)>),
    /// The step with this index is skipped because it was used before: an old copy of the ratchet has been
    /// restored.
    Skipped(u64),
    /// The ratchet was turned to the step with this index.
    Turned(u64),
    /// A root topic is not prepared: [`MAX_RETAINED_KEYS`] keys are already in use, and none of them may be
    /// forgotten.
    TooManyRoots,
}

impl Ratchet {
    /// Creates a ratchet without a step in use, from the stored keys and the index of the latest used step.
    #[must_use]
    pub fn new(config: RatchetConfig, retained: RetainedKeys, used: Option<u64>) -> Self {
        Self {
            config,
            current: None,
            roots: BTreeSet::new(),
            retained,
            used,
            unsaved: Vec::new(),
            handed_out: false,
            due: None,
            due_for_denial: false,
            denial: None,
            effects: VecDeque::new(),
        }
    }

    /// Returns the keys that are kept for late consumers.
    #[must_use]
    pub fn retained(&self) -> &RetainedKeys {
        &self.retained
    }

    /// Returns the index of the latest used step.
    #[must_use]
    pub fn used(&self) -> Option<u64> {
        self.used
    }

    /// Returns the retained keys of a root topic with these ids, for the caller to send to a consumer. Remembers
    /// whether a key of the step in use is among them.
    pub fn hand_out(&mut self, root_topic: &RootTopic, ids: &[KeyId]) -> Vec<(KeyId, DataKey)> {
        let current = self.current.as_ref().map(StepKeys::key_id);
        let held = ids
            .iter()
            .filter_map(|id| self.retained.get(root_topic, id));
        let keys: Vec<_> = held.map(|key| (key.id, key.secret.expose_copy())).collect();
        self.handed_out |= keys.iter().any(|(id, _)| Some(*id) == current);
        keys
    }

    /// Returns the sealing key of a root topic at the step in use, if it is among the retained keys. The caller must
    /// first have performed all [effects](Self::poll_effect), so that the key has been stored.
    #[must_use]
    pub fn sealing_key(&self, root_topic: &RootTopic) -> Option<Arc<SealingKey>> {
        let key = self.current.as_ref()?.known(root_topic)?;
        self.retained.get(root_topic, &key.id())?;
        Some(key)
    }

    /// Takes an input. [`poll_effect`](Self::poll_effect) then returns the resulting actions. The random parts of new
    /// sealing keys are drawn from `rng`.
    pub fn handle(&mut self, input: RatchetInput, now: Now, rng: &mut dyn CryptoRng) {
        match input {
            RatchetInput::Prepare(root_topic) => {
                let is_new = !self.roots.contains(&root_topic);
                if is_new && self.roots.len() >= MAX_RETAINED_KEYS {
                    return self.effects.push_back(RatchetEffect::TooManyRoots);
                }
                self.roots.insert(root_topic.clone());
                if self.current.is_some() {
                    self.make_keys([root_topic], now, rng);
                } else {
                    self.effects.push_back(RatchetEffect::Step);
                }
            }
            RatchetInput::Turn => self.turn(now),
            RatchetInput::Denied { in_use } => self.turn_for_denial(in_use, now),
            RatchetInput::Stepped(step) => self.stepped(step, now, rng),
            RatchetInput::Saved(saved) => self.saved(saved, now),
        }
    }

    /// Returns the next action, or `None` if there is nothing to do now.
    ///
    /// The caller must call this method after each input, and after the time of [`next_timeout`](Self::next_timeout)
    /// has passed. Each time, the caller must repeat the call until the result is `None`.
    pub fn poll_effect(&mut self, now: Now) -> Option<RatchetEffect> {
        if self.effects.is_empty() && self.due.is_some_and(|due| due <= now.mono) {
            if std::mem::take(&mut self.due_for_denial) {
                self.denial = Some(now.mono);
            }
            self.turn(now);
        }
        self.effects.pop_front()
    }

    /// Returns the time, counted from `now`, after which [`poll_effect`](Self::poll_effect) must be called if there is
    /// no input.
    #[must_use]
    pub fn next_timeout(&self, now: Now) -> Duration {
        let due = self.due.map(|due| due.saturating_sub(now.mono));
        due.unwrap_or(self.config.interval)
    }

    /// Turns the ratchet. If no root topic is in use, only forgets old keys.
    fn turn(&mut self, now: Now) {
        self.due = Some(now.mono.saturating_add(self.config.interval));
        if self.roots.is_empty() {
            if self.retained.prune(now.wall, self.config.max_age, None) {
                self.effects.push_back(RatchetEffect::Save);
            }
        } else {
            self.effects.push_back(RatchetEffect::Step);
        }
    }

    /// Turns the ratchet for an entry of the denylist if a key of the step in use was sent to a consumer, so that a
    /// denied consumer cannot read later records. If the last turn for such an entry was less than the minimum time
    /// ago, the turn waits until the minimum time has passed or the ratchet turns for another reason.
    fn turn_for_denial(&mut self, in_use: bool, now: Now) {
        if !self.handed_out || self.current.is_none() {
            return;
        }
        let interval = if in_use {
            DENIAL_INTERVAL
        } else {
            UNSEEN_DENIAL_INTERVAL
        };
        let allowed = self.denial.map_or(now.mono, |last| last + interval);
        if allowed <= now.mono {
            self.denial = Some(now.mono);
            self.turn(now);
        } else {
            self.due = Some(self.due.map_or(allowed, |due| due.min(allowed)));
            self.due_for_denial = true;
        }
    }

    fn stepped(&mut self, step: Option<Step>, now: Now, rng: &mut dyn CryptoRng) {
        let Some(step) = step else {
            // The next attempt follows soon. Otherwise a disk that is full for a moment would keep the current key in
            // use for a whole interval.
            self.due = Some(now.mono + RETRY_DELAY.min(self.config.interval));
            return;
        };
        let (index, id) = (step.index(), step.key_id(&self.config.form));
        // The step was used before, as its index or its key id shows: an old copy of the ratchet has been restored.
        if self.used.is_some_and(|used| index <= used)
            || self.retained.iter().any(|key| key.id == id)
        {
            self.effects.push_back(RatchetEffect::Skipped(index));
            self.effects.push_back(RatchetEffect::Step);
            return;
        }
        self.current = Some(StepKeys::new(step, &self.config.form));
        self.handed_out = false;
        self.due = Some(now.mono.saturating_add(self.config.interval));
        self.effects.push_back(RatchetEffect::Turned(index));
        self.make_keys(self.roots.clone(), now, rng);
    }

    /// Makes the keys of these root topics at the step in use, and requests that they are stored.
    fn make_keys(
        &mut self,
        roots: impl IntoIterator<Item = RootTopic>,
        now: Now,
        rng: &mut dyn CryptoRng,
    ) {
        let Some(current) = &mut self.current else {
            return;
        };
        let (index, id) = (current.index(), current.key_id());
        self.retained.prune(now.wall, self.config.max_age, Some(id));
        let mut kept = Vec::new();
        for root_topic in roots {
            let key = current.sealing_key(&root_topic, rng);
            if self.retained.get(&root_topic, &id).is_some() {
                kept.push((root_topic, key));
                continue;
            }
            let is_kept = self.retained.insert(RetainedKey {
                root_topic: root_topic.clone(),
                id,
                secret: key.data_key().expose_copy(),
                birth: now.wall,
            });
            if broken(Rule::StoredBeforeUsed) {
                kept.push((root_topic.clone(), Arc::clone(&key)));
            }
            if is_kept {
                self.unsaved.push((root_topic, key));
            }
        }
        if !kept.is_empty() {
            self.effects.push_back(RatchetEffect::Seal(kept));
        }
        if !self.unsaved.is_empty() {
            self.used = Some(self.used.map_or(index, |used| used.max(index)));
            self.effects.push_back(RatchetEffect::Save);
        }
    }

    fn saved(&mut self, saved: bool, now: Now) {
        let keys = std::mem::take(&mut self.unsaved);
        if saved {
            if !keys.is_empty() {
                self.effects.push_back(RatchetEffect::Seal(keys));
            }
            return;
        }
        for (root_topic, key) in &keys {
            self.retained.remove(root_topic, &key.id());
        }
        // Until the next attempt, the keys of the previous step remain in use. The attempt follows soon, because this
        // turn may be for an entry of the denylist.
        if !keys.is_empty() {
            let again = now.mono + RETRY_DELAY.min(self.config.interval);
            self.due = Some(self.due.map_or(again, |due| due.min(again)));
        }
    }
}
