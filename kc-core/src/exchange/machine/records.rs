//! Incoming records. A record waits until the limits allow one more job. It is then inspected without verification, and
//! processed further if it may concern this node.

use std::time::Duration;

use super::tasks::{Record, Step, Task};
use super::{
    Effect, Exchange, MAX_TICKETS, MAX_TICKETS_PER_ROOT, MAX_WAITING_BYTES, MAX_WAITING_RECORDS,
    Position, RETRY_DELAY, retry_delay,
};
use crate::chain::{Certificate, UnverifiedChain, Usage};
use crate::exchange::Refusal;
use crate::exchange::event::ExchangeEvent;
use crate::exchange::jobs::{Failure, Job, Output};
use crate::exchange::replays::RequestId;
use crate::exchange::reply::KeyReply;
use crate::exchange::request::{RequestForm, decode_key_ids};
use crate::sabotage::{Rule, broken};
use crate::types::{Now, RootTopic, SideTopic};

/// The number of tickets (jobs that run at once) that are reserved for this node's own requests.
const OWN_TICKETS: usize = 16;
const OWN_TICKETS_PER_ROOT: usize = 2;

/// The time after which a legacy request ([`RequestForm::Legacy`]) is inspected again, if a request in list form
/// ([`RequestForm::List`]) for the same root topic is being processed.
const LEGACY_DELAY: Duration = Duration::from_millis(50);

impl Exchange {
    pub(super) fn enqueue(&mut self, position: Position, root_topic: RootTopic, record: Record) {
        let (records, bytes) = self.waiting_records;
        let has_room = records + self.retries.len() < MAX_WAITING_RECORDS
            && bytes + record.len() <= MAX_WAITING_BYTES;
        if !has_room {
            self.effects.push_back(Effect::Settled(position));
            self.report(ExchangeEvent::BoundHit);
            return;
        }
        let mut task = Task::new(
            &root_topic,
            Some(position),
            self.trust,
            Step::Record(record),
        );
        if broken(Rule::DoneBeforeSettled) {
            self.settle(task.position.take());
        }
        self.wait(task);
    }

    /// Appends a record to the queue of its root topic.
    pub(super) fn wait(&mut self, task: Task) {
        if let Step::Record(record) = &task.step {
            self.waiting_records.0 += 1;
            self.waiting_records.1 += record.len();
        }
        let queue = self.waiting.entry(task.root_topic.clone());
        queue.or_default().push_back(task);
    }

