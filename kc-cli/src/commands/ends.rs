//! The ends of partitions at the start of a run that reads to these ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kc::core::backend::{Backend, LogReader, LogStart, MAX_LOG_PARTITIONS, Subscription};
use kc::core::text::with_sources;
use kc::{Assignment, BackendError};
use tokio::time::Instant;

use crate::error::{CliError, Exit};

/// The time limit of a call to the broker.
const DEADLINE: Duration = Duration::from_secs(10);
/// The time without records after which a partition is checked: its last offsets may have no records, because
/// compaction removed them, or because they are markers of transactions.
const QUIET: Duration = Duration::from_secs(10);
/// The time for which polls of a checked partition must return nothing, so that the partition counts as read.
const CHECK: Duration = Duration::from_secs(10);
/// The maximum duration of one poll in a check.
const POLL: Duration = Duration::from_millis(500);

/// The position at which a run begins to read.
#[derive(Clone, Copy)]
pub(super) struct Start<'a> {
    /// The partitions and the position to read without a group, if the run does so.
    pub(super) assignment: Option<Assignment>,
    /// The group whose committed positions count; `None` if the run commits no positions and begins at the first
    /// record.
    pub(super) group: Option<&'a str>,
    /// Whether partitions without a committed position are read from their first record.
    pub(super) from_beginning: bool,
    /// Returns whether a topic that matches a regular expression is left out.
    pub(super) is_left_out: &'a (dyn Fn(&str) -> bool + Sync),
}

/// The partitions that were not read to the end that they had at the start.
#[derive(Debug)]
pub(super) struct Ends {
    /// By topic and partition: the next offset to read, and the end.
    left: BTreeMap<(String, i32), (i64, i64)>,
    reader: Box<dyn LogReader>,
    has_group: bool,
    last_record: Instant,
}

impl Ends {
    /// Asks the broker for the ends of all partitions of the topics.
    ///
    /// # Errors
    /// [`Exit::Broker`] if a topic has more partitions than kc can watch, or the broker cannot be reached.
    pub(super) async fn at_start(
        backend: &dyn Backend,
        topics: &Subscription,
        start: Start<'_>,
    ) -> Result<Self, CliError> {
        let mut names: Vec<String> = topics.names().iter().cloned().collect();
        let admin = backend.admin().await?;
        if topics.is_open() {
            names = admin.topics(DEADLINE).await?;
            names.retain(|name| topics.wants(name) && !(start.is_left_out)(name));
        }
        let mut reader = backend.log_reader(start.group).await?;
        let mut left = BTreeMap::new();
        for topic in &names {
            let count = admin.partitions(topic, false, DEADLINE).await?;
            let most = usize::try_from(MAX_LOG_PARTITIONS).unwrap_or(usize::MAX);
            if count.is_some_and(|count| count > most) {
                let text = format!(
                    "{topic} has more than {MAX_LOG_PARTITIONS} partitions: kc cannot read it to its present end"
                );
                return Err(CliError::new(Exit::Broker, text));
            }
            let watermarks = reader.watermarks(topic, DEADLINE).await?;
            for (partition, have) in (0..).zip(watermarks.unwrap_or_default()) {
                let next = match start.assignment {
                    Some(assignment) => assignment.start(partition, have),
                    None if start.from_beginning => have.low,
                    None => have.high,
                };
                left.insert((topic.clone(), partition), (next, have.high));
            }
        }
        admin.close().await;
        if start.group.is_some() {
            for at in reader.committed(&names, DEADLINE).await? {
                if let Some((next, _)) = left.get_mut(&(at.topic, at.partition)) {
                    *next = at.offset;
                }
            }
        }
        left.retain(|_, (next, end)| next < end);
        Ok(Self {
            left,
            reader,
            has_group: start.group.is_some(),
            last_record: Instant::now(),
        })
    }

    /// Takes note of a record that was processed.
    pub(super) fn passed(&mut self, topic: &str, partition: i32, offset: i64) {
        self.last_record = Instant::now();
        let at = (topic.to_owned(), partition);
        if let Some((next, end)) = self.left.get_mut(&at) {
            *next = (*next).max(offset.saturating_add(1));
            if next >= end {
                self.left.remove(&at);
            }
        }
    }

    /// Returns whether all partitions were read to their ends.
    pub(super) fn are_reached(&self) -> bool {
        self.left.is_empty()
    }

    /// If no record was printed for the time [`QUIET`], asks the broker for the committed positions, and whether one of
    /// the partitions has any record left before its end. A failed check proves nothing, and is repeated later.
    ///
    /// Not cancel safe: after a cancelled check, the run must end.
    pub(super) async fn check_if_quiet(&mut self) {
        if self.left.is_empty() || self.last_record.elapsed() < QUIET {
            return;
        }
        if let Err(error) = self.check().await {
            tracing::debug!(error = %with_sources(&error), "the ends of partitions cannot be checked");
        }
        self.last_record = Instant::now();
    }

    async fn check(&mut self) -> Result<(), BackendError> {
        if self.has_group {
            let topics: BTreeSet<String> =
                self.left.keys().map(|(topic, _)| topic.clone()).collect();
            let topics: Vec<String> = topics.into_iter().collect();
            // Records that are left out are committed, too, and another member of the group may have read a partition.
            for at in self.reader.committed(&topics, DEADLINE).await? {
                let at_end = |(_, end): &mut (i64, i64)| at.offset >= *end;
                let place = (at.topic.clone(), at.partition);
                if self.left.get_mut(&place).is_some_and(at_end) {
                    self.left.remove(&place);
                }
            }
        }
        let first = self.left.first_key_value();
        let Some((place, (next, end))) = first.map(|(place, ends)| (place.clone(), *ends)) else {
            return Ok(());
        };
        if !self.has_record(&place, next, end).await? {
            self.left.remove(&place);
        }
        Ok(())
    }

    /// Returns whether a partition has a record from `next` on and before `end`.
    async fn has_record(
        &mut self,
        (topic, partition): &(String, i32),
        next: i64,
        end: i64,
    ) -> Result<bool, BackendError> {
        // The other partitions are read from their ends, so that only this one is fetched.
        let offsets = self.reader.watermarks(topic, DEADLINE).await?;
        let highs = (0..).zip(offsets.unwrap_or_default());
        let mut starts: BTreeMap<i32, i64> = highs.map(|(at, have)| (at, have.high)).collect();
        starts.insert(*partition, next);
        let start = [(topic.clone(), LogStart::Offsets(starts))];
        self.reader.assign(&start).await?;
        let mut found = None;
        let until = Instant::now() + CHECK;
        while found.is_none() && Instant::now() < until {
            let records = self.reader.poll(POLL).await?;
            let mut records = records
                .iter()
                .filter(|record| record.partition == *partition);
            found = records.next().map(|record| record.offset < end);
        }
        self.reader.unassign(std::slice::from_ref(topic)).await?;
        Ok(found.unwrap_or(false))
    }
}
