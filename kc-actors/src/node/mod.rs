//! A whole node: the actors in their default wiring, on a thread of their own.

mod archive;
mod error;
mod identity;
mod root;
mod settings;
mod start;
mod wiring;

pub use archive::SealedArchive;
pub use error::NodeError;
pub use identity::{stored_chains, stored_trust};
pub use settings::{CryptoSettings, NodeSettings};
pub use start::{Node, NodeParts, NodeStatus, ShutdownReport};
