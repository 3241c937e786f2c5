//! The keys that a consumer wants, and the times at which it asks for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::event::{Missing, MissingKeys};
use super::request::NONCE_LEN;
use crate::chain::{ChainError, MaxAge};
use crate::kem::DecapsulationKey;
use crate::ratchet::{Candidates, DataKey};
use crate::sabotage::{Rule, broken};
use crate::types::{KeyId, Now, RootTopic};

/// The maximum number of root topics with wanted keys. At this number, a further root topic is refused until one of the
/// root topics has no wanted key left. Test: `a_million_invented_ids_and_roots_stay_within_the_bounds`.
pub const MAX_ROOTS: usize = 1024;
/// The maximum number of wanted keys of one root topic.
///
/// Any node that can write to the topic can invent ids, and these must not displace real ids for good. When the limit
/// is reached, a key whose last request was sent at least one second ago is therefore dropped for each new one. If
/// there is no such key, the new id is refused. Test: `a_million_invented_ids_and_roots_stay_within_the_bounds`.
pub const MAX_WANTED_PER_ROOT: usize = 256;
/// The maximum number of requests of one root topic to which this node still accepts replies. At this number, the
/// oldest request is forgotten for each new one. Test: `a_million_invented_ids_and_roots_stay_within_the_bounds`.
pub const MAX_OUTSTANDING_PER_ROOT: usize = 4;
/// The time during which new ids are gathered, so that one request asks for many keys.
pub const GATHER_TIME: Duration = Duration::from_millis(50);
/// The pace of the requests of one root topic: a burst of 4, then one in each period of 2 s.
const ROOT_PACE: Pace = Pace::new(4, Duration::from_secs(2));
/// The pace of the requests of all root topics together: a burst of 10, then one in each period of 0.1 s.
const NODE_PACE: Pace = Pace::new(10, Duration::from_millis(100));
/// The time from the first request for a key to the second. A peer may have missed the first request, or this node may
/// have missed the reply.
const SECOND_ASK: Duration = Duration::from_secs(3);
/// The time from the first request for a key to the third.
const THIRD_ASK: Duration = Duration::from_secs(10);
/// The time after the first request at which a key counts as unanswered. Three request intervals apply instead if they
/// are shorter.
pub const UNANSWERED_AFTER: Duration = Duration::from_secs(20);
/// The time for which further replies are accepted after a reply has brought a key. It applies only if keys with the
/// same id were known before and did not open the record, because the first new key may be wrong, too.
const MORE_REPLIES: Duration = Duration::from_secs(5);
/// The time for which a key keeps its place among the wanted keys after its last request, since the reply may be on
/// the way.
const KEEPS_PLACE: Duration = Duration::from_secs(1);
/// A key is no longer wanted if no record has needed it for this number of request intervals.
const FORGOTTEN_AFTER: u32 = 20;

/// The wanted keys of all root topics.
#[derive(Debug)]
pub(super) struct Wants {
    /// The time between repeated requests for a key (`CRYPTO_SUB_INTERVAL`).
    interval: Duration,
    roots: BTreeMap<RootTopic, Root>,
    pace: Pace,
    /// The time until which no request is sent, because there is no identity to sign with.
    blocked: Option<Duration>,
}

/// The wanted keys and the requests of one root topic.
#[derive(Debug)]
struct Root {
    wanted: VecDeque<WantedKey>,
    outstanding: VecDeque<Outstanding>,
    pace: Pace,
    /// The time until which no request is sent, because the last request could not be sent.
    blocked: Option<Duration>,
    /// The result of the check that this node's chain grants the topic, or `None` if it has not been checked.
    grant: Option<Result<(), ChainError>>,
    /// The unanswered keys that have been reported.
    reported: Vec<KeyId>,
}

