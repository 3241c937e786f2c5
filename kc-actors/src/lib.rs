//! Actors around the state machines of `kc-core`, and lock-free handles to seal and open with.
//!
//! | part | what it is |
//! |---|---|
//! | [`Node`] | all actors in their default wiring, on a thread of their own |
//! | [`Serializer`], [`Deserializer`] | handles for applications; any thread, any Kafka client |
//! | [`EncryptedProducer`], [`EncryptedConsumer`] | a backend's clients with the handles in front |
//! | [`ExchangeActor`], [`ChainActor`], [`RatchetActor`], [`KeystoreActor`], [`GatewayActor`], [`KeyTableActor`], [`ControllerActor`], [`ChainServerActor`] | the actors, to be composed anew |
//! | [`messages`] | what they say to each other |
//! | [`Slot`] | where messages go: bounded, and replaceable |
//! | [`NodeEvent`] | what happens, for people and metrics |
//!
//! Actors know the messages that they send, not who gets them: each is given [`Slot`]s. A running node gives
//! its [`Slots`], and whoever composes a node of their own can put another actor behind any of them:
//!
//! ```
//! use actix::SyncArbiter;
//! use kc_actors::messages::OwnIdentities;
//! use kc_actors::{ChainActor, ChainParts, Clock, Events, Slot, TrustArchive};
//! use kc_core::chain::{TrustEntry, TrustList, TrustStore};
//! use kc_core::store::StoreError;
//!
//! /// Forgets what changes.
//! #[derive(Debug)]
//! struct Forgetful;
//!
//! impl TrustArchive for Forgetful {
//!     fn add_entry(&mut self, _: TrustList, _: &TrustEntry) -> Result<(), StoreError> {
//!         Ok(())
//!     }
//!
//!     fn replace_chain(&mut self, _: usize, _: &[u8]) -> Result<(), StoreError> {
//!         Ok(())
//!     }
//! }
//!
//! #[actix::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     // A chain validation that trusts nobody, and a node without a key.
//!     let actor = ChainActor::new(ChainParts {
//!         trust: TrustStore::new(None, vec![]),
//!         identities: vec![],
//!         archive: Box::new(Forgetful),
//!         clock: Clock::system(),
//!         events: Events::default(),
//!     });
//!     let chain_validation = SyncArbiter::start(1, move || actor.clone());
//!
//!     let identities: Slot<OwnIdentities> = Slot::to(&chain_validation);
//!     assert!(identities.send(OwnIdentities).await?.is_err(), "nobody can sign");
//!     Ok(())
//! }
//! ```

mod actors;
mod client;
mod clock;
mod entropy;
mod events;
mod handles;
pub mod messages;
mod node;
mod slot;
mod stores;
pub use actors::*;
pub use client::{
    ConsumeError, EncryptedConsumer, EncryptedProducer, ForeignPolicy, MAX_ALL_PARKED_BYTES,
    MAX_PARKED_BYTES, MAX_PARKED_RECORDS, OpenedRecord, PlainRecord, ProduceError,
};
pub use clock::Clock;
pub use entropy::Entropy;
pub use events::{EventListener, Events, NodeEvent};
pub use handles::{
    Awaiting, CryptoTables, Deserializer, MAX_SIGNALLED, Outcome, SealError, Serializer, Signals,
};
pub use node::{
    ConfigChainKeys, ConfigTrustArchive, CryptoSettings, DeniedKeys, Node, NodeError, NodeParts,
    NodeRoles, NodeSettings, NodeStatus, SealedArchive, ShutdownReport, Slots, stored_entries,
    stored_trust,
};
pub use slot::{DEFAULT_SLOT_CAPACITY, Slot, SlotClosed};
pub use stores::{Store, StoreFault};
