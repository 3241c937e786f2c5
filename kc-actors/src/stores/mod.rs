//! A node's stores, watched: that one begins to fail is told once, and that it works again.

mod fault;
mod observed;
mod watch;

pub use fault::{Store, StoreFault};
use observed::Observed;
pub(crate) use watch::StoreWatch;
