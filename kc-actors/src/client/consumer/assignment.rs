//! Reading without a consumer group.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use kc_core::backend::{
    Backend, BackendError, BackendErrorKind, GroupConsumer, LogReader, LogStart, Polled, Record,
    Subscription, TopicPartition, Watermarks, not_assigned,
};

/// The time limit for asking a broker for the offsets of a topic.
const LOOK_DEADLINE: Duration = Duration::from_secs(10);

/// The part of its topics that a consumer reads without a consumer group. The consumer neither begins at committed
/// positions nor commits any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The partition to read in each topic; `None` for all partitions, up to
    /// [`MAX_LOG_PARTITIONS`](kc_core::backend::MAX_LOG_PARTITIONS) of each topic.
    pub partition: Option<i32>,
    /// The position at which reading begins.
    pub position: Position,
}

/// A position in the log of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Position {
    /// The first available record.
    Beginning,
    /// The end, after the present last record.
    End,
    /// An offset. If the log does not contain it, the position is the nearest offset that the log contains.
    Offset(i64),
    /// This number of offsets before the end, but not before the first available record. If offsets have no record
    /// (compaction removed it, or a transaction marker has the offset), fewer records follow.
    BeforeEnd(i64),
}

impl Position {
    /// Returns the offset of the position in a partition that has these watermarks.
    ///
    /// ```
    /// use kc_actors::Position;
    /// use kc_core::backend::Watermarks;
    ///
    /// let log = Watermarks { low: 5, high: 10 };
    /// assert_eq!(Position::BeforeEnd(2).resolve(log), 8);
    /// assert_eq!(Position::Offset(3).resolve(log), 5);
    /// ```
    #[must_use]
    pub fn resolve(self, log: Watermarks) -> i64 {
        match self {
            Self::Beginning => log.low,
            Self::End => log.high,
            Self::Offset(offset) => offset.min(log.high).max(log.low),
            Self::BeforeEnd(count) => log.high.saturating_sub(count).max(log.low),
        }
    }
}

impl Assignment {
    /// All partitions, from the first available record.
    pub const WHOLE: Self = Self {
        partition: None,
        position: Position::Beginning,
    };

    /// Returns whether a partition is assigned.
    fn includes(self, partition: i32) -> bool {
        self.partition.is_none_or(|wanted| wanted == partition)
    }

    /// Returns the offset at which reading begins in a partition that has these watermarks. A partition that is not
    /// assigned begins at its end, so that nothing is fetched from it.
    #[must_use]
    pub fn start(self, partition: i32, log: Watermarks) -> i64 {
        let position = if self.includes(partition) {
            self.position
        } else {
            Position::End
        };
        position.resolve(log)
    }

    /// Connects a client that reads the assigned partitions of `topics`. It is used like a member of a group, but has no
    /// group: [`commit`](GroupConsumer::commit) does nothing.
    ///
    /// Cancel safe: the connection is abandoned.
    ///
    /// # Errors
    /// Returns a [`BackendError`] of the kind `Configuration` if `topics` contain a regular expression, of the kind
    /// `UnknownTopic` if a topic or its assigned partition does not exist, and of another kind if no broker answers in
    /// time or the broker denies the access.
    pub async fn read(
        self,
        backend: &dyn Backend,
        topics: &Subscription,
    ) -> Result<Box<dyn GroupConsumer>, BackendError> {
        if topics.is_open() {
            let context =
                "a consumer without a group reads topics by name, not by regular expression";
            return Err(BackendError::new(BackendErrorKind::Configuration, context));
        }
        let mut reader = backend.log_reader(None).await?;
        let mut next = BTreeMap::new();
        for topic in topics.names() {
            for (at, offset) in self.starts(topic, reader.as_mut()).await? {
                next.insert(at, offset);
            }
        }
        let mut assigned = Assigned {
            reader,
            assignment: self,
            next,
            paused: BTreeSet::new(),
            left_out: BTreeSet::new(),
        };
        for topic in topics.names() {
            assigned.assign(topic).await?;
        }
        Ok(Box::new(assigned))
    }

