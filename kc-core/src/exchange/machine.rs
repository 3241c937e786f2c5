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
use super::custody::Custody;
use super::event::{ExchangeEvent, Missing, MissingKeys, RefusalId, Sender};
use super::jobs::{Failure, Job, Output, Ticket};
use super::replays::Replays;
use super::request::Validity;
use super::seed::RequestSeed;
use super::wants::{Wanted, Wants};
use crate::backend::BackendError;
use crate::chain::UnverifiedChain;
use crate::failure_log::{FailureLog, REFUSAL_INTERVAL};
use crate::kem::Suite;
use crate::keys::VerifyingKey;
use crate::ratchet::{Candidates, DataKey};
use crate::sabotage::{Rule, broken};
use crate::types::{KeyId, Now, RootTopic, SideTopic};

/// The maximum number of jobs that run at once. Test: `jobs_of_all_root_topics_together_are_bounded`.
pub const MAX_TICKETS: usize = 64;
/// The maximum number of jobs that run at once for one root topic. Test:
/// `a_flood_of_requests_stays_within_the_bounds_and_holds_up_no_other_root_topic`.
pub const MAX_TICKETS_PER_ROOT: usize = 8;
/// The maximum number of records that wait to be processed. Further records are dropped: their positions may be
/// committed, but the records are not processed. Test:
/// `a_flood_of_requests_stays_within_the_bounds_and_holds_up_no_other_root_topic`.
pub const MAX_WAITING_RECORDS: usize = 4096;
/// The maximum size of all waiting records together, in bytes. Further records are dropped: their positions may be
/// committed, but the records are not processed. Test: `waiting_records_are_bounded_in_bytes`.
pub const MAX_WAITING_BYTES: usize = 32 << 20;
/// The maximum number of attempts to process a record. A further attempt can succeed if an actor failed and has been
/// replaced.
const MAX_ATTEMPTS: u32 = 3;
/// The delay before another attempt to run a job that failed, unless only an operator can correct the error.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The delay after an error that only an operator can correct. It is long because frequent attempts with a wrong
/// password, for example, can lock an account.
const FATAL_DELAY: Duration = Duration::from_secs(60);

/// The configuration of an [`Exchange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeConfig {
    /// The key exchanges that the node accepts, and offers in this order of preference.
    pub suites: Vec<Suite>,
    /// True if the node also sends requests in the legacy form, which old peers understand.
    pub legacy: bool,
    /// The validity of requests and replies that the node signs.
    pub validity: Validity,
    /// The time between repeated requests for a key (`CRYPTO_SUB_INTERVAL`).
    pub interval: Duration,
}

/// The number by which the caller identifies a record: not the offset of the record in Kafka. The exchange returns it
/// in [`Effect::Settled`] when it no longer needs the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// An input of an [`Exchange`].
#[derive(Debug)]
pub enum Input {
    /// A record of a side topic.
    Record {
        /// The position of the record.
        position: Position,
        /// The root topic.
        root_topic: RootTopic,
        /// The side topic of the record.
        side: SideTopic,
        /// The Kafka key.
        kafka_key: Vec<u8>,
        /// The Kafka value.
        value: Vec<u8>,
    },
    /// A record needs a key that this node does not have. The known keys with the same id, if any, do not open the
    /// record.
    Want {
        /// The root topic.
        root_topic: RootTopic,
        /// The id of the key.
        id: KeyId,
        /// The known keys with this id, which do not open the record.
        known: Candidates,
    },
    /// A key is no longer needed, because this node got it in another way.
    Unwant(RootTopic, KeyId),
    /// This node seals records of a root topic. The exchange begins to read the requests for this topic's keys.
    Serve(RootTopic),
    /// This node is a custodian from now on, or has other seeds than before. Without seeds, it sends no requests, and
    /// replies wait. It derives its requests from the first seed,
    /// and opens the replies to all requests that one of the seeds has made, even if it no longer wants their keys. A
    /// request of which it holds only some keys is answered after about `wait`, with the keys that no other node has
    /// sent meanwhile.
    Custody {
        /// The seeds of requests, the newest first.
        seeds: Vec<RequestSeed>,
        /// The time for which an incomplete answer waits: half of it to one and a half times it.
        wait: Duration,
    },
    /// The lists or the node's own chains changed. The exchange validates the chains of records in progress again. If a
    /// reply or a forwarded request is already being signed or sent, what has not been sent is dropped instead; the
    /// requester asks again. The exchange also looks up again which of the node's own chains are valid and which topics
    /// they grant.
    TrustChanged,
    /// The result of a job.
    Done(Ticket, Result<Output, Failure>),
}

