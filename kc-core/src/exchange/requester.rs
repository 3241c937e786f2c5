mod root;

use std::collections::BTreeMap;
use std::time::Duration;

use rand_core::CryptoRng;

use self::root::{Root, WantedKey};
use super::Refusal;
use super::reply::{KeyReply, ReceivedKeys};
use super::request::NONCE_LEN;
use super::validity::Validity;
use crate::chain::{ToBeSigned, ValidIdentity};
use crate::kem::{DecapsulationKey, Suite};
use crate::ratchet::Candidates;
use crate::types::{KeyId, RootTopic, Timestamp};

/// How many root topics may have wanted keys; further roots are refused until others are done.
pub const MAX_ROOTS: usize = 1024;

/// How many key ids may be wanted of one root. Ids come from whoever writes to the topic, so invented
/// ones must not push out real ones for good: beyond, those asked for already make room.
pub const MAX_WANTED_PER_ROOT: usize = 256;

/// How many requests of one root may still be answered; beyond, the oldest is forgotten.
pub const MAX_OUTSTANDING_PER_ROOT: usize = 4;

/// How many requests of one root go out in one interval at most.
pub const MAX_REQUESTS_PER_INTERVAL: u32 = 3;

/// After so many requests without an answer in their interval a key counts as unanswered.
pub const UNANSWERED_AFTER: u32 = 3;

/// A key that nothing has asked for in so many intervals is no longer wanted.
const FORGOTTEN_AFTER: u32 = 20;

/// What a consumer asks with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequesterConfig {
    /// The key exchanges to offer, in order of preference.
    pub suites: Vec<Suite>,
    /// Whether to send the bare form of old peers, too.
    pub legacy: bool,
    /// How long a request is valid.
    pub validity: Validity,
    /// The time between requests of one root (`CRYPTO_SUB_INTERVAL`).
    pub interval: Duration,
}

/// The consumer's part of the exchange: collects the keys that are wanted, asks for them, and takes
/// the replies to what it asked.
#[derive(Debug)]
pub struct Requester {
    config: RequesterConfig,
    roots: BTreeMap<RootTopic, Root>,
}

/// What wanting a key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It was not wanted before.
    First,
    /// It was wanted already.
    Again {
        /// Whether so many requests for it have had no answer that it counts as unanswered.
        unanswered: bool,
    },
    /// A bound is hit, and nothing makes room: try again after the next request.
    Full,
}

/// A request to be signed and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingRequest {
    /// For which root topic.
    pub root: RootTopic,
    /// The Kafka key: the ids asked for.
    pub kafka_key: Vec<u8>,
    /// The random value that replies are bound to.
    pub random0: [u8; NONCE_LEN],
    /// The request in each form, for each identity of the node. All go to the topic of requests to
    /// controllers; those marked `true` to the topic of requests to producers as well.
    pub drafts: Vec<(ToBeSigned, bool)>,
}

/// What an accepted reply brought.
#[derive(Debug)]
pub struct HandledReply {
    /// The wanted keys among those in the reply.
    pub keys: ReceivedKeys,
    /// The time from the request to this reply.
    pub after: Duration,
}

/// Keys of a root that nobody has answered for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// The root topic.
    pub root: RootTopic,
    /// The keys.
    pub ids: Vec<KeyId>,
}

impl Requester {
    /// A consumer that wants nothing yet.
    #[must_use]
    pub fn new(config: RequesterConfig) -> Self {
        Self {
            config,
            roots: BTreeMap::new(),
        }
    }

    /// Notes that a record needs a key. Cheap, and bounded whatever ids are invented.
    pub fn want(&mut self, root: &RootTopic, id: KeyId, now: Timestamp) -> Wanted {
        self.want_another(root, id, Candidates::default(), now)
    }

    /// Notes that a record needs a key other than the `known` ones with its id, which do not open it.
    pub fn want_another(
        &mut self,
        root: &RootTopic,
        id: KeyId,
        known: Candidates,
        now: Timestamp,
    ) -> Wanted {
        if !self.roots.contains_key(root) {
            self.forget_idle(now);
            if self.roots.len() >= MAX_ROOTS {
                return Wanted::Full;
            }
        }
        let state = self.roots.entry(root.clone()).or_default();
        state.want(id, known, now, self.config.interval)
    }

    /// Notes that a key is no longer needed: it came from elsewhere.
    pub fn unwant(&mut self, root: &RootTopic, id: &KeyId) {
        if let Some(state) = self.roots.get_mut(root) {
            state.wanted.retain(|wanted| &wanted.id != id);
        }
    }

