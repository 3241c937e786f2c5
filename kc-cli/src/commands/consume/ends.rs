//! The ends of the partitions at the start of a run with `--until-end`.

use std::collections::BTreeMap;
use std::time::Duration;

use kc::core::backend::{Backend, LogReader, LogStart, MAX_LOG_PARTITIONS, Subscription};
use tokio::time::Instant;

use super::output::Shown;
use crate::error::{CliError, Exit};

/// The time limit of a call to the broker.
const DEADLINE: Duration = Duration::from_secs(10);
/// The time without records after which partitions are checked: their last offsets may have no records, because
/// compaction removed them, or because they are markers of transactions.
const QUIET: Duration = Duration::from_secs(3);
/// The time to wait for records in such a check.
const CHECK: Duration = Duration::from_secs(2);

/// The position at which a group begins to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    /// The group whose committed positions count; `None` if the run commits no positions and begins at the first
    /// record.
    pub(super) group: Option<&'a str>,
    /// Whether partitions without a committed position are read from their first record.
    pub(super) from_beginning: bool,
}

/// The partitions that were not read to the end that they had at the start.
#[derive(Debug)]
pub(super) struct Ends {
    /// By topic and partition: the next offset to read, and the end.
    left: BTreeMap<(String, i32), (i64, i64)>,
    reader: Box<dyn LogReader>,
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
            names.retain(|name| topics.wants(name));
        }
        let mut reader = backend.log_reader(start.group).await?;
        let mut left = BTreeMap::new();
        for topic in &names {
            let count = admin.partitions(topic, false, DEADLINE).await?;
            let most = usize::try_from(MAX_LOG_PARTITIONS).unwrap_or(usize::MAX);
            if count.is_some_and(|count| count > most) {
                let text = format!(
                    "{topic} has more than {MAX_LOG_PARTITIONS} partitions, which --until-end does not support"
                );
                return Err(CliError::new(Exit::Broker, text));
            }
            let watermarks = reader.watermarks(topic, DEADLINE).await?;
            for (partition, have) in (0..).zip(watermarks.unwrap_or_default()) {
                let next = if start.from_beginning {
                    have.low
                } else {
                    have.high
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
            last_record: Instant::now(),
        })
    }

    /// Takes note of a printed record.
    pub(super) fn passed(&mut self, record: &Shown<'_>) {
        self.last_record = Instant::now();
        let at = (record.topic.to_owned(), record.partition);
        if let Some((next, end)) = self.left.get_mut(&at) {
            *next = (*next).max(record.offset.saturating_add(1));
            if next >= end {
                self.left.remove(&at);
            }
        }
    }

    /// Returns whether all partitions were read to their ends.
    pub(super) fn are_reached(&self) -> bool {
        self.left.is_empty()
    }

    /// After some time without records: asks the broker whether there are records before the ends at all.
    pub(super) async fn check_if_quiet(&mut self) {
        if self.left.is_empty() || self.last_record.elapsed() < QUIET {
            return;
        }
        self.last_record = Instant::now();
        let mut starts: BTreeMap<&String, BTreeMap<i32, i64>> = BTreeMap::new();
        for ((topic, partition), (next, _)) in &self.left {
            starts.entry(topic).or_default().insert(*partition, *next);
        }
        let topics: Vec<_> = starts
            .into_iter()
            .map(|(topic, offsets)| (topic.clone(), LogStart::Offsets(offsets)))
            .collect();
        let names: Vec<String> = topics.iter().map(|(topic, _)| topic.clone()).collect();
        let checked = async {
            self.reader.assign(&topics).await?;
            let mut found = Vec::new();
            let until = Instant::now() + CHECK;
            while Instant::now() < until {
                found.extend(self.reader.poll(CHECK / 4).await?);
            }
            self.reader.unassign(&names).await?;
            Ok::<_, kc::BackendError>(found)
        };
        // After a failure, the next check asks again.
        if let Ok(found) = checked.await {
            self.left.retain(|(topic, partition), (_, end)| {
                found.iter().any(|record| {
                    record.topic == *topic && record.partition == *partition && record.offset < *end
                })
            });
        }
    }
}