    /// Inspects the next waiting record of each root topic that may start a further job. Returns whether a record left
    /// its queue.
    pub(super) fn start_waiting(&mut self, now: Now) -> bool {
        let roots: Vec<_> = self.waiting.keys().cloned().collect();
        let mut moved = false;
        for root_topic in roots {
            let running = self.running_of(&root_topic);
            if self.running() + OWN_TICKETS >= MAX_TICKETS
                || running + OWN_TICKETS_PER_ROOT >= MAX_TICKETS_PER_ROOT
            {
                continue;
            }
            let Some(queue) = self.waiting.get_mut(&root_topic) else {
                continue;
            };
            let Some(task) = queue.pop_front() else {
                self.waiting.remove(&root_topic);
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

    /// Inspects a record without verifying anything in it. If the record may concern this node, processes it further.
    pub(super) fn look_at(&mut self, mut task: Task, now: Now) {
        let Step::Record(record) = task.take_step() else {
            return;
        };
        match record.side {
            SideTopic::Keys => {
                if self.lacks_seeds() {
                    // This may be a reply to a request of this node before its restart.
                    task.step = Step::Record(record);
                    self.retries.push((now.mono + RETRY_DELAY, task));
                    return;
                }
                let random0 = KeyReply::peek_random0(&record.value);
                let matters = |random0: &[u8]| self.awaits_reply(&task.root_topic, random0);
                let custody = self.custody.as_ref();
                let is_copy = || custody.is_some_and(|it| it.has_processed(&record.value));
                if !random0.as_deref().is_some_and(matters) || is_copy() {
                    // This is a reply to another node, as most replies are, or a copy.
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
                let Some(id) = RequestId::peek(&task.root_topic, &record.value) else {
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
                // If both forms of a request arrive in one poll, the list form is answered.
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
                    root_topic: task.root_topic.clone(),
                    ids,
                };
                task.step = Step::LookUpHeld(record, id);
                self.run(task, job, now);
            }
        }
    }

    /// Returns whether a legacy request must wait for requests in list form for the same root topic. A legacy request
    /// waits behind the other records in the queue, but only once. It also waits as long as requests in list form are
    /// being processed.
    pub(super) fn waits_for_lists(&self, task: &Task) -> bool {
        let others_wait = self.waiting.contains_key(&task.root_topic);
        let is_list = |running: &Task| match &running.step {
            Step::LookUpHeld(_, id) | Step::ValidateRequest(_, id, _) => {
                running.root_topic == task.root_topic && id.form() == RequestForm::List
            }
            _ => false,
        };
        let running = || self.tasks.values().any(|(_, running)| is_list(running));
        (others_wait && !task.is_behind_lists) || running()
    }
}

/// Returns the reason to refuse a record in which no random value of a request is found.
fn why_no_request(value: &[u8]) -> Refusal {
    let chain = match UnverifiedChain::parse(value) {
        Ok(chain) => chain,
        Err(error) => return error.into(),
    };
    let leaf = chain.links().last().copied().unwrap_or_default();
    match Certificate::parse_signed(leaf) {
        Ok(_) => Refusal::Layout("no random value"),
        Err(error) => error.into(),
    }
}

/// The maximum number of topics whose reading begins at the same time. Whoever reads delivers the records of one topic before
/// it begins the next one, and processing a record needs tickets. If topics to begin took all tickets, each would wait for
/// the other. Test: `a_request_is_processed_while_the_reading_of_many_topics_begins`.
const MAX_BEGINNING: usize = 8;

/// The delay before another attempt to read a topic.
const READ_RETRY_DELAY: Duration = Duration::from_secs(2);

/// The state of reading a side topic.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    /// Reading has not begun. The next attempt is due at this time.
    Due(Duration),
    /// An attempt is in progress.
    Beginning,
    Begun,
}

impl Exchange {
    pub(super) fn read(&mut self, root_topic: RootTopic, side: SideTopic, now: Now) {
        let reading = self.readings.entry((root_topic, side));
        reading.or_insert(Reading::Due(now.mono));
    }

    pub(super) fn begin_reading(&mut self, now: Now) -> bool {
        let due = self.next_readings().find(|(_, due)| *due <= now.mono);
        let Some((root_topic, side)) = due.map(|(topic, _)| topic.clone()) else {
            return false;
        };
        let topic = (root_topic.clone(), side);
        self.readings.insert(topic, Reading::Beginning);
        let task = Task::new(&root_topic, None, self.trust, Step::BeginReading(side));
        self.run(task, Job::Read(root_topic, side), now);
        true
    }

    /// Returns the side topics that may be read next, each with the time at which reading may begin. Replies cannot be
    /// opened without seeds.
    pub(super) fn next_readings(
        &self,
    ) -> impl Iterator<Item = (&(RootTopic, SideTopic), Duration)> {
        let begins = |task: &&Task| matches!(task.step, Step::BeginReading(_));
        let tasks = self.tasks.values().map(|(_, task)| task);
        let is_full =
            self.running() >= MAX_TICKETS || tasks.filter(begins).count() >= MAX_BEGINNING;
        let lacks_seeds = self.lacks_seeds();
        let readings = self.readings.iter().filter(move |_| !is_full);
        readings.filter_map(move |(topic, reading)| match reading {
            Reading::Due(due) if topic.1 != SideTopic::Keys || !lacks_seeds => Some((topic, *due)),
            _ => None,
        })
    }

    pub(super) fn begun_reading(
        &mut self,
        root_topic: RootTopic,
        side: SideTopic,
        result: Result<Output, Failure>,
        now: Now,
    ) {
        let reading = match result {
            Ok(_) => Reading::Begun,
            Err(failure) => {
                let error = failure.into_backend();
                let delay = retry_delay(error.as_ref(), READ_RETRY_DELAY);
                let root_topic = root_topic.clone();
                self.report(ExchangeEvent::NotRead {
                    root_topic,
                    side,
                    error,
                });
                Reading::Due(now.mono + delay)
            }
        };
        self.readings.insert((root_topic, side), reading);
    }
}
