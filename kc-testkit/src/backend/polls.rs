//! Polling until what must come has come.

use std::time::Duration;

use kc_core::backend::{GroupConsumer, LogReader, Record, TopicPartition};
use tokio::time::Instant;

use super::{Bench, Failure};
use crate::failure::ensure;

/// How long one poll waits.
pub(super) const POLL: Duration = Duration::from_millis(200);

/// The next `count` records.
pub(super) async fn read(
    bench: &Bench,
    reader: &mut dyn LogReader,
    count: usize,
) -> Result<Vec<Record>, Failure> {
    let end = Instant::now() + bench.deadline();
    let mut records = Vec::new();
    while records.len() < count {
        came_in_time(end, records.len(), count)?;
        records.extend(reader.poll(POLL).await?);
    }
    Ok(records)
}

/// The next `count` records; they are not stored.
pub(super) async fn gather(
    bench: &Bench,
    consumer: &mut dyn GroupConsumer,
    count: usize,
) -> Result<Vec<Record>, Failure> {
    let end = Instant::now() + bench.deadline();
    let mut records = Vec::new();
    while records.len() < count {
        came_in_time(end, records.len(), count)?;
        records.extend(consumer.poll(POLL).await?.records);
    }
    Ok(records)
}

fn came_in_time(end: Instant, have: usize, want: usize) -> Result<(), Failure> {
    ensure(Instant::now() < end, || {
        format!("only {have} of {want} records came")
    })
}

/// The positions behind these records.
pub(super) fn behind(records: &[Record]) -> Vec<(TopicPartition, i64)> {
    records
        .iter()
        .map(|record| {
            let at = TopicPartition {
                topic: record.topic.clone(),
                partition: record.partition,
            };
            (at, record.next_offset())
        })
        .collect()
}

/// Values as text.
pub(super) fn values(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| {
            let value = record.value.as_deref().unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        })
        .collect()
}
