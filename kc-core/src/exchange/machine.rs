mod asking;
mod dispatch;
mod records;
mod serving;
mod tasks;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::records::Reading;
use self::serving::OwnIdentities;
use self::tasks::{Record, Task};
use super::Refusal;
use super::event::{ExchangeEvent, Missing, MissingKeys, RefusalId, Sender};
use super::jobs::{Failure, Job, Output, Ticket};
use super::replays::Replays;
use super::request::{NONCE_LEN, Validity};
use super::wants::{Wanted, Wants};
use crate::backend::BackendError;
use crate::chain::UnverifiedChain;
use crate::flood::FloodLimit;
use crate::kem::{DecapsulationKey, Suite};
use crate::keys::VerifyingKey;
use crate::ratchet::{Candidates, TopicSecret};
use crate::sabotage::{Rule, broken};
use crate::types::{KeyId, Now, RootTopic, SideTopic};

/// How many jobs run at once.
pub const MAX_TICKETS: usize = 64;
/// How many of them for one root topic.
pub const MAX_TICKETS_PER_ROOT: usize = 8;
/// How many records wait for a ticket, and how many bytes they have; beyond, they are passed over.
pub const MAX_WAITING_RECORDS: usize = 4096;
/// See [`MAX_WAITING_RECORDS`].
pub const MAX_WAITING_BYTES: usize = 32 << 20;
/// How often what a record needs is tried: somebody else may have taken an actor's place.
const MAX_ATTEMPTS: u32 = 3;
/// How long to wait before a topic that cannot be reached is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The same where only a person can help: a password that is tried again and again locks an account.
const FATAL_DELAY: Duration = Duration::from_secs(60);

/// How an [`Exchange`] works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeConfig {
    /// The key exchanges to offer and to accept, in order of preference.
    pub suites: Vec<Suite>,
    /// Whether to send the bare form of old peers, too.
    pub legacy: bool,
    /// How long what it signs is valid.
    pub validity: Validity,
    /// The time between requests for keys that nobody gives (`CRYPTO_SUB_INTERVAL`).
    pub interval: Duration,
}

/// The place of a record, as who reads it counts: given back when the record is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// What an [`Exchange`] takes.
#[derive(Debug)]
pub enum Input {
    /// A record of a side topic.
    Record {
        /// Its place.
        position: Position,
        /// The root topic.
        root_topic: RootTopic,
        /// Which of its side topics.
        side: SideTopic,
        /// The Kafka key.
        kafka_key: Vec<u8>,
        /// The Kafka value.
        value: Vec<u8>,
    },
    /// A record needs a key other than those that are known with its id.
    Want {
        /// The root topic.
        root_topic: RootTopic,
        /// The key.
        id: KeyId,
        /// The keys with this id that are here and do not open it.
        known: Candidates,
    },
    /// A key is not needed any more: it came from elsewhere.
    Unwant(RootTopic, KeyId),
    /// This node seals for a root topic: its requests are to be read.
    Serve(RootTopic),
    /// The lists or the node's own chains changed: what was validated before is validated again.
    TrustChanged,
    /// The result of a job.
    Done(Ticket, Result<Output, Failure>),
}

/// What is to be done, in order.
#[derive(Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Do a job, and hand its result in.
    Run(Ticket, Job),
    /// Add keys to those that open.
    Table(KeyTableChange),
    /// Tell those who open why keys are missing: for all root topics of which some are.
    Missing(Vec<MissingKeys>),
    /// A record is done with: its position may be committed.
    Settled(Position),
    /// Tell people.
    Report(ExchangeEvent),
}

/// Keys that came in.
#[derive(Debug)]
pub struct KeyTableChange {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The keys.
    pub keys: Vec<(KeyId, TopicSecret)>,
    /// The keys along the chain that gave them, the root of trust first.
    pub giver: Arc<[VerifyingKey]>,
}

/// The key exchange (protocol §7): requester, replier and forwarder in one. Owns what is wanted, what was asked, what was
/// answered and what is under way, and decides all that follows; others validate, sign, compute and send for it.
///
/// Until a trusted signature verifies, an input costs peeks and lookups only.
#[derive(Debug)]
pub struct Exchange {
    config: ExchangeConfig,
    suites: Arc<[Suite]>,
    wants: Wants,
    answered: Replays,
    forwarded: Replays,
    tasks: BTreeMap<Ticket, (Duration, Task)>,
    next_ticket: u64,
    waiting: BTreeMap<RootTopic, VecDeque<Task>>,
    /// How many records wait in all, with their bytes.
    waiting_records: (usize, usize),
    /// Tasks that wait for the node's own identities.
    unsigned: Vec<Task>,
    /// The node's own identities, and when they were looked up.
    identities: Option<(Duration, OwnIdentities)>,
    readings: BTreeMap<(RootTopic, SideTopic), Reading>,
    /// Sends that are tried again at a time.
    retries: Vec<(Duration, Task)>,
    /// How often the lists have changed.
    trust: u64,
    refusals: FloodLimit<(RootTopic, SideTopic, RefusalId)>,
    invalid: FloodLimit<()>,
    /// When to tell again why keys are missing; at once if something changed.
    missing_due: Option<Duration>,
    effects: VecDeque<Effect>,
}

impl Exchange {
    /// An exchange that wants nothing and has answered nothing.
    #[must_use]
    pub fn new(config: ExchangeConfig) -> Self {
        Self {
            suites: config.suites.as_slice().into(),
            wants: Wants::new(config.interval),
            config,
            answered: Replays::default(),
            forwarded: Replays::default(),
            tasks: BTreeMap::new(),
            next_ticket: 0,
            waiting: BTreeMap::new(),
            waiting_records: (0, 0),
            unsigned: Vec::new(),
            identities: None,
            readings: BTreeMap::new(),
            retries: Vec::new(),
            trust: 0,
            refusals: FloodLimit::default(),
            invalid: FloodLimit::default(),
            missing_due: None,
            effects: VecDeque::new(),
        }
    }