    /// Returns the offset at which reading begins in each partition of a topic.
    async fn starts(
        self,
        topic: &str,
        reader: &mut dyn LogReader,
    ) -> Result<Vec<(TopicPartition, i64)>, BackendError> {
        let logs = reader.watermarks(topic, LOOK_DEADLINE).await?;
        let logs = logs.unwrap_or_default();
        let has = |partition: i32| usize::try_from(partition).is_ok_and(|it| it < logs.len());
        if logs.is_empty() || self.partition.is_some_and(|partition| !has(partition)) {
            let context = match self.partition {
                Some(partition) => format!("read partition {partition} of topic {topic}"),
                None => format!("read topic {topic}"),
            };
            return Err(BackendError::new(BackendErrorKind::UnknownTopic, context));
        }
        let starts = (0..).zip(logs).map(|(partition, log)| {
            let topic = topic.to_owned();
            let start = self.start(partition, log);
            (TopicPartition { topic, partition }, start)
        });
        Ok(starts.collect())
    }
}

/// The client of an [`Assignment`].
#[derive(Debug)]
struct Assigned {
    reader: Box<dyn LogReader>,
    assignment: Assignment,
    /// The offset of the next record of each partition.
    next: BTreeMap<TopicPartition, i64>,
    paused: BTreeSet<TopicPartition>,
    /// The paused partitions of which records arrived and were left out. They are read again from `next`.
    left_out: BTreeSet<TopicPartition>,
}

impl Assigned {
    /// Reads a topic from the next offset of each partition.
    async fn assign(&mut self, topic: &str) -> Result<(), BackendError> {
        let next = self.next.iter().filter(|(at, _)| at.topic == topic);
        let next = next.map(|(at, offset)| (at.partition, *offset)).collect();
        let start = [(topic.to_owned(), LogStart::Offsets(next))];
        self.reader.assign(&start).await
    }

    /// Reads again the partitions that were resumed, from the records that were left out.
    async fn read_again(&mut self) -> Result<(), BackendError> {
        let resumed = self.left_out.iter().filter(|at| !self.paused.contains(*at));
        let topics: BTreeSet<String> = resumed.map(|at| at.topic.clone()).collect();
        for topic in topics {
            self.reader.unassign(std::slice::from_ref(&topic)).await?;
            self.assign(&topic).await?;
            self.left_out.retain(|at| at.topic != topic);
        }
        Ok(())
    }

    /// Returns whether a record is due: it belongs to an assigned partition that is not paused.
    fn is_due(&mut self, record: &Record) -> bool {
        if !self.assignment.includes(record.partition) {
            return false;
        }
        let at = record.at();
        if self.paused.contains(&at) {
            self.next.entry(at.clone()).or_insert(record.offset);
            self.left_out.insert(at);
            return false;
        }
        self.next.insert(at, record.next_offset());
        true
    }
}

#[async_trait]
impl GroupConsumer for Assigned {
    async fn poll(&mut self, wait: Duration) -> Result<Polled, BackendError> {
        self.read_again().await?;
        if !self.paused.is_empty() && self.assignment().iter().all(|at| self.paused.contains(at)) {
            tokio::time::sleep(wait).await;
            return Ok(Polled::default());
        }
        let mut records = self.reader.poll(wait).await?;
        records.retain(|record| self.is_due(record));
        Ok(Polled {
            records,
            revoked: Vec::new(),
        })
    }

    fn store(&mut self, _: &[(TopicPartition, i64)]) {}

    async fn commit(&mut self, _: Duration) -> Result<(), BackendError> {
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) {
        self.paused.extend(partitions.iter().cloned());
    }

    fn resume(&mut self, partitions: &[TopicPartition]) {
        self.paused.retain(|at| !partitions.contains(at));
    }

    async fn seek(&mut self, at: &TopicPartition, offset: i64) -> Result<(), BackendError> {
        if !self.assignment.includes(at.partition) || !self.next.contains_key(at) {
            return Err(not_assigned(at));
        }
        self.next.insert(at.clone(), offset);
        self.reader
            .unassign(std::slice::from_ref(&at.topic))
            .await?;
        self.assign(&at.topic).await
    }

    fn assignment(&self) -> Vec<TopicPartition> {
        let all = self.next.keys();
        let is_assigned = |at: &&TopicPartition| self.assignment.includes(at.partition);
        all.filter(is_assigned).cloned().collect()
    }

