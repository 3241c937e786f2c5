use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::event::{ExchangeEvent, Missing, MissingKeys, Party, Sender};
use super::jobs::{AnswerJob, Failure, Job, KemJob, KemOutput, OutRecord, Output, Ticket};
use super::refusal::RefusalId;
use super::replays::{Replays, RequestId};
use super::reply::KeyReply;
use super::request::{
    KeyRequest, NONCE_LEN, RequestForm, decode_key_ids, encode_key_ids, request_certificate,
};
use super::validity::Validity;
use super::wants::{Due, Wanted, Wants};
use super::{Refusal, forward_request};
use crate::backend::BackendError;
use crate::chain::{
    Certificate, ChainError, ToBeSigned, UnverifiedChain, Usage, ValidIdentity, ValidatedChain,
};
use crate::flood::FloodLimit;
use crate::kem::{DecapsulationKey, PublicKey, Suite};
use crate::keys::VerifyingKey;
use crate::ratchet::{Candidates, TopicSecret};
use crate::sabotage::{Rule, broken};
use crate::types::{KeyId, Now, RootTopic, SideTopic};

/// How many jobs run at once.
pub const MAX_TICKETS: usize = 64;
/// How many of them for one root topic.
pub const MAX_TICKETS_PER_ROOT: usize = 8;
/// How many of both are left to what this node asks for itself.
const OWN_TICKETS: usize = 16;
const OWN_TICKETS_PER_ROOT: usize = 2;
/// How many records wait for a ticket, and how many bytes they have; beyond, they are passed over.
pub const MAX_WAITING_RECORDS: usize = 4096;
/// See [`MAX_WAITING_RECORDS`].
pub const MAX_WAITING_BYTES: usize = 32 << 20;
/// How often what a record needs is tried: somebody else may have taken an actor's place.
const MAX_ATTEMPTS: u32 = 3;
/// How long to wait before a topic that cannot be reached is tried again.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// The same for reading a topic.
const READ_RETRY_DELAY: Duration = Duration::from_secs(2);
/// The same where only a person can help: a password that is tried again and again locks an account.
const FATAL_DELAY: Duration = Duration::from_secs(60);
/// How long the node's own identities are good for before they are looked up again.
const IDENTITIES_AGE: Duration = Duration::from_secs(1);

const ASKING: &[Usage] = &[Usage::EncryptRequest, Usage::EncryptSubscribe];

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
        root: RootTopic,
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
        root: RootTopic,
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
    pub root: RootTopic,
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

type OwnIdentities = Result<Arc<[ValidIdentity]>, ChainError>;

/// Whether a side topic is read.
#[derive(Clone, Copy, Debug)]
enum Reading {
    /// Not yet; to be tried then.
    Due(Duration),
    /// It is being tried.
    Beginning,
    Begun,
}

/// Something under way, with what it needs to go on.
#[derive(Debug)]
struct Task {
    root: RootTopic,
    position: Option<Position>,
    attempts: u32,
    /// Whether a request in bare form has let those go first that came with it.
    is_behind_lists: bool,
    /// How often the lists had changed when its chain was validated.
    trust: u64,
    step: Step,
}

#[derive(Debug)]
enum Step {
    /// What is to be done next is being decided.
    Taken,
    /// A record, not looked at yet.
    Record(Record),
    ValidateReply(Record),
    OpenReply(Record, Arc<[VerifyingKey]>, Party, Vec<u8>),
    LookUpHeld(Record, RequestId),
    ValidateRequest(Record, RequestId, Vec<(KeyId, TopicSecret)>),
    /// A request that may be answered, until this node's identities are known.
    Compose(
        Record,
        RequestId,
        Arc<KeyRequest>,
        Vec<(KeyId, TopicSecret)>,
    ),
    Answer(Record, RequestId, Arc<KeyRequest>, Vec<KeyId>),
    ValidateForward(Record, RequestId),
    Forward(Record, RequestId, Arc<KeyRequest>),
    /// A request of this node's, until its identities are known.
    Ask(Due),
    Draw(Due, Arc<[ValidIdentity]>),
    Dispatch(Dispatch),
    LookUpIdentities,
    LookUpGrant,
    BeginReading(SideTopic),
}

/// A record of a side topic.
#[derive(Clone, Debug)]
struct Record {
    side: SideTopic,
    kafka_key: Arc<[u8]>,
    value: Arc<[u8]>,
}

/// Messages that are signed and sent one after the other.
#[derive(Debug)]
struct Dispatch {
    purpose: Purpose,
    kafka_key: Arc<[u8]>,
    unsigned: VecDeque<(Arc<ToBeSigned>, Vec<SideTopic>)>,
    /// The one being sent, and where to.
    signed: Option<(Arc<[u8]>, VecDeque<SideTopic>)>,
    /// Whether one was sent to whom it concerns.
    sent: bool,
    /// Why one could not be.
    error: Option<BackendError>,
}

