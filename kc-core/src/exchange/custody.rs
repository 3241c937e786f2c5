//! The part of an exchange that only custodians have: replies to forgotten requests, and answers that wait.
//!
//! A custodian answers a request at once if it holds all requested keys. If it holds only some of them, it waits for the
//! other nodes, and then answers with the keys that no valid reply has named: a peer may accept only the first reply to
//! a request, and the producers may know more.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::request::NONCE_LEN;
use super::seed::RequestSeed;
use crate::keys::VerifyingKey;
use crate::symmetric::sha256;
use crate::types::{KeyId, RootTopic};

/// The maximum number of answers that wait at the same time. A further answer does not wait. Test:
/// `waiting_answers_are_bounded`.
const MAX_WAITING_ANSWERS: usize = 1024;
/// The maximum number of keys that are remembered because a node was not given them. At this number, the oldest is
/// forgotten for each new one.
const MAX_LEFT_OUT: usize = 4096;
/// The maximum size in bytes of the records of waiting answers. Beyond it, an answer does not wait.
const MAX_WAITING_ANSWER_BYTES: usize = 16 << 20;
/// The maximum number of processed replies that are remembered, so that copies of them cost nothing. At this number, the
/// oldest is forgotten for each new one.
const MAX_PROCESSED: usize = 4096;

/// What an exchange has as a custodian.
#[derive(Debug)]
pub(super) struct Custody<T> {
    /// The newest is the first.
    seeds: Vec<Arc<RequestSeed>>,
    wait: Duration,
    waiting: Vec<WaitingAnswer<T>>,
    /// The keys that were left out of an answer because a reply had named them. If the same node asks for such a key
    /// again, that reply has not helped it: it may have been forged from another valid reply.
    left_out: VecDeque<(RootTopic, KeyId, VerifyingKey)>,
    /// The hashes of the processed replies to requests of this node.
    processed: VecDeque<[u8; 32]>,
}

/// An answer that waits.
#[derive(Debug)]
struct WaitingAnswer<T> {
    due: Duration,
    root_topic: RootTopic,
    random0: Vec<u8>,
    requester: VerifyingKey,
    /// The ids of the keys in the answer.
    held: BTreeSet<KeyId>,
    /// Those of them that valid replies to the same request have named.
    named: BTreeSet<KeyId>,
    /// The size of the request in bytes.
    len: usize,
    task: T,
}

/// A request whose answer may have to wait.
#[derive(Debug)]
pub(super) struct Asked<'r> {
    pub(super) root_topic: &'r RootTopic,
    pub(super) random0: &'r [u8],
    pub(super) requester: &'r VerifyingKey,
    /// The size of the request in bytes.
    pub(super) len: usize,
}

impl<T> Custody<T> {
    pub(super) fn new(seeds: Vec<RequestSeed>, wait: Duration) -> Self {
        Self {
            seeds: seeds.into_iter().map(Arc::new).collect(),
            wait,
            waiting: Vec::new(),
            left_out: VecDeque::new(),
            processed: VecDeque::new(),
        }
    }

    /// Returns whether the seeds are known. Without them, this node cannot recognise the replies to its requests.
    pub(super) fn is_ready(&self) -> bool {
        !self.seeds.is_empty()
    }

    /// Records that a reply to a request of this node was processed.
    pub(super) fn note_processed(&mut self, reply: &[u8]) {
        if self.processed.len() >= MAX_PROCESSED {
            self.processed.pop_front();
        }
        self.processed.push_back(sha256(&[reply]));
    }

    /// Returns whether a copy of this reply was processed.
    pub(super) fn has_processed(&self, reply: &[u8]) -> bool {
        self.processed.contains(&sha256(&[reply]))
    }

    /// Replaces the seeds. Answers that wait are not affected.
    pub(super) fn renew(&mut self, seeds: Vec<RequestSeed>, wait: Duration) {
        self.seeds = seeds.into_iter().map(Arc::new).collect();
        self.wait = wait;
    }

    /// Returns the seed for a new request.
    pub(super) fn seed(&self) -> Option<&Arc<RequestSeed>> {
        self.seeds.first()
    }

    /// Returns the seed that made the random value of a request.
    pub(super) fn maker(
        &self,
        root_topic: &RootTopic,
        random0: &[u8],
    ) -> Option<(&Arc<RequestSeed>, [u8; NONCE_LEN])> {
        let random0: [u8; NONCE_LEN] = random0.try_into().ok()?;
        let mut seeds = self.seeds.iter();
        let made = seeds.find(|seed| seed.made(root_topic, &random0));
        Some((made?, random0))
    }

