//! Work in progress: jobs with their tickets, and the steps that follow their results.

use std::sync::Arc;

use super::dispatch::Dispatch;
use super::{
    Effect, Exchange, MAX_ATTEMPTS, MAX_TICKETS, MAX_TICKETS_PER_ROOT, Position, RETRY_DELAY,
};
use crate::chain::{Usage, ValidIdentity};
use crate::exchange::event::Party;
use crate::exchange::jobs::{Failure, Job, KemOutput, Output, Ticket};
use crate::exchange::replays::RequestId;
use crate::exchange::request::KeyRequest;
use crate::exchange::wants::Due;
use crate::keys::VerifyingKey;
use crate::ratchet::DataKey;
use crate::types::{KeyId, Now, RootTopic, SideTopic};

/// Work in progress, with the data that it needs to continue.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) root_topic: RootTopic,
    pub(super) position: Option<Position>,
    pub(super) attempts: u32,
    /// True if this legacy request was already queued behind the other waiting records of its root topic.
    pub(super) is_behind_lists: bool,
    /// True if the answer to this request has already waited for other nodes.
    pub(super) has_waited: bool,
    /// The number of changes of trust (`Exchange::trust`) when the validation of the task's chain began.
    pub(super) trust: u64,
    pub(super) step: Step,
}

#[derive(Debug)]
pub(super) enum Step {
    /// A placeholder, from a call of [`Task::take_step`] until the next step is set.
    Taken,
    /// A record that has not been inspected.
    Record(Record),
    ValidateReply(Record),
    OpenReply(Record, Arc<[VerifyingKey]>, Party, Vec<u8>),
    LookUpHeld(Record, RequestId),
    ValidateRequest(Record, RequestId, Vec<(KeyId, DataKey)>),
    /// A request that may be answered once this node's identities are known.
    Compose(Record, RequestId, Arc<KeyRequest>, Vec<(KeyId, DataKey)>),
    Answer(Record, RequestId, Arc<KeyRequest>, Vec<KeyId>),
    ValidateForward(Record, RequestId),
    Forward(Record, RequestId, Arc<KeyRequest>),
    /// A request of this node that waits for the node's own identities.
    Ask(Due),
    Draw(Due, Arc<[ValidIdentity]>),
    Dispatch(Dispatch),
    LookUpIdentities,
    LookUpGrant,
    BeginReading(SideTopic),
}

/// A record of a side topic.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) side: SideTopic,
    pub(super) kafka_key: Arc<[u8]>,
    pub(super) value: Arc<[u8]>,
}

impl Exchange {
    pub(super) fn running_of(&self, root_topic: &RootTopic) -> usize {
        let running = self.tasks.values().map(|(_, task)| task);
        let unsigned = self.unsigned.iter();
        let of_root = |task: &&Task| task.root_topic == *root_topic;
        running.chain(unsigned).filter(of_root).count()
    }

    /// Returns whether another job may run for a root topic.
    pub(super) fn has_ticket(&self, root_topic: &RootTopic) -> bool {
        self.running() < MAX_TICKETS && self.running_of(root_topic) < MAX_TICKETS_PER_ROOT
    }

    pub(super) fn run(&mut self, task: Task, job: Job, now: Now) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let deadline = now.mono + job.deadline();
        self.tasks.insert(ticket, (deadline, task));
        self.effects.push_back(Effect::Run(ticket, job));
    }

    pub(super) fn give_up_late(&mut self, now: Now) -> bool {
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

    pub(super) fn validate(&mut self, mut task: Task, usage: Usage, now: Now) {
        let (Step::ValidateReply(record)
        | Step::ValidateRequest(record, ..)
        | Step::ValidateForward(record, _)) = &task.step
        else {
            return;
        };
        task.trust = self.trust;
        let job = Job::Validate {
            chain: Arc::clone(&record.value),
            root_topic: task.root_topic.clone(),
            usage,
        };
        self.run(task, job, now);
    }

    /// Continues with a task whose job has ended.
    pub(super) fn resume(&mut self, mut task: Task, result: Result<Output, Failure>, now: Now) {
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
                    // Another producer has the keys.
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
                    // Nothing has been sent: the request is processed again under the present lists.
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
                // If the grant cannot be looked up at present, this node's chain is assumed to grant the topic.
                let grant = match result {
                    Ok(Output::Grant(grant)) => grant,
                    _ => Ok(()),
                };
                self.wants.set_grant(&task.root_topic, grant);
                self.missing_due = Some(now.mono);
            }
            (Step::BeginReading(side), result) => {
                self.begun_reading(task.root_topic, side, result, now)
            }
            (Step::Draw(due, _), _) => {
                self.wants.unsent(&due, None, now.mono + RETRY_DELAY);
            }
            // Something that the record needs is not available at present.
            (step, _) => {
                task.step = step;
                self.try_again(task, now);
            }
        }
    }

    /// Processes a record again later. After [`MAX_ATTEMPTS`] attempts, gives the record up: its position may be
    /// committed. A node that still needs an answer repeats its request.
    pub(super) fn try_again(&mut self, mut task: Task, now: Now) {
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
        // A custodian does not give up replies: it may be the last that can keep their keys.
        let is_precious = self.custody.is_some() && record.side == SideTopic::Keys;
        task.attempts += 1;
        if task.attempts >= MAX_ATTEMPTS && !is_precious {
            return self.settle(task.position);
        }
        task.step = Step::Record(record);
        self.retries.push((now.mono + RETRY_DELAY, task));
    }

    pub(super) fn retry(&mut self, now: Now) -> bool {
        let due = self.retries.iter().position(|(due, _)| *due <= now.mono);
        let Some(place) = due else {
            return false;
        };
        let (_, task) = self.retries.swap_remove(place);
        match task.step {
            Step::Dispatch(_) if self.has_ticket(&task.root_topic) => self.dispatch(task, now),
            Step::Dispatch(_) => self.retries.push((now.mono + RETRY_DELAY, task)),
            _ => self.wait(task),
        }
        true
    }
}

impl Record {
    pub(super) fn len(&self) -> usize {
        self.kafka_key.len() + self.value.len()
    }
}

impl Task {
    pub(super) fn new(
        root_topic: &RootTopic,
        position: Option<Position>,
        trust: u64,
        step: Step,
    ) -> Self {
        Self {
            root_topic: root_topic.clone(),
            position,
            attempts: 0,
            is_behind_lists: false,
            has_waited: false,
            trust,
            step,
        }
    }

    /// Returns the current step and puts [`Step::Taken`] in its place. The caller then sets the next step.
    pub(super) fn take_step(&mut self) -> Step {
        std::mem::replace(&mut self.step, Step::Taken)
    }
}
