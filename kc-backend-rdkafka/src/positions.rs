//! Committed positions of a group. All functions block.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use kc_core::backend::{BackendError, BackendErrorKind, TopicPartition};
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;

use crate::error::{awaits_coordinator, failed};
use crate::lookup::left;
use crate::record::{bare_list, list, named};

/// The pause between attempts while the group's coordinator is not ready.
const BACKOFF: Duration = Duration::from_millis(100);

/// Returns the positions that the group has committed; partitions without a position are omitted.
///
/// librdkafka could also read the committed positions by itself. But then it would wait without end if a new cluster
/// has no coordinator for the group yet.
pub(crate) fn committed<'a, C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
    context: &str,
    end: Instant,
) -> Result<BTreeMap<TopicPartition, i64>, BackendError> {
    let asked = bare_list(partitions)?;
    if asked.count() == 0 {
        return Ok(BTreeMap::new());
    }
    let answered = patiently(context, end, || {
        consumer.committed_offsets(asked.clone(), left(end))
    })?;
    let mut found = BTreeMap::new();
    for element in answered.elements() {
        element.error().map_err(|error| failed(context, error))?;
        if let Offset::Offset(offset) = element.offset() {
            found.insert(named(&element), offset);
        }
    }
    Ok(found)
}

/// Commits positions.
pub(crate) fn commit<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    positions: &BTreeMap<TopicPartition, i64>,
    context: &str,
    end: Instant,
) -> Result<(), BackendError> {
    if positions.is_empty() {
        return Ok(());
    }
    let offsets = list(
        positions
            .iter()
            .map(|(at, offset)| (at, Offset::Offset(*offset))),
    )?;
    // librdkafka's commit would wait for the coordinator as long as a session lasts. Therefore first make this request,
    // which waits for the coordinator only until `end`.
    committed(consumer, positions.keys().take(1), context, end)?;
    patiently(context, end, || consumer.commit(&offsets, CommitMode::Sync))
}

/// Makes a call, and repeats it until `end` while the group's coordinator is not ready.
fn patiently<T>(
    context: &str,
    end: Instant,
    ask: impl Fn() -> KafkaResult<T>,
) -> Result<T, BackendError> {
    loop {
        let error = match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if !awaits_coordinator(&error) {
            return Err(failed(context, error));
        }
        if Instant::now() + BACKOFF >= end {
            let timeout = BackendError::new(BackendErrorKind::Timeout, context);
            return Err(timeout.with_source(error));
        }
        thread::sleep(BACKOFF);
    }
}
