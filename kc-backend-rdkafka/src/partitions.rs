//! Partitions of ours and librdkafka's.

use kc_core::backend::{BackendError, BackendErrorKind, TopicPartition};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::failed;

/// The longest name of a topic, in bytes.
const LONGEST_NAME: usize = 249;

/// librdkafka's list of partitions, each with an offset.
pub(crate) fn list<'a>(
    partitions: impl IntoIterator<Item = (&'a TopicPartition, Offset)>,
) -> Result<TopicPartitionList, BackendError> {
    let mut list = TopicPartitionList::new();
    for (at, offset) in partitions {
        check_name(&at.topic)?;
        list.add_partition_offset(&at.topic, at.partition, offset)
            .map_err(|error| failed(format!("offset of {}", at.topic), error))?;
    }
    Ok(list)
}

/// The same without offsets.
pub(crate) fn bare_list<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
) -> Result<TopicPartitionList, BackendError> {
    list(partitions.into_iter().map(|at| (at, Offset::Invalid)))
}

/// The partition that an element is about.
pub(crate) fn named(element: &TopicPartitionListElem<'_>) -> TopicPartition {
    TopicPartition {
        topic: element.topic().to_owned(),
        partition: element.partition(),
    }
}

/// Refuses what is no topic's name, before the crate panics over it.
pub(crate) fn check_name(topic: &str) -> Result<(), BackendError> {
    if topic.is_empty() || topic.len() > LONGEST_NAME || topic.contains('\0') {
        return Err(BackendError::new(
            BackendErrorKind::Rejected,
            format!("{topic:?} is not the name of a topic"),
        ));
    }
    Ok(())
}
