//! An encrypted producer and consumer for those who want ten lines: a backend's client with the handles
//! in front of it.

mod consumer;
mod partition_counts;
mod partitioner;
mod producer;

pub use consumer::{
    ConsumeError, EncryptedConsumer, ForeignPolicy, MAX_ALL_PARKED_BYTES, MAX_PARKED_BYTES,
    MAX_PARKED_RECORDS, OpenedRecord,
};
pub use producer::{EncryptedProducer, PlainRecord, ProduceError};
