//! A node's stores, watched: why one fails is told once for each cause, and that it works again.

mod fault;
mod observed;
mod watch;

pub use fault::{Store, StoreFault};
use observed::Observed;
pub(crate) use watch::StoreWatch;
