//! Changes of the partitions that a consumer reads. All functions block until librdkafka has stopped to read the
//! partitions that were removed.
//!
//! librdkafka up to 2.15.0 ends the process with a failed assertion if a partition is removed, added, and removed again
//! before its own thread has handled the answer to the first removal
//! ([issue 5573](https://github.com/confluentinc/librdkafka/issues/5573)).

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaResult;

/// Reads exactly these partitions.
pub(crate) fn replace<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &TopicPartitionList,
) -> KafkaResult<()> {
    consumer.assign(partitions)?;
    await_stops(consumer)
}

/// Reads no partitions any more.
pub(crate) fn clear<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> KafkaResult<()> {
    consumer.unassign()?;
    await_stops(consumer)
}

/// Reads these partitions too.
pub(crate) fn add<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &TopicPartitionList,
) -> KafkaResult<()> {
    consumer.incremental_assign(partitions)
}

/// Reads these partitions no more.
pub(crate) fn remove<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partitions: &TopicPartitionList,
) -> KafkaResult<()> {
    consumer.incremental_unassign(partitions)?;
    await_stops(consumer)
}

/// Waits until librdkafka has stopped all partitions that it was told to stop.
///
/// Its thread handles operations in the order of their arrival. The stops were requested during the last change, so
/// they are done before the first question below is answered, and their completion is noted before the second is.
fn await_stops<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> KafkaResult<()> {
    for _ in 0..2 {
        consumer.assignment()?;
    }
    Ok(())
}