#[derive(Debug)]
struct WantedKey {
    id: KeyId,
    /// The known keys with this id, which do not open the record.
    known: Candidates,
    last_wanted: Duration,
    first_asked: Option<Duration>,
    last_asked: Option<Duration>,
    asks: u32,
    /// The earliest time of the next request.
    next: Duration,
    /// True if a request for the key is about to be sent.
    leaving: bool,
    /// The time at which the first key that is not among `known` was received. It is set only if `known` is not empty,
    /// because otherwise the key is no longer wanted. Further keys are accepted for [`MORE_REPLIES`] after this time,
    /// because the received key may be wrong, too.
    answered: Option<Duration>,
}

/// A request to which this node still accepts replies.
#[derive(Debug)]
struct Outstanding {
    random0: [u8; NONCE_LEN],
    ids: Vec<KeyId>,
    ephemerals: Arc<[DecapsulationKey]>,
    sent: Duration,
    end: MaxAge,
}

/// The result of wanting a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The key was not wanted before.
    First,
    /// The key was already wanted.
    Again,
    /// [`MAX_ROOTS`] is reached, or [`MAX_WANTED_PER_ROOT`] is reached and no wanted key can be dropped. The key was
    /// not added to the wanted keys. The caller may try again later.
    Full,
}

/// A request that is due: its root topic and the ids of the requested keys.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) root_topic: RootTopic,
    pub(super) ids: Vec<KeyId>,
}

/// The random value and the ephemeral keys of a request to which this node still accepts replies.
#[cfg(feature = "vectors")]
pub(super) type Answerable<'w> = (&'w [u8; NONCE_LEN], &'w [DecapsulationKey]);

