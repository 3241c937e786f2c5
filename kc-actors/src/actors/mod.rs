//! The actors, each independent of the others: it knows the messages it sends, not who gets them.

mod chain;
mod exchange;
mod gateway;
mod keystore;
mod publisher;
mod ratchet;

pub use chain::ChainActor;
pub use exchange::{ExchangeActor, ExchangeParts};
pub use gateway::{GatewayActor, GatewayParts, Watched};
pub use keystore::KeystoreActor;
pub use publisher::{PublisherActor, PublisherParts};
pub use ratchet::{KeyArchive, RatchetActor, RatchetParts};
