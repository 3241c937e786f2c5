//! Records, and their places in Kafka.

use std::sync::Arc;

use bytes::Bytes;

/// A header of a record: a name, and a value that may be null.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name. Several headers of a record may have the same name.
    pub name: String,
    /// The value.
    pub value: Option<Vec<u8>>,
}

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number, from 0.
    pub partition: i32,
}

/// A fetched record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The topic's name. Records of one poll share it.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// The timestamp in milliseconds since the epoch, if the broker keeps one.
    pub timestamp: Option<i64>,
    /// The Kafka key; null and empty are different. It may share a buffer with other records.
    pub key: Option<Bytes>,
    /// The Kafka value; null and empty are different. It may share a buffer with other records.
    pub value: Option<Bytes>,
    /// The headers, in the order in which the record contains them.
    pub headers: Vec<Header>,
}

impl Record {
    /// Returns the partition of the record.
    #[must_use]
    pub fn at(&self) -> TopicPartition {
        TopicPartition {
            topic: self.topic.to_string(),
            partition: self.partition,
        }
    }

    /// Returns whether the record is from this partition. Does not allocate.
    #[must_use]
    pub fn is_of(&self, at: &TopicPartition) -> bool {
        self.partition == at.partition && *self.topic == *at.topic
    }

    /// Copies key and value, so that the record no longer keeps the buffer in memory that it shares with other records. A
    /// record that is stored for long needs this.
    pub fn detach(&mut self) {
        for part in [&mut self.key, &mut self.value].into_iter().flatten() {
            *part = Bytes::copy_from_slice(part);
        }
    }

    /// Returns the offset after this record. If the record has the largest possible offset (`i64::MAX`), returns this
    /// offset itself.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.offset.saturating_add(1)
    }
}

/// A record to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutgoingRecord {
    /// The topic's name.
    pub topic: String,
    /// The partition. If this is `None`, the client chooses the partition by the hash of the key. Records without a key
    /// are distributed evenly.
    pub partition: Option<i32>,
    /// The Kafka key.
    pub key: Option<Vec<u8>>,
    /// The Kafka value.
    pub value: Option<Vec<u8>>,
    /// The headers, in the order in which they are sent.
    pub headers: Vec<Header>,
}

/// The position of an acknowledged record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The partition.
    pub partition: i32,
    /// The offset. It is −1 if the broker has the record but no longer knows its position, which can happen when an
    /// acknowledgement is lost and the record is sent again.
    pub offset: i64,
}
