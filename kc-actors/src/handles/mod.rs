//! Handles for applications. They seal and open in the thread of the caller. If the data key is known, they take no
//! lock, send no message to an actor, and allocate only the output. They work with any Kafka client.

mod failure;
mod opener;
mod sealer;
mod tables;

pub use failure::{Awaiting, OpenFailure};
pub use opener::Opener;
pub use sealer::{SealError, Sealer, Sealers};
pub(crate) use tables::WaitingRecords;
pub use tables::{CryptoTables, HeldPartition, MAX_SIGNALLED, Signals};