    /// When [`poll_request`](Self::poll_request) has something to do next; `None`: not until something
    /// is wanted.
    #[must_use]
    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let interval = self.config.interval;
        let due = self
            .roots
            .values()
            .filter_map(|root| root.due(now, interval));
        due.min_by(|a, b| a.as_secs().total_cmp(&b.as_secs()))
    }

    /// The next request that is due; call until it gives `None`. Without an identity nothing is asked.
    pub fn poll_request(
        &mut self,
        own: &[ValidIdentity],
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Option<OutgoingRequest> {
        if own.is_empty() {
            return None;
        }
        let config = &self.config;
        let (root, state) = self.roots.iter_mut().find_map(|(root, state)| {
            state.forget(now, config.interval * FORGOTTEN_AFTER);
            (state.due(now, config.interval)? <= now).then_some((root, state))
        })?;
        state.count_request(now, config.interval);
        Some(state.request(root, config, own, now, rng))
    }

    /// Takes back a request that could not be sent: it is due again, and does not count.
    pub fn unsent(&mut self, request: &OutgoingRequest) {
        let Some(state) = self.roots.get_mut(&request.root) else {
            return;
        };
        let mut outstanding = state.outstanding.iter();
        let place = outstanding.position(|sent| sent.random0 == request.random0);
        let Some(unsent) = place.and_then(|place| state.outstanding.remove(place)) else {
            return;
        };
        for wanted in &mut state.wanted {
            if unsent.ids.contains(&wanted.id) {
                wanted.requests = wanted.requests.saturating_sub(1);
            }
        }
        if let Some((_, requests)) = &mut state.interval {
            *requests = requests.saturating_sub(1);
        }
    }

    /// Takes a reply from a root's topic of keys. What is refused consumes nothing.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn handle_reply(
        &mut self,
        root: &RootTopic,
        reply: &KeyReply,
        now: Timestamp,
    ) -> Result<HandledReply, Refusal> {
        let state = self.roots.get_mut(root).ok_or(Refusal::NotOutstanding)?;
        let answered = state
            .outstanding
            .iter()
            .position(|request| request.random0 == *reply.random0())
            .ok_or(Refusal::NotOutstanding)?;
        let request = state.outstanding.get(answered);
        let request = request.ok_or(Refusal::NotOutstanding)?;
        let mut keys = reply.open(root, &request.ephemerals)?;
        let after = now.since(request.sent);
        keys.retain(|(id, secret)| {
            let mut wanted = state.wanted.iter();
            wanted.any(|wanted| wanted.id == *id && !wanted.known.hold(secret))
        });
        if keys.is_empty() {
            return Err(Refusal::Unwanted);
        }
        state.outstanding.remove(answered);
        let received = |wanted: &WantedKey| keys.iter().any(|(id, _)| *id == wanted.id);
        state.wanted.retain(|wanted| !received(wanted));
        Ok(HandledReply { keys, after })
    }

    /// Whether a record of a root's topic of keys claims to answer a request that can still be answered:
    /// the cheap look before it is validated.
    #[must_use]
    pub fn may_answer(&self, root: &RootTopic, value: &[u8]) -> bool {
        self.outstanding(root).next().is_some()
            && KeyReply::peek_random0(value).is_some_and(|random0| {
                let mut outstanding = self.outstanding(root);
                outstanding.any(|(asked, _)| asked.as_slice() == random0)
            })
    }

    /// The missing keys that have gone unanswered, each as long as it is wanted.
    #[must_use]
    pub fn unanswered(&self, now: Timestamp) -> Vec<Unanswered> {
        self.asked_in_vain(now, |wanted| wanted.known.is_empty())
    }

    /// The ids of which keys are here, and of which nobody has given another key.
    #[must_use]
    pub fn without_other(&self, now: Timestamp) -> Vec<Unanswered> {
        self.asked_in_vain(now, |wanted| !wanted.known.is_empty())
    }

    fn asked_in_vain(&self, now: Timestamp, of: impl Fn(&WantedKey) -> bool) -> Vec<Unanswered> {
        let interval = self.config.interval;
        let unanswered = self.roots.iter().map(|(root, state)| Unanswered {
            root: root.clone(),
            ids: state.asked_in_vain(now, interval, &of).collect(),
        });
        unanswered
            .filter(|unanswered| !unanswered.ids.is_empty())
            .collect()
    }

    /// The roots that have wanted keys, and the keys.
    pub fn wanted(&self) -> impl Iterator<Item = (&RootTopic, impl Iterator<Item = KeyId>)> {
        self.roots
            .iter()
            .map(|(root, state)| (root, state.wanted.iter().map(|wanted| wanted.id)))
    }

    /// The random values of the requests of a root that can still be answered, oldest first, each with
    /// the ephemeral keys that wait for the answer.
    pub fn outstanding(
        &self,
        root: &RootTopic,
    ) -> impl Iterator<Item = (&[u8; NONCE_LEN], &[DecapsulationKey])> {
        let state = self.roots.get(root).into_iter();
        let requests = state.flat_map(|state| state.outstanding.iter());
        requests.map(|request| (&request.random0, request.ephemerals.as_slice()))
    }

    /// How many requests can still be answered, over all roots.
    #[must_use]
    pub fn all_outstanding(&self) -> usize {
        let roots = self.roots.values();
        roots.map(|state| state.outstanding.len()).sum()
    }

    /// Forgets the roots of which nothing is wanted and nothing is outstanding any more.
    fn forget_idle(&mut self, now: Timestamp) {
        let forgotten = self.config.interval * FORGOTTEN_AFTER;
        self.roots.retain(|_, state| {
            state.forget(now, forgotten);
            !state.wanted.is_empty() || !state.outstanding.is_empty()
        });
    }
}

#[cfg(test)]
impl Requester {
    pub(super) fn config_mut(&mut self) -> &mut RequesterConfig {
        &mut self.config
    }
}
