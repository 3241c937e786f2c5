//! Handles for applications: sealing and opening in the caller's thread, without a lock, a mailbox or
//! an allocation beyond the output. They work with any Kafka client.

mod deserializer;
mod outcome;
mod serializer;
mod tables;

pub use deserializer::Deserializer;
pub use outcome::{Awaiting, Outcome};
pub use serializer::{SealError, Serializer};
pub(crate) use tables::WaitingRecords;
pub use tables::{CryptoTables, MAX_SIGNALLED, Signals};