#[derive(Debug)]
enum Purpose {
    Ask {
        due: Due,
        random0: [u8; NONCE_LEN],
        direct: bool,
    },
    Answer {
        id: RequestId,
        ids: Vec<KeyId>,
        requester: Party,
    },
    Forward {
        id: RequestId,
        ids: Vec<KeyId>,
        requester: Party,
    },
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
                root,
                side,
                kafka_key,
                value,
            } => self.enqueue(
                position,
                root,
                Record {
                    side,
                    kafka_key: kafka_key.into(),
                    value: value.into(),
                },
            ),
            Input::Want { root, id, known } => match self.wants.want(&root, id, known, now) {
                Wanted::First => self.missing_due = Some(now.mono),
                Wanted::Again => {}
                Wanted::Full => self.report(ExchangeEvent::BoundHit),
            },
            Input::Unwant(root, id) => {
                self.wants.unwant(&root, &id);
                self.missing_due = Some(now.mono);
            }
            Input::Serve(root) => self.read(root, SideTopic::Requests, now),
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
        let asking = self.wants.next_due(|root| self.has_ticket(root));
        let asking = asking.map(|(due, _)| due);
        let times = jobs.chain(retries).chain(readings);
        let times = times.chain(asking).chain(self.missing_due);
        let times = times.chain(self.wants.next_wait_end());
        let next = times.min()?;
        Some(next.saturating_sub(now.mono))
    }

    /// Why a key is missing; `None` if it is not wanted.
    #[must_use]
    pub fn why(&self, root: &RootTopic, id: &KeyId, now: Now) -> Option<Missing> {
        self.wants.why(root, id, now.mono)
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
        root: &RootTopic,
    ) -> impl Iterator<Item = (&[u8; NONCE_LEN], &[DecapsulationKey])> {
        self.wants.outstanding(root)
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

    // Records, as they come.

    fn enqueue(&mut self, position: Position, root: RootTopic, record: Record) {
        let (records, bytes) = self.waiting_records;
        let has_room = records + self.retries.len() < MAX_WAITING_RECORDS
            && bytes + record.len() <= MAX_WAITING_BYTES;
        if !has_room {
            self.effects.push_back(Effect::Settled(position));
            self.report(ExchangeEvent::BoundHit);
            return;
        }
        let mut task = Task::new(&root, Some(position), self.trust, Step::Record(record));
        if broken(Rule::DoneBeforeSettled) {
            self.settle(task.position.take());
        }
        self.wait(task);
    }

    /// Puts a record at the end of the queue of its root topic.
    fn wait(&mut self, task: Task) {
        if let Step::Record(record) = &task.step {
            self.waiting_records.0 += 1;
            self.waiting_records.1 += record.len();
        }
        let queue = self.waiting.entry(task.root.clone());
        queue.or_default().push_back(task);
    }

    /// Looks at waiting records as long as there are tickets: peeks, and lets those go on that may concern this node.
    fn start_waiting(&mut self, now: Now) -> bool {
        let roots: Vec<_> = self.waiting.keys().cloned().collect();
        let mut moved = false;
        for root in roots {
            let running = self.running_of(&root);
            if self.running() + OWN_TICKETS >= MAX_TICKETS
                || running + OWN_TICKETS_PER_ROOT >= MAX_TICKETS_PER_ROOT
            {
                continue;
            }
            let Some(queue) = self.waiting.get_mut(&root) else {
                continue;
            };
            let Some(task) = queue.pop_front() else {
                self.waiting.remove(&root);
                continue;
            };
            if let Step::Record(record) = &task.step {
                self.waiting_records.0 -= 1;
                self.waiting_records.1 -= record.len();
            }
            moved = true;
            self.look_at(task, now);
        }
        moved
    }

    fn running_of(&self, root: &RootTopic) -> usize {
        let running = self.tasks.values().map(|(_, task)| task);
        let unsigned = self.unsigned.iter();
        let of_root = |task: &&Task| task.root == *root;
        running.chain(unsigned).filter(of_root).count()
    }

    /// Peeks into a record, before anything of it is verified.
    fn look_at(&mut self, mut task: Task, now: Now) {
        let Step::Record(record) = task.take_step() else {
            return;
        };
        match record.side {
            SideTopic::Keys => {
                let random0 = KeyReply::peek_random0(&record.value);
                let answers = |random0| self.wants.answerable(&task.root, random0).is_some();
                if !random0.as_deref().is_some_and(answers) {
                    // A reply to somebody else, of which there are many.
                    return self.settle(task.position);
                }
                task.step = Step::ValidateReply(record);
                self.validate(task, Usage::Encrypt, now);
            }
            side => {
                let ids = match decode_key_ids(&record.kafka_key) {
                    Ok(ids) => ids,
                    Err(refusal) => return self.refuse_unverified(&task, &record, refusal, now),
                };
                if ids.is_empty() {
                    return self.settle(task.position);
                }
                let Some(id) = RequestId::peek(&task.root, &record.value) else {
                    let refusal = why_no_request(&record.value);
                    return self.refuse_unverified(&task, &record, refusal, now);
                };
                let replays = match side {
                    SideTopic::Subscriptions => &mut self.forwarded,
                    _ => &mut self.answered,
                };
                replays.forget_expired(now.wall);
                if replays.contain(&id) {
                    return self.settle(task.position);
                }
                if side == SideTopic::Subscriptions {
                    task.step = Step::ValidateForward(record, id);
                    return self.validate(task, Usage::EncryptSubscribe, now);
                }
                // Of both forms of a request in one poll, the list is answered.
                if id.form() == RequestForm::Legacy && self.waits_for_lists(&task) {
                    task.step = Step::Record(record);
                    if task.is_behind_lists {
                        self.retries.push((now.mono + LEGACY_DELAY, task));
                    } else {
                        task.is_behind_lists = true;
                        self.wait(task);
                    }
                    return;
                }
                let job = Job::Held {
                    root: task.root.clone(),
                    ids,
                };
                task.step = Step::LookUpHeld(record, id);
                self.run(task, job, now);
            }
        }
    }

    /// Returns whether a request in bare form has to wait for those in list form of its root topic: for what came in the
    /// same poll, and for what is being looked at.
    fn waits_for_lists(&self, task: &Task) -> bool {
        let others_wait = self.waiting.contains_key(&task.root);
        let is_list = |running: &Task| match &running.step {
            Step::LookUpHeld(_, id) | Step::ValidateRequest(_, id, _) => {
                running.root == task.root && id.form() == RequestForm::List
            }
            _ => false,
        };
        let running = || self.tasks.values().any(|(_, running)| is_list(running));
        (others_wait && !task.is_behind_lists) || running()
    }

    // Jobs and their results.

    fn run(&mut self, task: Task, job: Job, now: Now) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let deadline = now.mono + job.deadline();
        self.tasks.insert(ticket, (deadline, task));
        self.effects.push_back(Effect::Run(ticket, job));
    }

    fn give_up_late(&mut self, now: Now) -> bool {
        let mut tasks = self.tasks.iter();
        let late = tasks.find(|(_, (deadline, _))| *deadline <= now.mono);
        let Some(ticket) = late.map(|(ticket, _)| *ticket) else {
            return false;
        };
        if let Some((_, task)) = self.tasks.remove(&ticket) {
            self.resume(task, Err(Failure::Unavailable), now);
        }
        true
    }

    fn validate(&mut self, mut task: Task, usage: Usage, now: Now) {
        let (Step::ValidateReply(record)
        | Step::ValidateRequest(record, ..)
        | Step::ValidateForward(record, _)) = &task.step
        else {
            return;
        };
        task.trust = self.trust;
        let job = Job::Validate {
            chain: Arc::clone(&record.value),
            root: task.root.clone(),
            usage,
        };
        self.run(task, job, now);
    }

    /// Goes on with a task whose job is done.
    fn resume(&mut self, mut task: Task, result: Result<Output, Failure>, now: Now) {
        match (task.take_step(), result) {
            (Step::ValidateReply(record), Ok(Output::Validated(validated))) => {
                if task.trust != self.trust {
                    task.step = Step::ValidateReply(record);
                    return self.validate(task, Usage::Encrypt, now);
                }
                self.open_reply(task, record, validated, now);
            }
            (
                Step::OpenReply(record, giver, party, random0),
                Ok(Output::Kem(KemOutput::Opened(opened))),
            ) => {
                if task.trust != self.trust {
                    task.step = Step::ValidateReply(record);
                    return self.validate(task, Usage::Encrypt, now);
                }
                self.take_keys(task, record, giver, party, &random0, opened, now);
            }
            (Step::LookUpHeld(record, id), Ok(Output::Held(keys))) => {
                if keys.is_empty() {
                    // Another producer has them.
                    return self.settle(task.position);
                }
                task.step = Step::ValidateRequest(record, id, keys);
                self.validate(task, Usage::EncryptRequest, now);
            }
            (Step::ValidateRequest(record, id, keys), Ok(Output::Validated(validated))) => {
                if task.trust != self.trust {
                    task.step = Step::ValidateRequest(record, id, keys);
                    return self.validate(task, Usage::EncryptRequest, now);
                }
                self.accept_request(task, record, id, keys, validated, now);
            }
            (
                Step::Answer(record, id, request, ids),
                Ok(Output::Kem(KemOutput::Answered(answers))),
            ) => {
                if task.trust != self.trust {
                    // Nothing has left: the request is looked at again under the lists as they are.
                    self.answered.forget(&id);
                    task.step = Step::Record(record);
                    return self.wait(task);
                }
                self.send_answer(task, record, id, &request, ids, answers, now);
            }
            (Step::ValidateForward(record, id), Ok(Output::Validated(validated))) => {
                if task.trust != self.trust {
                    task.step = Step::ValidateForward(record, id);
                    return self.validate(task, Usage::EncryptSubscribe, now);
                }
                self.accept_forward(task, record, id, validated, now);
            }
            (Step::Draw(due, own), Ok(Output::Kem(KemOutput::Drawn(ephemerals, random0)))) => {
                self.send_request(task, due, &own, ephemerals, random0, now);
            }
            (Step::Dispatch(dispatch), result) => {
                self.continue_dispatch(task, dispatch, result, now);
            }
            (Step::LookUpIdentities, result) => self.take_identities(result, now),
            (Step::LookUpGrant, result) => {
                // What nobody can say now is no fault of this node's.
                let grant = match result {
                    Ok(Output::Grant(grant)) => grant,
                    _ => Ok(()),
                };
                self.wants.set_grant(&task.root, grant);
                self.missing_due = Some(now.mono);
            }
            (Step::BeginReading(side), result) => self.begun_reading(task.root, side, result, now),
            (Step::Draw(due, _), _) => {
                self.wants.unsent(&due, None, now.mono + RETRY_DELAY);
            }
            // What a record needs is not to be had now.
            (step, _) => {
                task.step = step;
                self.try_again(task, now);
            }
        }
    }

    /// Tries a record again later, a few times; then it is passed over: who asks asks again.
    fn try_again(&mut self, mut task: Task, now: Now) {
        let record = match task.take_step() {
            Step::Record(record)
            | Step::ValidateReply(record)
            | Step::OpenReply(record, ..)
            | Step::LookUpHeld(record, _)
            | Step::ValidateRequest(record, ..)
            | Step::ValidateForward(record, _) => record,
            Step::Compose(record, id, ..) | Step::Answer(record, id, ..) => {
                self.answered.forget(&id);
                record
            }
            Step::Forward(record, id, _) => {
                self.forwarded.forget(&id);
                record
            }
            _ => return,
        };
        task.attempts += 1;
        if task.attempts >= MAX_ATTEMPTS {
            return self.settle(task.position);
        }
        task.step = Step::Record(record);
        self.retries.push((now.mono + RETRY_DELAY, task));
    }

    fn retry(&mut self, now: Now) -> bool {
        let due = self.retries.iter().position(|(due, _)| *due <= now.mono);
        let Some(place) = due else {
            return false;
        };
        let (_, task) = self.retries.swap_remove(place);
        match task.step {
            Step::Dispatch(_) if self.has_ticket(&task.root) => self.dispatch(task, now),
            Step::Dispatch(_) => self.retries.push((now.mono + RETRY_DELAY, task)),
            _ => self.wait(task),
        }
        true
    }

    // Replies to this node's requests.

    fn open_reply(
        &mut self,
        mut task: Task,
        record: Record,
        validated: Result<ValidatedChain, ChainError>,
        now: Now,
    ) {
        let chain = match validated {
            Ok(chain) => chain,
            Err(error) => return self.refuse_unverified(&task, &record, error.into(), now),
        };
        let giver: Arc<[VerifyingKey]> = chain.path().into();
        let party = Party::of(&chain);
        let reply = KeyReply::from_chain(chain);
        let (reply, party) = match (reply, party) {
            (Ok(reply), Some(party)) => (reply, party),
            (Err(refusal), Some(party)) => {
                return self.refuse(&task, record.side, Sender::Verified(party), refusal, now);
            }
            (_, None) => return self.settle(task.position),
        };
        let random0 = reply.random0().to_vec();
        let Some(ephemerals) = self.wants.answerable(&task.root, &random0) else {
            // Another reply was faster, and nothing more is wanted.
            return self.settle(task.position);
        };
        let job = Job::Kem(KemJob::Open {
            root: task.root.clone(),
            reply: Box::new(reply),
            ephemerals: Arc::clone(ephemerals),
        });
        task.step = Step::OpenReply(record, giver, party, random0);
        self.run(task, job, now);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a step, taken apart once"
    )]
    fn take_keys(
        &mut self,
        task: Task,
        record: Record,
        giver: Arc<[VerifyingKey]>,
        party: Party,
        random0: &[u8],
        opened: Result<Vec<(KeyId, TopicSecret)>, Refusal>,
        now: Now,
    ) {
        let keys = match opened {
            Ok(keys) => keys,
            Err(refusal) => {
                return self.refuse(&task, record.side, Sender::Verified(party), refusal, now);
            }
        };
        let (keys, after) = self.wants.receive(&task.root, random0, keys, now.mono);
        if keys.is_empty() {
            // Another reply was faster.
            return self.settle(task.position);
        }
        let root = task.root.clone();
        let ids = keys.iter().map(|(id, _)| *id).collect();
        self.effects.push_back(Effect::Table(KeyTableChange {
            root: root.clone(),
            keys,
            giver,
        }));
        self.report(ExchangeEvent::Received {
            root,
            ids,
            giver: party,
            after,
        });
        self.missing_due = Some(now.mono);
        self.settle(task.position);
    }

    // Requests of others.

    fn accept_request(
        &mut self,
        mut task: Task,
        record: Record,
        id: RequestId,
        keys: Vec<(KeyId, TopicSecret)>,
        validated: Result<ValidatedChain, ChainError>,
        now: Now,
    ) {
        let request = match self.request_of(&task, &record, validated, now) {
            Some(request) => request,
            None => return,
        };
        if self.answered.contain(&id) {
            return self.settle(task.position);
        }
        let end = request.chain().max_age().timestamp();
        self.answered.remember(id.clone(), end);
        task.step = Step::Compose(record, id, Arc::new(request), keys);
        self.with_identities(task, now);
    }

    /// A validated chain as a request; settles the record if it is none.
    fn request_of(
        &mut self,
        task: &Task,
        record: &Record,
        validated: Result<ValidatedChain, ChainError>,
        now: Now,
    ) -> Option<KeyRequest> {
        let chain = match validated {
            Ok(chain) => chain,
            Err(error) => {
                self.refuse_unverified(task, record, error.into(), now);
                return None;
            }
        };
        let sender = Party::of(&chain).map_or(Sender::Unknown, Sender::Verified);
        match KeyRequest::from_chain(chain) {
            Ok(request) => Some(request),
            Err(refusal) => {
                self.refuse(task, record.side, sender, refusal, now);
                None
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of a step, taken apart once"
    )]
    fn send_answer(
        &mut self,
        mut task: Task,
        record: Record,
        id: RequestId,
        request: &KeyRequest,
        ids: Vec<KeyId>,
        answers: Result<Vec<ToBeSigned>, Refusal>,
        now: Now,
    ) {
        let party = Party::of(request.chain());
        let (answers, requester) = match (answers, party) {
            (Ok(answers), Some(party)) => (answers, party),
            (Err(refusal), party) => {
                let sender = party.map_or(Sender::Unknown, Sender::Verified);
                return self.refuse(&task, record.side, sender, refusal, now);
            }
            (_, None) => return self.settle(task.position),
        };
        task.step = Step::Dispatch(Dispatch::new(
            encode_key_ids(ids.iter()),
            answers
                .into_iter()
                .map(|answer| (answer, vec![SideTopic::Keys])),
            Purpose::Answer { id, ids, requester },
        ));
        self.dispatch(task, now);
    }

    fn accept_forward(
        &mut self,
        mut task: Task,
        record: Record,
        id: RequestId,
        validated: Result<ValidatedChain, ChainError>,
        now: Now,
    ) {
        let Some(request) = self.request_of(&task, &record, validated, now) else {
            return;
        };
        if self.forwarded.contain(&id) {
            return self.settle(task.position);
        }
        let end = request.chain().max_age().timestamp();
        self.forwarded.remember(id.clone(), end);
        task.step = Step::Forward(record, id, Arc::new(request));
        self.with_identities(task, now);
    }

    fn forward(
        &mut self,
        mut task: Task,
        record: Record,
        id: RequestId,
        request: &KeyRequest,
        own: &[ValidIdentity],
        now: Now,
    ) {
        let validity = self.config.validity;
        let forwarded = forward_request(&task.root, request, own, validity, now.wall);
        let (forwarded, requester) = match (forwarded, Party::of(request.chain())) {
            (Ok(forwarded), Some(party)) => (forwarded, party),
            (Err(refusal), party) => {
                let sender = party.map_or(Sender::Unknown, Sender::Verified);
                return self.refuse(&task, record.side, sender, refusal, now);
            }
            (_, None) => return self.settle(task.position),
        };
        let ids = decode_key_ids(&record.kafka_key).unwrap_or_default();
        task.step = Step::Dispatch(Dispatch::new(
            record.kafka_key.to_vec(),
            forwarded
                .into_iter()
                .map(|message| (message, vec![SideTopic::Requests])),
            Purpose::Forward { id, ids, requester },
        ));
        self.dispatch(task, now);
    }

    // Requests of this node.

    /// Returns whether one more job may run for a root topic.
    fn has_ticket(&self, root: &RootTopic) -> bool {
        self.running() < MAX_TICKETS && self.running_of(root) < MAX_TICKETS_PER_ROOT
    }

    fn ask(&mut self, now: Now) -> bool {
        let due = self.wants.next_due(|root| self.has_ticket(root));
        if due.is_none_or(|(due, _)| due > now.mono) {
            return false;
        }
        let Some(due) = due.map(|(_, root)| root.clone()) else {
            return false;
        };
        let Some(due) = self.wants.leave(&due, now) else {
            return false;
        };
        // The reply must find somebody who reads.
        self.read(due.root.clone(), SideTopic::Keys, now);
        let task = Task::new(&due.root.clone(), None, self.trust, Step::Ask(due));
        self.with_identities(task, now);
        true
    }

    fn send_request(
        &mut self,
        mut task: Task,
        due: Due,
        own: &[ValidIdentity],
        ephemerals: Arc<[DecapsulationKey]>,
        random0: [u8; NONCE_LEN],
        now: Now,
    ) {
        let mut messages = Vec::new();
        let validity = self.config.validity;
        for (form, keys) in offers(self.config.legacy, &ephemerals) {
            let certificate =
                request_certificate(&due.root, form, &keys, &random0, validity, now.wall);
            messages.extend(own.iter().map(|identity| {
                let topics = if identity.may_request() {
                    vec![SideTopic::Requests, SideTopic::Subscriptions]
                } else {
                    vec![SideTopic::Subscriptions]
                };
                (identity.certify(&certificate), topics)
            }));
        }
        let direct = own.iter().any(ValidIdentity::may_request);
        let end = validity.end(now.wall);
        self.wants.sending(&due, random0, ephemerals, end, now.mono);
        task.step = Step::Dispatch(Dispatch::new(
            encode_key_ids(due.ids.iter()),
            messages.into_iter(),
            Purpose::Ask {
                due,
                random0,
                direct,
            },
        ));
        self.dispatch(task, now);
    }

    // The node's own identities.

    /// Goes on with a task that signs as soon as the node's own identities are known.
    fn with_identities(&mut self, task: Task, now: Now) {
        let known = self.identities.as_ref();
        let fresh = known.filter(|(at, _)| now.mono.saturating_sub(*at) < IDENTITIES_AGE);
        if let Some((_, own)) = fresh {
            let own = own.clone();
            return self.sign_as(task, own, now);
        }
        let looking = |(_, task): &(Duration, Task)| matches!(task.step, Step::LookUpIdentities);
        let is_looked_up = self.tasks.values().any(looking);
        let root = task.root.clone();
        self.unsigned.push(task);
        if !is_looked_up {
            let task = Task::new(&root, None, self.trust, Step::LookUpIdentities);
            self.run(task, Job::Identities, now);
        }
    }

    fn take_identities(&mut self, result: Result<Output, Failure>, now: Now) {
        let own = match result {
            Ok(Output::Identities(Ok(own))) => Ok(own.into()),
            Ok(Output::Identities(Err(error))) => {
                let report = self.invalid.count((), now.mono);
                let error_of = error.clone();
                self.report(ExchangeEvent::NoValidChain {
                    error: error_of,
                    report,
                });
                self.wants.block(now.mono + self.config.interval);
                Err(error)
            }
            _ => {
                for task in std::mem::take(&mut self.unsigned) {
                    match task.step {
                        Step::Ask(due) => self.wants.unsent(&due, None, now.mono + RETRY_DELAY),
                        _ => self.try_again(task, now),
                    }
                }
                return;
            }
        };
        self.identities = Some((now.mono, own.clone()));
        for task in std::mem::take(&mut self.unsigned) {
            self.sign_as(task, own.clone(), now);
        }
    }

    fn sign_as(&mut self, mut task: Task, own: OwnIdentities, now: Now) {
        let Ok(own) = own else {
            return match task.step {
                Step::Ask(due) => self.wants.unsent(&due, None, now.mono),
                // Who asks asks again; a copy that comes later is answered.
                step => {
                    task.step = step;
                    task.attempts = MAX_ATTEMPTS;
                    self.try_again(task, now);
                }
            };
        };
        match task.take_step() {
            // No secret is encapsulated, and nothing vouched for, under lists that have changed.
            Step::Compose(record, id, ..) if task.trust != self.trust => {
                self.answered.forget(&id);
                task.step = Step::Record(record);
                self.wait(task);
            }
            Step::Forward(record, id, _) if task.trust != self.trust => {
                self.forwarded.forget(&id);
                task.step = Step::Record(record);
                self.wait(task);
            }
            Step::Compose(record, id, request, keys) => {
                let ids = keys.iter().map(|(id, _)| *id).collect();
                let job = Job::Kem(KemJob::Answer(Box::new(AnswerJob {
                    root: task.root.clone(),
                    request: Arc::clone(&request),
                    keys,
                    suites: Arc::clone(&self.suites),
                    validity: self.config.validity,
                    own,
                    now: now.wall,
                })));
                task.step = Step::Answer(record, id, request, ids);
                self.run(task, job, now);
            }
            Step::Forward(record, id, request) => {
                self.forward(task, record, id, &request, &own, now);
            }
            Step::Ask(due) => {
                let job = Job::Kem(KemJob::Draw(self.config.suites.clone()));
                task.step = Step::Draw(due, own);
                self.run(task, job, now);
            }
            _ => {}
        }
    }

    // Signing and sending.

    /// Signs and sends the next message of a dispatch, or ends it.
    fn dispatch(&mut self, mut task: Task, now: Now) {
        let Step::Dispatch(mut dispatch) = task.take_step() else {
            return;
        };
        if let Some((value, topics)) = &mut dispatch.signed
            && let Some(side) = topics.front()
        {
            let job = Job::Send(OutRecord {
                root: task.root.clone(),
                side: *side,
                kafka_key: Arc::clone(&dispatch.kafka_key),
                value: Arc::clone(value),
            });
            task.step = Step::Dispatch(dispatch);
            return self.run(task, job, now);
        }
        dispatch.signed = None;
        match dispatch.unsigned.front() {
            Some((message, _)) => {
                let job = Job::Sign(Arc::clone(message));
                task.step = Step::Dispatch(dispatch);
                self.run(task, job, now);
            }
            None => self.end_dispatch(task.root, task.position, dispatch, now),
        }
    }

    fn continue_dispatch(
        &mut self,
        mut task: Task,
        mut dispatch: Dispatch,
        result: Result<Output, Failure>,
        now: Now,
    ) {
        let is_sending = dispatch.signed.is_some();
        match result {
            Ok(Output::Signed(signed)) if !is_sending => {
                if let Some((message, topics)) = dispatch.unsigned.pop_front()
                    && let Ok(value) = message.finish(&signed)
                {
                    dispatch.signed = Some((value.into(), topics.into()));
                }
            }
            Ok(Output::Done) if is_sending => {
                if let Purpose::Ask {
                    due,
                    random0,
                    direct,
                } = &dispatch.purpose
                    && !dispatch.sent
                {
                    self.wants.sent(due, random0, now.mono);
                    self.missing_due = Some(now.mono);
                    self.report(ExchangeEvent::Requested {
                        root: task.root.clone(),
                        ids: due.ids.clone(),
                        direct: *direct,
                    });
                }
                dispatch.sent_one();
            }
            Err(failure) if is_sending => {
                if let Failure::Backend(error) = failure {
                    let is_retriable = error.is_retriable();
                    dispatch.error = Some(error);
                    task.attempts += 1;
                    let vouches = matches!(dispatch.purpose, Purpose::Forward { .. });
                    // The position behind a request is committed when this ends.
                    if vouches && is_retriable && task.attempts < MAX_ATTEMPTS {
                        task.step = Step::Dispatch(dispatch);
                        self.retries.push((now.mono + RETRY_DELAY, task));
                        return;
                    }
                }
                dispatch.failed_one();
            }
            // It cannot be signed now.
            _ => {
                dispatch.unsigned.pop_front();
            }
        }
        task.step = Step::Dispatch(dispatch);
        self.dispatch(task, now);
    }

    fn end_dispatch(
        &mut self,
        root: RootTopic,
        position: Option<Position>,
        dispatch: Dispatch,
        now: Now,
    ) {
        let Dispatch {
            purpose,
            sent,
            error,
            ..
        } = dispatch;
        match purpose {
            Purpose::Ask { due, random0, .. } => {
                if !sent {
                    let until = now.mono + retry_delay(error.as_ref(), RETRY_DELAY);
                    self.wants.unsent(&due, Some(&random0), until);
                    self.report(ExchangeEvent::NotSent { root, error });
                }
            }
            Purpose::Answer { id, ids, requester } => {
                if sent {
                    self.report(ExchangeEvent::Answered {
                        root,
                        ids,
                        requester,
                    });
                } else {
                    self.answered.forget(&id);
                }
            }
            Purpose::Forward { id, ids, requester } => {
                if sent {
                    self.report(ExchangeEvent::Forwarded {
                        root,
                        ids,
                        requester,
                    });
                } else {
                    self.forwarded.forget(&id);
                }
            }
        }
        self.settle(position);
    }

    // Topics to be read.

    fn read(&mut self, root: RootTopic, side: SideTopic, now: Now) {
        let reading = self.readings.entry((root, side));
        reading.or_insert(Reading::Due(now.mono));
    }

    fn begin_reading(&mut self, now: Now) -> bool {
        let is_due = |reading: &Reading| matches!(reading, Reading::Due(due) if *due <= now.mono);
        let mut readings = self.readings.iter_mut();
        let Some(((root, side), reading)) = readings.find(|(_, reading)| is_due(reading)) else {
            return false;
        };
        if self.tasks.len() + self.unsigned.len() >= MAX_TICKETS {
            return false;
        }
        *reading = Reading::Beginning;
        let (root, side) = (root.clone(), *side);
        let task = Task::new(&root, None, self.trust, Step::BeginReading(side));
        self.run(task, Job::Read(root, side), now);
        true
    }

    fn begun_reading(
        &mut self,
        root: RootTopic,
        side: SideTopic,
        result: Result<Output, Failure>,
        now: Now,
    ) {
        let reading = match result {
            Ok(_) => Reading::Begun,
            Err(failure) => {
                let error = match failure {
                    Failure::Backend(error) => Some(error),
                    Failure::Unavailable => None,
                };
                let delay = retry_delay(error.as_ref(), READ_RETRY_DELAY);
                let root = root.clone();
                self.report(ExchangeEvent::NotRead { root, side, error });
                Reading::Due(now.mono + delay)
            }
        };
        self.readings.insert((root, side), reading);
    }

    // Why keys are missing.

    fn look_up_grant(&mut self, now: Now) -> bool {
        let looking = |(_, task): &(Duration, Task)| matches!(task.step, Step::LookUpGrant);
        if self.tasks.values().any(looking) || self.running() >= MAX_TICKETS {
            return false;
        }
        let Some(root) = self.wants.ungranted().cloned() else {
            return false;
        };
        let task = Task::new(&root, None, self.trust, Step::LookUpGrant);
        let usages = ASKING;
        self.run(task, Job::Grant { root, usages }, now);
        true
    }

    fn tell_missing(&mut self, now: Now) -> bool {
        if self.missing_due.is_none_or(|due| due > now.mono) {
            return false;
        }
        self.missing_due = self.wants.next_unanswered(now.mono);
        for (root, ids) in self.wants.newly_unanswered(now.mono) {
            self.report(ExchangeEvent::Unanswered { root, ids });
        }
        let missing = self.wants.missing(now.mono);
        self.effects.push_back(Effect::Missing(missing));
        true
    }

    // Refusals and reports.

    fn refuse_unverified(&mut self, task: &Task, record: &Record, refusal: Refusal, now: Now) {
        let claimed = claimed_sender(&record.value);
        let sender = claimed.map_or(Sender::Unknown, Sender::Claimed);
        self.refuse(task, record.side, sender, refusal, now);
    }

    fn refuse(&mut self, task: &Task, side: SideTopic, sender: Sender, refusal: Refusal, now: Now) {
        let what = (task.root.clone(), side, refusal.id());
        let report = self.refusals.count(what, now.mono);
        self.report(ExchangeEvent::Refused {
            root: task.root.clone(),
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

/// How long a request in bare form waits while one in list form is looked at.
const LEGACY_DELAY: Duration = Duration::from_millis(50);

impl Record {
    fn len(&self) -> usize {
        self.kafka_key.len() + self.value.len()
    }
}

impl Task {
    fn new(root: &RootTopic, position: Option<Position>, trust: u64, step: Step) -> Self {
        Self {
            root: root.clone(),
            position,
            attempts: 0,
            is_behind_lists: false,
            trust,
            step,
        }
    }

    /// Takes the step out, for the next one to be put in.
    fn take_step(&mut self) -> Step {
        std::mem::replace(&mut self.step, Step::Taken)
    }
}

impl Dispatch {
    fn new(
        kafka_key: Vec<u8>,
        messages: impl Iterator<Item = (ToBeSigned, Vec<SideTopic>)>,
        purpose: Purpose,
    ) -> Self {
        Self {
            purpose,
            kafka_key: kafka_key.into(),
            unsigned: messages
                .map(|(message, topics)| (Arc::new(message), topics))
                .collect(),
            signed: None,
            sent: false,
            error: None,
        }
    }

    /// The message being sent has reached a topic.
    fn sent_one(&mut self) {
        self.sent = true;
        if let Some((_, topics)) = &mut self.signed {
            topics.pop_front();
        }
    }

    /// The message being sent has not reached a topic. Who may ask producers needs no controller, but a message that
    /// did not reach the producers does not go to controllers alone.
    fn failed_one(&mut self) {
        if let Some((_, topics)) = &mut self.signed {
            topics.clear();
        }
    }
}

/// The forms in which a request goes out, each with the keys that it lists.
fn offers(legacy: bool, ephemerals: &[DecapsulationKey]) -> Vec<(RequestForm, Vec<PublicKey>)> {
    let public = |key: &DecapsulationKey| PublicKey::from(key.encapsulation_key().clone());
    let mut offers = vec![(RequestForm::List, ephemerals.iter().map(public).collect())];
    if legacy {
        let x25519 = |key: &&DecapsulationKey| key.encapsulation_key().suite() == Suite::X25519;
        let bare = ephemerals.iter().find(x25519).map(public);
        offers.extend(bare.map(|key| (RequestForm::Legacy, vec![key])));
    }
    offers
}

/// Why something has no random value of a request: the first check that it would fail.
fn why_no_request(value: &[u8]) -> Refusal {
    let chain = match UnverifiedChain::parse(value) {
        Ok(chain) => chain,
        Err(error) => return error.into(),
    };
    let leaf = chain.links().last().copied().unwrap_or_default();
    match Certificate::parse_signed(leaf) {
        Ok(_) => Refusal::Layout("no random0"),
        Err(error) => error.into(),
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
