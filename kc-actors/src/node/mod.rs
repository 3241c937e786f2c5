//! A whole node: the actors in their default wiring, on a thread of their own.

mod archive;
mod config_archives;
mod error;
mod identity;
mod run_on_thread;
mod settings;
mod start;
mod status;
mod supervisor;
mod thread;

pub use archive::SealedArchive;
pub use config_archives::{ConfigChainKeys, ConfigTrustArchive};
pub use error::NodeError;
pub use identity::{stored_entries, stored_trust};
pub use settings::{CryptoSettings, DeniedKeys, NodeSettings};
pub use start::{Node, NodeParts, NodeRoles, ShutdownReport};
pub use status::NodeStatus;
pub use supervisor::Roles;