/// An action for the caller. The caller must perform the actions in the order in which it gets them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Run a job and pass its result as an input.
    Run(Ticket, Job),
    /// Add received keys to the keys with which this node opens records. The next two effects are the report of the keys,
    /// and [`Settled`](Self::Settled) with the position of the reply that brought them.
    Table(KeyTableChange),
    /// Publish the reasons why keys are missing: an entry for each root topic with missing keys.
    Missing(Vec<MissingKeys>),
    /// A record has been processed or dropped. Its position may be committed.
    Settled(Position),
    /// Report an event.
    Report(ExchangeEvent),
}

/// Received keys.
#[derive(Debug)]
pub struct KeyTableChange {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The keys, each with its id.
    pub keys: Vec<(KeyId, DataKey)>,
    /// The keys that signed the certificates of the sender's chain: the root of trust first, the sender's own key last.
    pub giver: Arc<[VerifyingKey]>,
}

/// The state machine of the key exchange (protocol §7): requester, replier and forwarder in one.
///
/// It owns the wanted keys, the requests, the answered requests and the work in progress, and takes all decisions
/// about them. The caller runs its jobs: validation, signing, key exchanges and sending.
///
/// Until a trusted signature has verified, an input costs only parsing and lookups.
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
    /// The number of waiting records and their size in bytes.
    waiting_records: (usize, usize),
    /// Tasks that wait for the node's own identities.
    unsigned: Vec<Task>,
    /// The node's own identities, with the time of the lookup.
    identities: Option<(Duration, OwnIdentities)>,
    readings: BTreeMap<(RootTopic, SideTopic), Reading>,
    /// `None` if the node is not a custodian.
    custody: Option<Custody<Task>>,
    /// Tasks to try again, with the time of the next attempt.
    retries: Vec<(Duration, Task)>,
    /// The number of changes of trust ([`Input::TrustChanged`]) so far.
    trust: u64,
    refusals: FailureLog<(RootTopic, SideTopic), RefusalId>,
    /// Limits the logging of the failure that no identity of the node is valid.
    invalid: FailureLog<()>,
    /// The time at which the reasons why keys are missing must be published again. A change of the reasons sets it to
    /// the present time.
    missing_due: Option<Duration>,
    effects: VecDeque<Effect>,
}