impl Wants {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            roots: BTreeMap::new(),
            pace: NODE_PACE,
            blocked: None,
        }
    }

    /// Records that a message needs a key with the id `id`, and that none of the `known` keys with this id opens the
    /// message. Memory is bounded, however many ids are invented.
    pub(super) fn want(
        &mut self,
        root_topic: &RootTopic,
        id: KeyId,
        known: Candidates,
        now: Now,
    ) -> Wanted {
        if !self.roots.contains_key(root_topic) {
            self.forget(now);
            if self.roots.len() >= MAX_ROOTS {
                return Wanted::Full;
            }
        }
        let state = self
            .roots
            .entry(root_topic.clone())
            .or_insert_with(Root::new);
        state.want(id, known, now.mono)
    }

    /// Records that a key is no longer needed, because this node got it in another way.
    pub(super) fn unwant(&mut self, root_topic: &RootTopic, id: &KeyId) {
        if let Some(state) = self.roots.get_mut(root_topic) {
            state.wanted.retain(|wanted| wanted.id != *id);
            state.forget_answered();
        }
    }

    /// Returns the time at which the next request is due, and its root topic. Considers only the root topics that
    /// satisfy `may`.
    ///
    /// The root topic that has waited longest is next, so that a flood of ids of one root topic does not delay the
    /// others.
    pub(super) fn next_due(
        &self,
        may: impl Fn(&RootTopic) -> bool,
    ) -> Option<(Duration, &RootTopic)> {
        let roots = self.roots.iter().filter(|(root_topic, _)| may(root_topic));
        let due = roots.filter_map(|(root_topic, state)| Some((state.due()?, root_topic)));
        let (first, root_topic) = due.min_by_key(|(due, _)| *due)?;
        let blocked = self.blocked.unwrap_or_default();
        Some((first.max(self.pace.ready_at()).max(blocked), root_topic))
    }

    /// Takes the next request of a root topic. Returns `None` if the root topic has no key to ask for now.
    pub(super) fn leave(&mut self, root_topic: &RootTopic, now: Now) -> Option<Due> {
        self.forget(now);
        let state = self.roots.get_mut(root_topic)?;
        let ids = state.leave(now.mono);
        if ids.is_empty() {
            return None;
        }
        if broken(Rule::EveryReplyCounts) && state.pace == ROOT_PACE {
            state.pace = Pace::new(3, self.interval / 3);
        }
        state.pace.take(now.mono);
        self.pace.take(now.mono);
        Some(Due {
            root_topic: root_topic.clone(),
            ids,
        })
    }

    /// Records that a request is about to be sent: replies may come from now on.
    pub(super) fn sending(
        &mut self,
        due: &Due,
        random0: [u8; NONCE_LEN],
        ephemerals: Arc<[DecapsulationKey]>,
        end: MaxAge,
        now: Duration,
    ) {
        let Some(state) = self.roots.get_mut(&due.root_topic) else {
            return;
        };
        if state.outstanding.len() >= MAX_OUTSTANDING_PER_ROOT
            && !broken(Rule::OldRequestsAreForgotten)
        {
            state.outstanding.pop_front();
        }
        state.outstanding.push_back(Outstanding {
            random0,
            ids: due.ids.clone(),
            ephemerals,
            sent: now,
            end,
        });
    }

    /// Records that a request was sent.
    pub(super) fn sent(&mut self, due: &Due, random0: &[u8; NONCE_LEN], now: Duration) {
        let interval = self.interval;
        let Some(state) = self.roots.get_mut(&due.root_topic) else {
            return;
        };
        state.blocked = None;
        for wanted in state.leaving(&due.ids) {
            wanted.asked(now, interval, random0[0]);
        }
    }

    /// Records that a request was not sent. The ids that it asked for are due again at `until`.
    pub(super) fn unsent(&mut self, due: &Due, random0: Option<&[u8; NONCE_LEN]>, until: Duration) {
        let Some(state) = self.roots.get_mut(&due.root_topic) else {
            return;
        };
        state.blocked = Some(until);
        state
            .leaving(&due.ids)
            .for_each(|wanted| wanted.leaving = false);
        state
            .outstanding
            .retain(|request| Some(&request.random0) != random0);
    }

    /// Sends no request until the time `until`, or until [`unblock`](Self::unblock) is called.
    pub(super) fn block(&mut self, until: Duration) {
        self.blocked = Some(until);
    }

    pub(super) fn unblock(&mut self) {
        self.blocked = None;
    }

    /// Returns the ephemeral keys of the request with this random value, if this node still accepts replies to it.
    pub(super) fn answerable(
        &self,
        root_topic: &RootTopic,
        random0: &[u8],
    ) -> Option<&Arc<[DecapsulationKey]>> {
        let mut outstanding = self.roots.get(root_topic)?.outstanding.iter();
        let request = outstanding.find(|request| request.random0 == *random0)?;
        Some(&request.ephemerals)
    }

    /// Returns the requests of a root topic to which this node still accepts replies: the random value and the
    /// ephemeral keys of each. The oldest request is the first.
    #[cfg(feature = "vectors")]
    pub(super) fn outstanding(
        &self,
        root_topic: &RootTopic,
    ) -> impl Iterator<Item = Answerable<'_>> {
        let requests = self.roots.get(root_topic).into_iter();
        let requests = requests.flat_map(|state| &state.outstanding);
        requests.map(|request| (&request.random0, &*request.ephemerals))
    }

    /// Records that `keys` were received in reply to the request with the random value `random0`. Returns the keys that
    /// were wanted and not yet known, and the time since the request was sent. If the request is no longer remembered,
    /// the time is zero. If `takes_all` is true, also returns the keys that are not wanted.
    pub(super) fn receive(
        &mut self,
        root_topic: &RootTopic,
        random0: &[u8],
        mut keys: Vec<(KeyId, DataKey)>,
        takes_all: bool,
        now: Duration,
    ) -> (Vec<(KeyId, DataKey)>, Duration) {
        let Some(state) = self.roots.get_mut(root_topic) else {
            keys.retain(|_| takes_all);
            return (keys, Duration::ZERO);
        };
        let mut outstanding = state.outstanding.iter();
        let request = outstanding.find(|request| request.random0 == *random0);
        let after = request.map_or(Duration::ZERO, |request| now.saturating_sub(request.sent));
        keys.retain(|(id, secret)| {
            let mut wanted = state.wanted.iter();
            let wanted = wanted.find(|wanted| wanted.id == *id);
            wanted.map_or(takes_all, |wanted| !wanted.known.hold(secret))
        });
        let received = |wanted: &WantedKey| keys.iter().any(|(id, _)| *id == wanted.id);
        for wanted in state.wanted.iter_mut().filter(|wanted| received(wanted)) {
            wanted.answered.get_or_insert(now);
        }
        state
            .wanted
            .retain(|wanted| !received(wanted) || !wanted.known.is_empty());
        if broken(Rule::EveryReplyCounts) && !keys.is_empty() {
            state
                .outstanding
                .retain(|request| request.random0 != *random0);
        }
        state.forget_answered();
        (keys, after)
    }

    /// Removes the wanted keys for which the wait for further replies has ended.
    pub(super) fn end_waits(&mut self, now: Duration) {
        for state in self.roots.values_mut() {
            let before = state.wanted.len();
            state
                .wanted
                .retain(|wanted| wanted.wait_ends().is_none_or(|end| end > now));
            if state.wanted.len() < before {
                state.forget_answered();
            }
        }
    }

    /// Returns the time at which the next wait for further replies ends.
    pub(super) fn next_wait_end(&self) -> Option<Duration> {
        let wanted = self.roots.values().flat_map(|state| &state.wanted);
        wanted.filter_map(WantedKey::wait_ends).min()
    }

    /// Returns a root topic with wanted keys for which it is not yet known whether this node's chain grants the topic.
    pub(super) fn ungranted(&self) -> Option<&RootTopic> {
        let mut roots = self.roots.iter();
        let unknown = roots.find(|(_, state)| state.grant.is_none() && !state.wanted.is_empty());
        unknown.map(|(root_topic, _)| root_topic)
    }

    pub(super) fn set_grant(&mut self, root_topic: &RootTopic, grant: Result<(), ChainError>) {
        if let Some(state) = self.roots.get_mut(root_topic) {
            state.grant = Some(grant);
        }
    }

    /// Forgets which topics this node's chain grants, so that the grants are looked up again.
    pub(super) fn forget_grants(&mut self) {
        self.roots.values_mut().for_each(|state| state.grant = None);
    }

    /// Returns the reason why a key is missing, or `None` if the key is not wanted.
    pub(super) fn why(&self, root_topic: &RootTopic, id: &KeyId, now: Duration) -> Option<Missing> {
        let state = self.roots.get(root_topic)?;
        let wanted = state.wanted.iter().find(|wanted| wanted.id == *id)?;
        Some(match state.own_fault() {
            Some(own) => own,
            None if wanted.is_unanswered(now, self.interval) => Missing::Unanswered,
            None => Missing::Asking,
        })
    }

    /// Returns, for each root topic with wanted keys, why these keys are missing.
    pub(super) fn missing(&self, now: Duration) -> Vec<MissingKeys> {
        let wanting = self.roots.iter();
        let wanting = wanting.filter(|(_, state)| !state.wanted.is_empty());
        wanting
            .map(|(root_topic, state)| MissingKeys {
                root_topic: root_topic.clone(),
                own: state.own_fault(),
                unanswered: state.unanswered(now, self.interval).collect(),
            })
            .collect()
    }

    /// Returns the next time at which another key begins to count as unanswered.
    pub(super) fn next_unanswered(&self, now: Duration) -> Option<Duration> {
        let wanted = self.roots.values().flat_map(|state| &state.wanted);
        let times = wanted.filter_map(|wanted| wanted.unanswered_from(self.interval));
        times.filter(|time| *time > now).min()
    }

    /// Returns the unanswered keys that have not been reported, by root topic, and marks them as reported.
    pub(super) fn newly_unanswered(&mut self, now: Duration) -> Vec<(RootTopic, Vec<KeyId>)> {
        let interval = self.interval;
        let newly = self.roots.iter_mut().map(|(root_topic, state)| {
            let unanswered: Vec<_> = state.unanswered(now, interval).collect();
            let before = std::mem::replace(&mut state.reported, unanswered.clone());
            let new = unanswered.into_iter().filter(|id| !before.contains(id));
            (root_topic.clone(), new.collect::<Vec<_>>())
        });
        newly.filter(|(_, ids)| !ids.is_empty()).collect()
    }

    /// Returns the number of wanted keys of each root topic.
    pub(super) fn counts(&self) -> BTreeMap<RootTopic, usize> {
        let wanting = self.roots.iter();
        let wanting = wanting.filter(|(_, state)| !state.wanted.is_empty());
        wanting
            .map(|(root_topic, state)| (root_topic.clone(), state.wanted.len()))
            .collect()
    }

    /// Returns the number of requests, of all root topics, to which this node still accepts replies.
    pub(super) fn all_outstanding(&self) -> usize {
        let roots = self.roots.values();
        roots.map(|state| state.outstanding.len()).sum()
    }

    /// Forgets keys that are no longer wanted and requests that have expired.
    fn forget(&mut self, now: Now) {
        let idle = self.interval.saturating_mul(FORGOTTEN_AFTER);
        self.roots.retain(|_, state| {
            state.wanted.retain(|wanted| {
                wanted.leaving || now.mono.saturating_sub(wanted.last_wanted) < idle
            });
            state
                .outstanding
                .retain(|request| !request.end.is_over(now.wall));
            state.forget_answered();
            !state.wanted.is_empty()
        });
    }
}

