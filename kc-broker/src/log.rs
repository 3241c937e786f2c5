//! The record log: parsed batches, the partitions that hold them, what is known of idempotent
//! producers, and the memory they may use. Pure: no clock, no I/O.

mod batch;
mod memory;
mod partition;
mod producers;
#[cfg(test)]
pub(crate) mod sample;

pub(crate) use batch::{BatchError, RecordBatch};
pub(crate) use memory::Memory;
pub(crate) use partition::{AppendError, Partition, TimeQuery};
pub(crate) use producers::SequenceError;
