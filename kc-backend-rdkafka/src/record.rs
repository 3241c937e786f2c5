//! Conversion of records and partitions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use kc_core::backend::{
    BackendError, BackendErrorKind, Header, OutgoingRecord, Record, TopicPartition,
};
use rdkafka::message::{BorrowedMessage, Header as NativeHeader, Headers, Message, OwnedHeaders};
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::failed;

/// The maximum number of bytes that a record needs in a request in addition to its key, value and headers.
const OVERHEAD: usize = 70;

/// The maximum number of bytes that a header needs in addition to its name and value.
const HEADER_OVERHEAD: usize = 10;

/// Copies records out of librdkafka's memory. Records of the same topic share its name.
#[derive(Default)]
pub(crate) struct Fetched {
    /// The topic of the last record.
    topic: Option<Arc<str>>,
}

impl Fetched {
    pub(crate) fn record(&mut self, message: &BorrowedMessage<'_>) -> Record {
        let name = message.topic();
        let topic = match &self.topic {
            Some(topic) if **topic == *name => Arc::clone(topic),
            _ => Arc::clone(self.topic.insert(name.into())),
        };
        fetched(topic, message)
    }
}

fn fetched(topic: Arc<str>, message: &BorrowedMessage<'_>) -> Record {
    Record {
        topic,
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().filter(|time| *time >= 0),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        headers: message.headers().map(headers).unwrap_or_default(),
    }
}

fn headers(headers: &impl Headers) -> Vec<Header> {
    (0..headers.count())
        .map_while(|index| {
            // The crate `rdkafka` panics if a name is not UTF-8, and any client may send such a name.
            let header = catch_unwind(AssertUnwindSafe(|| headers.try_get(index)));
            match header {
                Ok(header) => header.map(|header| Header {
                    name: header.key.to_owned(),
                    value: header.value.map(<[u8]>::to_vec),
                }),
                Err(_) => Some(Header {
                    name: char::REPLACEMENT_CHARACTER.to_string(),
                    value: None,
                }),
            }
        })
        .collect()
}

pub(crate) fn outgoing_headers(headers: &[Header]) -> Option<OwnedHeaders> {
    if headers.is_empty() {
        return None;
    }
    let native = OwnedHeaders::new_with_capacity(headers.len());
    let native = headers.iter().fold(native, |native, header| {
        native.insert(NativeHeader {
            key: &header.name,
            value: header.value.as_deref(),
        })
    });
    Some(native)
}

/// Returns the number of bytes that `record` needs in a request at most.
pub(crate) fn size(record: &OutgoingRecord) -> usize {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers: usize = record
        .headers
        .iter()
        .map(|header| header.name.len() + length(&header.value) + HEADER_OVERHEAD)
        .sum();
    length(&record.key) + length(&record.value) + headers + OVERHEAD
}

/// The maximum length of a topic's name, in bytes.
const LONGEST_NAME: usize = 249;

/// Returns `partitions` as a list of librdkafka's type, each with its offset.
pub(crate) fn list<'a>(
    partitions: impl IntoIterator<Item = (&'a TopicPartition, Offset)>,
) -> Result<TopicPartitionList, BackendError> {
    let mut list = TopicPartitionList::new();
    for (at, offset) in partitions {
        check_name(&at.topic)?;
        list.add_partition_offset(&at.topic, at.partition, offset)
            .map_err(|error| failed(format!("set the offset for topic {}", at.topic), error))?;
    }
    Ok(list)
}

/// Returns `partitions` as a list of librdkafka's type, without offsets.
pub(crate) fn bare_list<'a>(
    partitions: impl IntoIterator<Item = &'a TopicPartition>,
) -> Result<TopicPartitionList, BackendError> {
    list(partitions.into_iter().map(|at| (at, Offset::Invalid)))
}

/// Returns the partition that an element of librdkafka's list names.
pub(crate) fn named(element: &TopicPartitionListElem<'_>) -> TopicPartition {
    TopicPartition {
        topic: element.topic().to_owned(),
        partition: element.partition(),
    }
}

/// Returns an error for topic names on which the crate `rdkafka` would panic: empty names, names of more than 249
/// bytes, and names with a zero byte.
pub(crate) fn check_name(topic: &str) -> Result<(), BackendError> {
    if topic.is_empty() || topic.len() > LONGEST_NAME || topic.contains('\0') {
        return Err(BackendError::new(
            BackendErrorKind::Rejected,
            format!("invalid topic name {topic:?}"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers as the crate returns them; the first name is not UTF-8.
    struct Foreign;

    impl Headers for Foreign {
        fn count(&self) -> usize {
            2
        }

        #[allow(clippy::panic, reason = "as the crate does")]
        fn try_get(&self, index: usize) -> Option<NativeHeader<'_, &[u8]>> {
            match index {
                0 => panic!("not UTF-8"),
                _ => Some(NativeHeader {
                    key: "b",
                    value: Some(b"1"),
                }),
            }
        }
    }

    #[test]
    fn a_header_that_is_not_utf_8_takes_nothing_else_along() {
        let names: Vec<String> = headers(&Foreign).into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["\u{fffd}", "b"]);
    }
}