impl Root {
    fn new() -> Self {
        Self {
            wanted: VecDeque::new(),
            outstanding: VecDeque::new(),
            pace: ROOT_PACE,
            blocked: None,
            grant: None,
            reported: Vec::new(),
        }
    }

    fn want(&mut self, id: KeyId, known: Candidates, now: Duration) -> Wanted {
        if let Some(wanted) = self.wanted.iter_mut().find(|wanted| wanted.id == id) {
            wanted.last_wanted = now;
            wanted.known = known;
            return Wanted::Again;
        }
        if self.wanted.len() >= MAX_WANTED_PER_ROOT {
            let asked = self.wanted.iter().enumerate();
            let most_asked = asked
                .filter(|(_, wanted)| wanted.may_make_room(now))
                .max_by_key(|(index, wanted)| (wanted.asks, usize::MAX - index));
            match most_asked.map(|(index, _)| index) {
                Some(index) => self.wanted.remove(index),
                None => return Wanted::Full,
            };
        }
        self.wanted.push_back(WantedKey {
            id,
            known,
            last_wanted: now,
            first_asked: None,
            last_asked: None,
            asks: 0,
            next: now + GATHER_TIME,
            leaving: false,
            answered: None,
        });
        Wanted::First
    }

    /// Returns the time at which the next request may be sent, or `None` if there is no key to ask for.
    fn due(&self) -> Option<Duration> {
        let waiting = self.wanted.iter().filter(|wanted| wanted.waits());
        let first = waiting.map(|wanted| wanted.next).min()?;
        let blocked = self.blocked.unwrap_or_default();
        Some(first.max(self.pace.ready_at()).max(blocked))
    }