impl Exchange {
    /// Creates an exchange without wanted keys or answered requests.
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
            custody: None,
            retries: Vec::new(),
            trust: 0,
            refusals: FailureLog::new(REFUSAL_INTERVAL),
            invalid: FailureLog::new(REFUSAL_INTERVAL),
            missing_due: None,
            effects: VecDeque::new(),
        }
    }

    /// Takes an input. [`poll_effect`](Self::poll_effect) returns the resulting actions.
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
            Input::Serve(root_topic) => {
                if self.custody.is_some() {
                    self.read(root_topic.clone(), SideTopic::Keys, now);
                }
                self.read(root_topic, SideTopic::Requests, now);
            }
            Input::Custody { seeds, wait } => match &mut self.custody {
                Some(custody) => custody.renew(seeds, wait),
                None => self.custody = Some(Custody::new(seeds, wait)),
            },
            Input::TrustChanged => {
                self.trust += u64::from(!broken(Rule::ChangedListsCount));
                self.identities = None;
                self.wants.unblock();
                self.wants.forget_grants();
            }
            Input::Done(ticket, result) => {
                // Otherwise the job was given up, or never existed.
                if let Some((_, task)) = self.tasks.remove(&ticket) {
                    self.resume(task, result, now);
                }
            }
        }
    }

    /// Returns the next action, or `None` if there is none left. After each input, and when the time that
    /// [`next_timeout`](Self::next_timeout) returned has passed, the caller repeats the call until the result is
    /// `None`.
    pub fn poll_effect(&mut self, now: Now) -> Option<Effect> {
        self.wants.end_waits(now.mono);
        loop {
            if let Some(effect) = self.effects.pop_front() {
                return Some(effect);
            }
            let moved = self.give_up_late(now)
                || self.retry(now)
                || self.answer_waiting(now)
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

    /// Returns the time from now after which [`poll_effect`](Self::poll_effect) must be called if there is no input.
    /// Returns `None` if nothing is due.
    #[must_use]
    pub fn next_timeout(&self, now: Now) -> Option<Duration> {
        let jobs = self.tasks.values().map(|(deadline, _)| *deadline);
        let retries = self.retries.iter().map(|(due, _)| *due);
        let readings = self.next_readings().map(|(_, due)| due);
        let asking = self
            .wants
            .next_due(|root_topic| self.has_ticket(root_topic));
        let asking = asking.map(|(due, _)| due).filter(|_| !self.lacks_seeds());
        let times = jobs.chain(retries).chain(readings);
        let times = times.chain(asking).chain(self.missing_due);
        let times = times.chain(self.wants.next_wait_end());
        let custody = self.custody.as_ref();
        let answers = custody.and_then(|custody| custody.next_due(|root| self.has_ticket(root)));
        let times = times.chain(answers);
        let next = times.min()?;
        Some(next.saturating_sub(now.mono))
    }

    /// Returns the reason why a key is missing, or `None` if the key is not wanted.
    #[must_use]
    pub fn why(&self, root_topic: &RootTopic, id: &KeyId, now: Now) -> Option<Missing> {
        self.wants.why(root_topic, id, now.mono)
    }

    /// Returns the reasons why keys are missing: an entry for each root topic with missing keys.
    #[must_use]
    pub fn missing(&self, now: Now) -> Vec<MissingKeys> {
        self.wants.missing(now.mono)
    }

    /// Returns the number of wanted keys of each root topic.
    #[must_use]
    pub fn wanted(&self) -> BTreeMap<RootTopic, usize> {
        self.wants.counts()
    }

    /// Returns the number of requests, of all root topics, to which this node still accepts replies.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.wants.all_outstanding()
    }

    /// Returns the requests of a root topic to which this node still accepts replies: the random value and the
    /// ephemeral keys of each. The oldest request is the first.
    #[cfg(feature = "vectors")]
    pub fn outstanding_of(
        &self,
        root_topic: &RootTopic,
    ) -> impl Iterator<Item = super::wants::Answerable<'_>> {
        self.wants.outstanding(root_topic)
    }

    /// Returns the number of running jobs plus the number of tasks that wait for the node's own identities.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tasks.len() + self.unsigned.len()
    }

    /// Returns whether this node is a custodian that does not have its seeds yet. It then sends no request and processes
    /// no reply.
    fn lacks_seeds(&self) -> bool {
        self.custody
            .as_ref()
            .is_some_and(|custody| !custody.is_ready())
    }

    /// Returns the number of answered requests that are remembered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.answered.len()
    }

    fn refuse_unverified(&mut self, task: &Task, record: &Record, refusal: Refusal, now: Now) {
        let claimed = claimed_sender(&record.value);
        let sender = claimed.map_or(Sender::Unknown, Sender::Claimed);
        self.refuse(task, record.side, sender, refusal, now);
    }

    fn refuse(&mut self, task: &Task, side: SideTopic, sender: Sender, refusal: Refusal, now: Now) {
        let topic = (task.root_topic.clone(), side);
        let report = self.refusals.fail(topic, refusal.id(), now.mono);
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

/// Returns the key that, according to the record, signed the last certificate. Nothing is verified.
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
