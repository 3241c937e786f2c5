//! The actors, each independent of the others: it knows the messages it sends, not who gets them.

mod chain;
mod chain_server;
mod controller;
mod exchange;
mod gateway;
mod key_table;
mod keystore;
mod ratchet;
mod retry;
mod steps;

pub use chain::{ChainActor, ChainParts, TrustArchive};
pub use chain_server::{ChainKeyArchive, ChainServerActor, ChainServerParts};
pub use controller::{ControllerActor, ControllerParts};
pub use exchange::{ExchangeActor, ExchangeParts};
pub use gateway::{GatewayActor, GatewayParts, Watched};
pub use key_table::{KeyTableActor, KeyTableParts};
pub use keystore::KeystoreActor;
pub use ratchet::{KeyArchive, RatchetActor, RatchetParts};
pub(crate) use steps::watch_until_it_works;