    /// Returns the ids for the next request: the ids that are due, and the ids that were last requested at least
    /// [`SECOND_ASK`] ago, so that each missing key is part of several requests.
    fn leave(&mut self, now: Duration) -> Vec<KeyId> {
        let waiting = self.wanted.iter_mut().filter(|wanted| wanted.waits());
        let asked_long_ago = |wanted: &WantedKey| {
            wanted
                .last_asked
                .is_some_and(|last| last + SECOND_ASK <= now)
        };
        let leaving = waiting.filter(|wanted| wanted.next <= now || asked_long_ago(wanted));
        leaving
            .map(|wanted| {
                wanted.leaving = true;
                wanted.id
            })
            .collect()
    }

    fn leaving(&mut self, ids: &[KeyId]) -> impl Iterator<Item = &mut WantedKey> {
        let wanted = self.wanted.iter_mut();
        wanted.filter(|wanted| wanted.leaving && ids.contains(&wanted.id))
    }

    /// Forgets the requests that asked only for keys that are no longer wanted, together with their ephemeral keys.
    fn forget_answered(&mut self) {
        let wanted = &self.wanted;
        self.outstanding
            .retain(|request| wanted.iter().any(|wanted| request.ids.contains(&wanted.id)));
    }

    fn own_fault(&self) -> Option<Missing> {
        match self.grant.as_ref()? {
            Ok(()) => None,
            Err(ChainError::Expired { .. }) => Some(Missing::Expired),
            Err(_) => Some(Missing::NotAuthorized),
        }
    }