    /// Takes an input. What it leads to comes from [`poll_effect`](Self::poll_effect).
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Record {
                position,
                root_topic,
                side,
                kafka_key,
                value,
            } => self.enqueue(
                position,
                root_topic,
                Record {
                    side,
                    kafka_key: kafka_key.into(),
                    value: value.into(),
                },
            ),
            Input::Want {
                root_topic,
                id,
                known,
            } => match self.wants.want(&root_topic, id, known, now) {
                Wanted::First => self.missing_due = Some(now.mono),
                Wanted::Again => {}
                Wanted::Full => self.report(ExchangeEvent::BoundHit),
            },
            Input::Unwant(root_topic, id) => {
                self.wants.unwant(&root_topic, &id);
                self.missing_due = Some(now.mono);
            }
            Input::Serve(root_topic) => self.read(root_topic, SideTopic::Requests, now),
            Input::TrustChanged => {
                self.trust += u64::from(!broken(Rule::ChangedListsCount));
                self.identities = None;
                self.wants.unblock();
                self.wants.forget_grants();
            }
            Input::Done(ticket, result) => {
                // Given up, or never given out.
                if let Some((_, task)) = self.tasks.remove(&ticket) {
                    self.resume(task, result, now);
                }
            }
        }
    }

    /// The next thing to do; call until it gives `None`, after each input and when
    /// [`next_timeout`](Self::next_timeout) says so.
    pub fn poll_effect(&mut self, now: Now) -> Option<Effect> {
        self.wants.end_waits(now.mono);
        loop {
            if let Some(effect) = self.effects.pop_front() {
                return Some(effect);
            }
            let moved = self.give_up_late(now)
                || self.retry(now)
                || self.start_waiting(now)
                || self.begin_reading(now)
                || self.look_up_grant(now)
                || self.ask(now)
                || self.tell_missing(now);
            if !moved {
                return None;
            }
        }
    }

    /// When to call [`poll_effect`](Self::poll_effect) if nothing happens, from now on; `None` if there is nothing to wait
    /// for.
    #[must_use]
    pub fn next_timeout(&self, now: Now) -> Option<Duration> {
        let jobs = self.tasks.values().map(|(deadline, _)| *deadline);
        let retries = self.retries.iter().map(|(due, _)| *due);
        let readings = self.readings.values().filter_map(|reading| match reading {
            Reading::Due(due) if self.running() < MAX_TICKETS => Some(*due),
            _ => None,
        });
        let asking = self
            .wants
            .next_due(|root_topic| self.has_ticket(root_topic));
        let asking = asking.map(|(due, _)| due);
        let times = jobs.chain(retries).chain(readings);
        let times = times.chain(asking).chain(self.missing_due);
        let times = times.chain(self.wants.next_wait_end());
        let next = times.min()?;
        Some(next.saturating_sub(now.mono))
    }

    /// Why a key is missing; `None` if it is not wanted.
    #[must_use]
    pub fn why(&self, root_topic: &RootTopic, id: &KeyId, now: Now) -> Option<Missing> {
        self.wants.why(root_topic, id, now.mono)
    }

    /// Why keys are missing, for all root topics of which some are.
    #[must_use]
    pub fn missing(&self, now: Now) -> Vec<MissingKeys> {
        self.wants.missing(now.mono)
    }

    /// How many keys are wanted, by root topic.
    #[must_use]
    pub fn wanted(&self) -> BTreeMap<RootTopic, usize> {
        self.wants.counts()
    }

    /// How many requests can still be answered, over all root topics.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.wants.all_outstanding()
    }

    /// The requests of a root topic that can still be answered, the oldest first: the random value and the ephemeral
    /// keys of each.
    pub fn outstanding_of(
        &self,
        root_topic: &RootTopic,
    ) -> impl Iterator<Item = (&[u8; NONCE_LEN], &[DecapsulationKey])> {
        self.wants.outstanding(root_topic)
    }

    /// How many jobs run, or will as soon as the node's own identities are known.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tasks.len() + self.unsigned.len()
    }

    /// How many answered requests are remembered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.answered.len()
    }

    // Refusals and reports.

    fn refuse_unverified(&mut self, task: &Task, record: &Record, refusal: Refusal, now: Now) {
        let claimed = claimed_sender(&record.value);
        let sender = claimed.map_or(Sender::Unknown, Sender::Claimed);
        self.refuse(task, record.side, sender, refusal, now);
    }

    fn refuse(&mut self, task: &Task, side: SideTopic, sender: Sender, refusal: Refusal, now: Now) {
        let what = (task.root_topic.clone(), side, refusal.id());
        let report = self.refusals.count(what, now.mono);
        self.report(ExchangeEvent::Refused {
            root_topic: task.root_topic.clone(),
            side,
            sender,
            refusal,
            report,
        });
        self.settle(task.position);
    }

    fn report(&mut self, event: ExchangeEvent) {
        self.effects.push_back(Effect::Report(event));
    }

    fn settle(&mut self, position: Option<Position>) {
        self.effects.extend(position.map(Effect::Settled));
    }
}

/// The key that signs requests and replies in the place of who sent this, before anything is verified.
fn claimed_sender(value: &[u8]) -> Option<VerifyingKey> {
    let chain = UnverifiedChain::parse(value).ok()?;
    chain.peek_signer()
}

fn retry_delay(error: Option<&BackendError>, usual: Duration) -> Duration {
    match error {
        Some(error) if error.is_fatal() => FATAL_DELAY.max(usual),
        _ => usual,
    }
}