    async fn close(self: Box<Self>, _: Duration) -> Result<(), BackendError> {
        self.reader.close().await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kc_core::backend::Committed;

    use super::*;

    /// A topic "t" with two partitions of ten records. Each poll returns the next record of each partition.
    #[derive(Debug, Default)]
    struct Log(BTreeMap<i32, i64>);

    #[async_trait]
    impl LogReader for Log {
        async fn assign(&mut self, topics: &[(String, LogStart)]) -> Result<(), BackendError> {
            if let [(_, LogStart::Offsets(offsets))] = topics {
                self.0.clone_from(offsets);
            }
            Ok(())
        }

        async fn unassign(&mut self, _: &[String]) -> Result<(), BackendError> {
            self.0.clear();
            Ok(())
        }

        async fn poll(&mut self, _: Duration) -> Result<Vec<Record>, BackendError> {
            let left = self.0.iter_mut().filter(|(_, next)| **next < 10);
            let record = |(partition, next): (&i32, &mut i64)| {
                *next += 1;
                Record {
                    topic: "t".into(),
                    partition: *partition,
                    offset: *next - 1,
                    timestamp: None,
                    key: None,
                    value: None,
                    headers: Vec::new(),
                }
            };
            Ok(left.map(record).collect())
        }

        async fn watermarks(
            &mut self,
            _: &str,
            _: Duration,
        ) -> Result<Option<Vec<Watermarks>>, BackendError> {
            Ok(Some(vec![Watermarks { low: 0, high: 10 }; 2]))
        }

        async fn committed(
            &mut self,
            _: &[String],
            _: Duration,
        ) -> Result<Vec<Committed>, BackendError> {
            Ok(Vec::new())
        }

        async fn commit(&mut self, _: &[Committed], _: Duration) -> Result<(), BackendError> {
            Ok(())
        }

        async fn close(self: Box<Self>) {}
    }

    fn at(partition: i32) -> TopicPartition {
        let topic = "t".to_owned();
        TopicPartition { topic, partition }
    }

    async fn reader(assignment: Assignment) -> Assigned {
        let mut log = Log::default();
        let starts = assignment.starts("t", &mut log).await.unwrap();
        let mut reader = Assigned {
            reader: Box::new(log),
            assignment,
            next: starts.into_iter().collect(),
            paused: BTreeSet::new(),
            left_out: BTreeSet::new(),
        };
        reader.assign("t").await.unwrap();
        reader
    }

    async fn polls(reader: &mut Assigned, count: usize) -> Vec<(i32, i64)> {
        let mut seen = Vec::new();
        for _ in 0..count {
            let polled = reader.poll(Duration::ZERO).await.unwrap();
            seen.extend(polled.records.iter().map(|it| (it.partition, it.offset)));
        }
        seen
    }

    #[test]
    fn watermarks_that_contradict_each_other_give_some_offset() {
        let log = Watermarks { low: 10, high: 5 };
        for position in [Position::Offset(7), Position::BeforeEnd(2)] {
            assert_eq!(position.resolve(log), 10);
        }
    }

    #[tokio::test]
    async fn a_paused_partition_goes_on_where_it_stopped_and_no_record_comes_twice() {
        let all = Assignment {
            partition: None,
            position: Position::Offset(6),
        };
        let mut reader = reader(all).await;
        assert_eq!(polls(&mut reader, 1).await, [(0, 6), (1, 6)]);
        reader.pause(&[at(0)]);
        assert_eq!(polls(&mut reader, 2).await, [(1, 7), (1, 8)]);
        reader.pause(&[at(1)]);
        assert_eq!(polls(&mut reader, 2).await, []);
        reader.resume(&[at(0), at(1)]);
        let rest = polls(&mut reader, 4).await;
        assert_eq!(rest, [(0, 7), (1, 9), (0, 8), (0, 9)]);
    }

    #[tokio::test]
    async fn only_the_assigned_partition_is_read() {
        let one = Assignment {
            partition: Some(1),
            position: Position::BeforeEnd(2),
        };
        let mut reader = reader(one).await;
        assert_eq!(reader.assignment(), [at(1)]);
        assert_eq!(polls(&mut reader, 3).await, [(1, 8), (1, 9)]);
        let missing = Assignment {
            partition: Some(2),
            ..one
        };
        let missing = missing.starts("t", &mut Log::default()).await.unwrap_err();
        assert_eq!(missing.kind(), BackendErrorKind::UnknownTopic);
    }
}
