//! The node's own identities: what signs waits until they are known.

use std::sync::Arc;
use std::time::Duration;

use super::tasks::{Step, Task};
use super::{Exchange, MAX_ATTEMPTS, RETRY_DELAY};
use crate::chain::{ChainError, ValidIdentity};
use crate::exchange::event::ExchangeEvent;
use crate::exchange::jobs::{AnswerJob, Failure, Job, KemJob, Output};
use crate::types::Now;

/// How long the node's own identities are good for before they are looked up again.
const IDENTITIES_AGE: Duration = Duration::from_secs(1);

pub(super) type OwnIdentities = Result<Arc<[ValidIdentity]>, ChainError>;

impl Exchange {
    /// Goes on with a task that signs as soon as the node's own identities are known.
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

    pub(super) fn sign_as(&mut self, mut task: Task, own: OwnIdentities, now: Now) {
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
                let job = Job::Kem(KemJob::Draw(self.config.suites.clone()));
                task.step = Step::Draw(due, own);
                self.run(task, job, now);
            }
            _ => {}
        }
    }
}
