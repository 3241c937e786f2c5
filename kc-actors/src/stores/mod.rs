//! A node's stores, watched: why one fails is told once for each cause, and that it works again. One that does not answer
//! fails, too: a module of a token may hang, and nothing interrupts it.

mod fault;
mod observed;
mod silence;
mod watch;

pub use fault::{Store, StoreFault};
use observed::Observed;
pub(crate) use silence::ask_in_time;
pub(crate) use watch::StoreWatch;