    /// Returns the time at which a request for `ids` is answered, or `None` if it is answered at once: this node holds
    /// all keys, one of them was left out of an earlier answer to the same node, or too many answers wait.
    pub(super) fn due(
        &self,
        asked: &Asked<'_>,
        ids: &[KeyId],
        held: &BTreeSet<KeyId>,
        now: Duration,
    ) -> Option<Duration> {
        let is_complete = ids.iter().all(|id| held.contains(id));
        let bytes = asked.len + self.waiting.iter().map(|answer| answer.len).sum::<usize>();
        let is_full = self.waiting.len() >= MAX_WAITING_ANSWERS || bytes > MAX_WAITING_ANSWER_BYTES;
        if is_complete || is_full || self.were_left_out(asked, held) {
            return None;
        }
        let jitter = self.seed().map_or(0, |seed| seed.jitter(asked.random0));
        Some(now + self.wait / 2 + self.wait * u32::from(jitter) / 256)
    }

    /// Lets an answer wait until it is [`due`](Self::due).
    pub(super) fn wait(
        &mut self,
        asked: &Asked<'_>,
        held: BTreeSet<KeyId>,
        due: Duration,
        task: T,
    ) {
        self.waiting.push(WaitingAnswer {
            due,
            root_topic: asked.root_topic.clone(),
            random0: asked.random0.to_vec(),
            requester: asked.requester.clone(),
            held,
            named: BTreeSet::new(),
            len: asked.len,
            task,
        });
    }

    /// Returns whether an answer to the request with this random value waits.
    pub(super) fn waits(&self, root_topic: &RootTopic, random0: &[u8]) -> bool {
        let mut waiting = self.waiting.iter();
        waiting.any(|answer| answer.answers(root_topic, random0))
    }

    /// Records that a valid reply to a request has named keys.
    pub(super) fn note_reply(&mut self, root_topic: &RootTopic, random0: &[u8], ids: &[KeyId]) {
        let waiting = self.waiting.iter_mut();
        for answer in waiting.filter(|answer| answer.answers(root_topic, random0)) {
            let named = ids.iter().filter(|id| answer.held.contains(id));
            answer.named.extend(named.copied());
        }
    }

    /// Returns the time at which the next answer is due, of the root topics that satisfy `may`.
    pub(super) fn next_due(&self, may: impl Fn(&RootTopic) -> bool) -> Option<Duration> {
        let waiting = self.waiting.iter().filter(|answer| may(&answer.root_topic));
        waiting.map(|answer| answer.due).min()
    }

    /// Returns the place of an answer that is due, of the root topics that satisfy `may`.
    pub(super) fn find_due(
        &self,
        now: Duration,
        may: impl Fn(&RootTopic) -> bool,
    ) -> Option<usize> {
        let mut waiting = self.waiting.iter();
        waiting.position(|answer| answer.due <= now && may(&answer.root_topic))
    }

    /// Takes the answer at a place. `leave_out` receives the ids that other nodes have sent, and returns those that it
    /// removed from the answer.
    pub(super) fn take(
        &mut self,
        place: usize,
        leave_out: impl FnOnce(&mut T, &BTreeSet<KeyId>) -> Vec<KeyId>,
    ) -> T {
        let mut answer = self.waiting.swap_remove(place);
        for id in leave_out(&mut answer.task, &answer.named) {
            if self.left_out.len() >= MAX_LEFT_OUT {
                self.left_out.pop_front();
            }
            let (root_topic, requester) = (answer.root_topic.clone(), answer.requester.clone());
            self.left_out.push_back((root_topic, id, requester));
        }
        answer.task
    }

    /// Returns whether one of the keys was left out of an earlier answer to the same node.
    fn were_left_out(&self, asked: &Asked<'_>, held: &BTreeSet<KeyId>) -> bool {
        let mut left_out = self.left_out.iter();
        left_out.any(|(root_topic, id, requester)| {
            (root_topic, requester) == (asked.root_topic, asked.requester) && held.contains(id)
        })
    }
}

impl<T> WaitingAnswer<T> {
    fn answers(&self, root_topic: &RootTopic, random0: &[u8]) -> bool {
        self.root_topic == *root_topic && self.random0 == random0
    }
}