    fn unanswered(&self, now: Duration, interval: Duration) -> impl Iterator<Item = KeyId> {
        let wanted = self.wanted.iter();
        let unanswered = wanted.filter(move |wanted| wanted.is_unanswered(now, interval));
        unanswered.map(|wanted| wanted.id)
    }
}

impl WantedKey {
    fn asked(&mut self, now: Duration, interval: Duration, random: u8) {
        self.leaving = false;
        self.asks += 1;
        self.last_asked = Some(now);
        let first = *self.first_asked.get_or_insert(now);
        self.next = match self.asks {
            1 => now + jittered(SECOND_ASK, random).min(interval),
            // The second request may have been sent late.
            2 => (first + jittered(THIRD_ASK, random))
                .max(now + jittered(SECOND_ASK, random))
                .min(now + interval),
            _ => now + interval,
        };
    }

    /// Returns whether the key must still be requested: no request for it is about to be sent, and no reply has brought
    /// it.
    fn waits(&self) -> bool {
        !self.leaving && self.answered.is_none()
    }

    /// Returns whether the key may be dropped for another one: the last request for it was sent at least
    /// [`KEEPS_PLACE`] ago, and no new request for it is about to be sent.
    fn may_make_room(&self, now: Duration) -> bool {
        let last = self.last_asked.filter(|_| !self.leaving);
        last.is_some_and(|last| last + KEEPS_PLACE <= now)
    }

    fn wait_ends(&self) -> Option<Duration> {
        Some(self.answered? + MORE_REPLIES)
    }

    fn is_unanswered(&self, now: Duration, interval: Duration) -> bool {
        self.unanswered_from(interval)
            .is_some_and(|from| from <= now)
    }

    /// Returns the time from which the key counts as unanswered. While further replies are accepted, it does not count
    /// as unanswered.
    fn unanswered_from(&self, interval: Duration) -> Option<Duration> {
        let first = self.first_asked.filter(|_| self.answered.is_none())?;
        Some(first + patience(interval))
    }
}

/// Returns the time after the first request at which a key counts as unanswered, if requests are repeated at
/// `interval`.
fn patience(interval: Duration) -> Duration {
    UNANSWERED_AFTER.min(interval.saturating_mul(3))
}

/// Returns a time that is longer than `time` by up to a tenth, so that consumers that started at the same time do not
/// continue to ask at the same time.
fn jittered(time: Duration, random: u8) -> Duration {
    time + time / 10 * u32::from(random) / 256
}

/// A pace that permits a burst of events, then one event in each period. It is a leaky bucket whose state is a single
/// time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    burst: u32,
    period: Duration,
    /// The time at which the bucket will be empty.
    empty_at: Duration,
}

impl Pace {
    /// Creates a pace of `burst` events at once, then one in each `period`.
    pub(super) const fn new(burst: u32, period: Duration) -> Self {
        Self {
            burst,
            period,
            empty_at: Duration::ZERO,
        }
    }

    /// Returns the time at which the next event is permitted.
    pub(super) fn ready_at(&self) -> Duration {
        let room = self.period * self.burst.saturating_sub(1);
        self.empty_at.saturating_sub(room)
    }

    /// Records an event.
    pub(super) fn take(&mut self, now: Duration) {
        self.empty_at = self.empty_at.max(now) + self.period;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_for_each_period() {
        let mut pace = Pace::new(4, Duration::from_secs(2));
        let mut sent = Vec::new();
        for tenth in 100..200_u64 {
            let now = Duration::from_millis(tenth * 100);
            while pace.ready_at() <= now {
                pace.take(now);
                sent.push(tenth);
            }
        }
        assert_eq!(sent[..7], [100, 100, 100, 100, 120, 140, 160]);
    }
}
