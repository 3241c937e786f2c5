//! Continuous reading: the partitions, their positions, and fetched records that have not been polled yet.

mod positions;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use kafka::error::KafkaCode;
use kc_core::backend::{BackendError, BackendErrorKind, Record, TopicPartition, end_of};
use kc_core::text::with_sources;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::client::RETRY_PAUSE;
use super::error::{code, failed};
use super::fetch::{Fetched, Found, fetch};
use super::worker::{Answer, Worker};
use positions::Positions;

const POLL: &str = "poll";

/// Reads partitions. Polls are cancel safe: if a poll is dropped, the next poll returns the records that the dropped
/// poll requested.
pub(super) struct Fetcher {
    worker: Worker,
    positions: Positions,
    outbox: VecDeque<Record>,
    asked: Option<Asked>,
}

struct Asked {
    since: Instant,
    answer: Answer<Vec<Fetched>>,
}

impl Fetcher {
    pub(super) fn new(worker: Worker) -> Self {
        let positions = Positions::new(worker.settings());
        Self {
            worker,
            positions,
            outbox: VecDeque::new(),
            asked: None,
        }
    }

    pub(super) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Returns the partitions that are read, including paused ones.
    pub(super) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.positions.partitions()
    }

    /// Reads a partition from this offset on.
    pub(super) fn read(&mut self, at: TopicPartition, offset: i64) {
        self.outbox.retain(|record| !record.is_of(&at));
        self.positions.read(at, offset);
    }

    /// Stops reading a partition.
    pub(super) fn forget(&mut self, at: &TopicPartition) {
        self.outbox.retain(|record| !record.is_of(at));
        self.positions.forget(at);
    }

    pub(super) fn pause(&mut self, at: &TopicPartition) {
        if let Some(first) = self.outbox.iter().find(|record| record.is_of(at)) {
            self.positions.read(at.clone(), first.offset);
        }
        self.outbox.retain(|record| !record.is_of(at));
        self.positions.pause(at);
    }

    pub(super) fn resume(&mut self, at: &TopicPartition) {
        self.positions.resume(at);
    }

    /// Returns the next records. The records of each partition are in the order of their offsets. Returns an empty list
    /// if no records arrive within `wait`. Cancel safe.
    ///
    /// # Errors
    /// After a short pause, returns an error that is not retriable. After a retriable error, fetches again, and returns
    /// the error only if `wait` passes before a broker answers.
    pub(super) async fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, BackendError> {
        let end = end_of(Instant::now(), wait);
        let mut failure = None;
        while self.outbox.is_empty() {
            match self.fetch(end).await {
                Ok(true) => failure = None,
                Ok(false) => {}
                Err(error) => {
                    sleep_until(end.min(Instant::now() + RETRY_PAUSE)).await;
                    if !error.is_retriable() {
                        return Err(error);
                    }
                    tracing::debug!(error = %with_sources(&error), "fetch failed; retrying");
                    failure = Some(error);
                }
            }
            if Instant::now() >= end {
                break;
            }
        }
        match failure {
            Some(error) if self.outbox.is_empty() => Err(error),
            _ => Ok(self.take()),
        }
    }

    fn take(&mut self) -> Vec<Record> {
        let most = usize::try_from(self.worker.settings().max_poll_records).unwrap_or(usize::MAX);
        let count = most.min(self.outbox.len());
        self.outbox.drain(..count).collect()
    }

    /// Requests records, unless a request is pending, and waits for them until `end`. Returns whether brokers answered.
    async fn fetch(&mut self, end: Instant) -> Result<bool, BackendError> {
        if self.asked.is_none() {
            self.asked = self.ask(end);
        }
        let Some(asked) = &mut self.asked else {
            sleep_until(end).await;
            return Ok(false);
        };
        let longest = self.worker.settings().request_timeout;
        let answer = match timeout_at(end, &mut asked.answer).await {
            Ok(answer) => answer,
            Err(elapsed) if asked.since.elapsed() > longest => {
                self.asked = None;
                let context = self.worker.context(POLL);
                return Err(
                    BackendError::new(BackendErrorKind::Timeout, context).with_source(elapsed)
                );
            }
            Err(_) => return Ok(false),
        };
        self.asked = None;
        let context = || self.worker.context(POLL);
        let fetched = answer
            .map_err(|ended| {
                BackendError::new(BackendErrorKind::Closed, context()).with_source(ended)
            })?
            .map_err(|error| failed(context(), error))?;
        self.accept(fetched)?;
        Ok(true)
    }

    fn ask(&mut self, end: Instant) -> Option<Asked> {
        let wanted = self.positions.next()?;
        let now = Instant::now();
        let wait = if self.positions.may_wait() {
            let longest = self.worker.settings().fetch_max_wait;
            longest.min(end.saturating_duration_since(now))
        } else {
            Duration::ZERO
        };
        let answer = self
            .worker
            .start(move |client| fetch(client, &wanted, wait));
        Some(Asked { since: now, answer })
    }

    /// Accepts the results of a fetch. Returns the error of a partition only if no fetched records wait to be polled.
    /// If such records exist, the error is not lost: the next fetch from this partition fails in the same way.
    fn accept(&mut self, fetched: Vec<Fetched>) -> Result<(), BackendError> {
        let mut failure = None;
        for Fetched { at, offset, found } in fetched {
            if !self.positions.is_at(&at, offset) {
                continue;
            }
            match found {
                Found::Records(records) => {
                    match records.last() {
                        Some(last) => self.positions.read(at, last.next_offset()),
                        None => self.positions.look_as_usual(&at),
                    }
                    self.outbox.extend(records);
                }
                Found::Nothing => self.positions.look_further(&at),
                Found::Elsewhere(beginning) => {
                    tracing::warn!(
                        topic = at.topic,
                        partition = at.partition,
                        offset,
                        "position is not in the log; the partition is read from its beginning"
                    );
                    self.positions.read(at, beginning);
                }
                Found::Failed(error) => {
                    // The crate does not know the error code that brokers send for Zstandard.
                    let hint = match code(&error) {
                        Some(KafkaCode::Unknown) => {
                            " (the records may be compressed with Zstandard)"
                        }
                        _ => "",
                    };
                    let what = format!(
                        "read partition {} of topic {} from offset {offset}{hint}",
                        at.partition, at.topic
                    );
                    failure = Some(failed(self.worker.context(what), error));
                }
            }
        }
        match failure {
            Some(error) if self.outbox.is_empty() => Err(error),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher")
            .field("positions", &self.positions)
            .field("fetched", &self.outbox.len())
            .finish_non_exhaustive()
    }
}
