//! The last records of topics.

use std::collections::BTreeMap;
use std::time::Duration;

use kc::BackendError;
use kc::core::backend::{Backend, LogReader, LogStart, Record};
use tokio::time::Instant;

/// The number of records that are read of each partition.
const LAST: i64 = 10;
/// The time limit of a call to the broker.
const DEADLINE: Duration = Duration::from_secs(10);
/// The maximum duration of one poll.
const POLL: Duration = Duration::from_millis(500);
/// The time limit for reading all records.
const READING: Duration = Duration::from_secs(10);
/// The number of polls without a record after which no record is expected any more. In a compacted topic, the last
/// offsets need not have records.
const EMPTY_POLLS: u32 = 3;

/// Calls `each` with the last records of each partition of the topics, up to the present end. Topics that do not exist are
/// left out.
pub(super) async fn read(
    backend: &dyn Backend,
    topics: &[String],
    each: impl FnMut(&Record),
) -> Result<(), BackendError> {
    let mut reader = backend.log_reader(None).await?;
    let read = read_with(reader.as_mut(), topics, each).await;
    reader.close().await;
    read
}

async fn read_with(
    reader: &mut dyn LogReader,
    topics: &[String],
    mut each: impl FnMut(&Record),
) -> Result<(), BackendError> {
    let mut starts = Vec::new();
    // By topic and partition: the end.
    let mut left: BTreeMap<(String, i32), i64> = BTreeMap::new();
    for topic in topics {
        let Some(watermarks) = reader.watermarks(topic, DEADLINE).await? else {
            continue;
        };
        let mut offsets = BTreeMap::new();
        for (partition, have) in (0..).zip(watermarks) {
            offsets.insert(partition, have.low.max(have.high.saturating_sub(LAST)));
            if have.high > have.low {
                left.insert((topic.clone(), partition), have.high);
            }
        }
        starts.push((topic.clone(), LogStart::Offsets(offsets)));
    }
    reader.assign(&starts).await?;
    let end = Instant::now() + READING;
    let mut empty = 0;
    while !left.is_empty() && empty < EMPTY_POLLS && Instant::now() < end {
        let records = reader.poll(POLL).await?;
        empty = if records.is_empty() { empty + 1 } else { 0 };
        for record in &records {
            each(record);
            let at = (record.topic.to_string(), record.partition);
            if left
                .get(&at)
                .is_some_and(|end| record.offset.saturating_add(1) >= *end)
            {
                left.remove(&at);
            }
        }
    }
    Ok(())
}
