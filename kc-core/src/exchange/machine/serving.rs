//! Requests of other nodes, which this node answers or forwards, and the identities that it signs with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::dispatch::{Dispatch, Purpose};
use super::tasks::{Record, Step, Task};
use super::{Exchange, MAX_ATTEMPTS, RETRY_DELAY};
use crate::chain::{ChainError, ToBeSigned, ValidIdentity, ValidatedChain};
use crate::exchange::Refusal;
use crate::exchange::custody::Asked;
use crate::exchange::event::{ExchangeEvent, Party, Sender};
use crate::exchange::jobs::{AnswerJob, Failure, Job, KemJob, Output};
use crate::exchange::replays::RequestId;
use crate::exchange::request::{KeyRequest, decode_key_ids, encode_key_ids, forward_request};
use crate::ratchet::DataKey;
use crate::types::{KeyId, Now, SideTopic};

impl Exchange {
    pub(super) fn accept_request(
        &mut self,
        mut task: Task,
        record: Record,
        id: RequestId,
        keys: Vec<(KeyId, DataKey)>,
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
        if let Some(task) = self.let_wait(task, now) {
            self.with_identities(task, now);
        }
    }

    /// Lets an answer wait for other nodes if it must. Returns the answer if it need not wait.
    ///
    /// The position of a request whose answer waits is settled at once, because otherwise this node would not read the
    /// replies of the other nodes meanwhile. If this node ends before it answers, the requester asks again.
    fn let_wait(&mut self, mut task: Task, now: Now) -> Option<Task> {
        let Some(custody) = self.custody.as_mut().filter(|_| !task.has_waited) else {
            return Some(task);
        };
        task.has_waited = true;
        let Step::Compose(record, _, request, keys) = &task.step else {
            return Some(task);
        };
        let ids = decode_key_ids(&record.kafka_key).unwrap_or_default();
        let request = Arc::clone(request);
        let asked = Asked {
            root_topic: &task.root_topic.clone(),
            random0: request.random0(),
            requester: request.chain().signers().last()?,
            len: record.len(),
        };
        let held = keys.iter().map(|(id, _)| *id).collect();
        let Some(due) = custody.due(&asked, &ids, &held, now.mono) else {
            return Some(task);
        };
        let position = task.position.take();
        custody.wait(&asked, held, due, task);
        self.settle(position);
        None
    }

    /// Continues with an answer that has waited, without the keys that other nodes have sent.
    pub(super) fn answer_waiting(&mut self, now: Now) -> bool {
        let Some(custody) = &self.custody else {
            return false;
        };
        let Some(place) = custody.find_due(now.mono, |root_topic| self.has_ticket(root_topic))
        else {
            return false;
        };
        let leave_out = |task: &mut Task, named: &BTreeSet<KeyId>| match &mut task.step {
            Step::Compose(.., keys) => {
                let left_out = keys.extract_if(.., |(id, _)| named.contains(id));
                left_out.map(|(id, _)| id).collect()
            }
            _ => Vec::new(),
        };
        let custody = self.custody.as_mut();
        let task = custody.map(|custody| custody.take(place, leave_out));
        let has_keys =
            |task: &Task| !matches!(&task.step, Step::Compose(.., keys) if keys.is_empty());
        if let Some(task) = task.filter(has_keys) {
            self.with_identities(task, now);
        }
        true
    }

    /// Interprets a validated chain as a request. If the chain is not valid or not a request, refuses the record and
    /// returns `None`.
    pub(super) fn request_of(
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
    pub(super) fn send_answer(
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

    pub(super) fn accept_forward(
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

    pub(super) fn forward(
        &mut self,
        mut task: Task,
        record: Record,
        id: RequestId,
        request: &KeyRequest,
        own: &[ValidIdentity],
        now: Now,
    ) {
        let validity = self.config.validity;
        let forwarded = forward_request(&task.root_topic, request, own, validity, now.wall);
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
}

/// The time after which the node's own identities are looked up again.
const IDENTITIES_AGE: Duration = Duration::from_secs(1);

pub(super) type OwnIdentities = Result<Arc<[ValidIdentity]>, ChainError>;

impl Exchange {
    /// Continues with a task that needs signatures. If the node's own identities are not known, the task waits for
    /// them.
    pub(super) fn with_identities(&mut self, task: Task, now: Now) {
        let known = self.identities.as_ref();
        let fresh = known.filter(|(at, _)| now.mono.saturating_sub(*at) < IDENTITIES_AGE);
        if let Some((_, own)) = fresh {
            let own = own.clone();
            return self.sign_as(task, own, now);
        }
        let looking = |(_, task): &(Duration, Task)| matches!(task.step, Step::LookUpIdentities);
        let is_looked_up = self.tasks.values().any(looking);
        let root_topic = task.root_topic.clone();
        self.unsigned.push(task);
        if !is_looked_up {
            let task = Task::new(&root_topic, None, self.trust, Step::LookUpIdentities);
            self.run(task, Job::Identities, now);
        }
    }

    pub(super) fn take_identities(&mut self, result: Result<Output, Failure>, now: Now) {
        let own = match result {
            Ok(Output::Identities(Ok(own))) => Ok(own.into()),
            Ok(Output::Identities(Err(error))) => {
                let report = self.invalid.fail((), (), now.mono);
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

    pub(super) fn sign_as(&mut self, mut task: Task, own: OwnIdentities, now: Now) {
        let Ok(own) = own else {
            return match task.step {
                Step::Ask(due) => self.wants.unsent(&due, None, now.mono),
                // The requester asks again; a later copy of its request is answered.
                step => {
                    task.step = step;
                    task.attempts = MAX_ATTEMPTS;
                    self.try_again(task, now);
                }
            };
        };
        match task.take_step() {
            // The lists have changed since the request was validated. It is validated again before it is answered or
            // forwarded.
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
                    root_topic: task.root_topic.clone(),
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
                let suites = self.config.suites.clone();
                let seed = self.custody.as_ref().and_then(|custody| custody.seed());
                let job = Job::Kem(match seed {
                    None => KemJob::Draw(suites),
                    Some(seed) => KemJob::Derive {
                        root_topic: task.root_topic.clone(),
                        seed: Arc::clone(seed),
                        suites,
                    },
                });
                task.step = Step::Draw(due, own);
                self.run(task, job, now);
            }
            _ => {}
        }
    }
}
