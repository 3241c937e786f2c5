//! Actors around the state machines of `kc-core`, and lock-free handles that seal and open.
//!
//! | part | contents |
//! |---|---|
//! | [`Node`] | all actors, connected in the default way, on threads of their own |
//! | [`Sealer`], [`Opener`] | handles for applications, for any thread and any Kafka client |
//! | [`Producer`], [`Consumer`] | the clients of a backend, with sealing and opening added |
//! | [`chain`], [`keystore`], [`ratchet`], [`exchange`], [`controller`], [`custody`], [`gateway`], [`key_table`] | the roles, each with its messages and its default actor |
//! | [`chain_server`] | an actor without a role: it receives no messages |
//! | [`Slot`] | the address of an actor for messages of one type, with a limit and a replaceable actor |
//! | [`Roles`] | the roles of a running node |
//! | [`NodeEvent`] | the events of a node |
//!
//! Each actor gets the roles that it needs, and does not know which actors answer for them. An application can replace
//! a role of a running node, or a slot of a role. It can also compose the actors itself:
//!
//! ```
//! use actix::SyncArbiter;
//! use kc_actors::chain::{ChainActor, ChainParts, ChainRole, OwnIdentities};
//! use kc_actors::{Clock, Events};
//! use kc_core::chain::{TrustEntry, TrustList, TrustStore};
//! use kc_core::store::{StoreError, TrustArchive};
//!
//! /// An archive that stores nothing.
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
//!     // The lists are empty, and the node has no key.
//!     let actor = ChainActor::new(ChainParts {
//!         trust: TrustStore::new(None, vec![]),
//!         identities: vec![],
//!         archive: Box::new(Forgetful),
//!         clock: Clock::system(),
//!         events: Events::default(),
//!     });
//!     let chain = ChainRole::to(&SyncArbiter::start(1, move || actor.clone()));
//!
//!     assert!(chain.identities.send(OwnIdentities).await?.is_err(), "no key to sign with");
//!     Ok(())
//! }
//! ```

mod actors;
mod client;
mod clock;
mod entropy;
mod events;
mod handles;
mod node;
mod outage;
mod role;
mod slot;
mod stores;

pub use actors::{
    chain, chain_server, controller, custody, exchange, gateway, key_table, keystore, ratchet,
};
pub use client::{
    Assignment, Clients, ConsumeError, Consumer, ConsumerOptions, ConsumerRecord, DEFAULT_PATIENCE,
    MAX_ALL_WAITING_BYTES, MAX_BUFFERED_BYTES, MAX_UNACKNOWLEDGED, MAX_WAITING_BYTES,
    MAX_WAITING_RECORDS, Origin, PARK_INTERVAL, Payload, Policy, Position, ProduceError, Producer,
    ProducerOptions, Reason, Record, RecordStream, Undecryptable, UndecryptableError,
};
pub use clock::Clock;
pub use entropy::Entropy;
pub use events::{EventListener, Events, NodeEvent};
pub use handles::{
    Awaiting, CryptoTables, HeldPartition, MAX_SIGNALLED, OpenFailure, Opener, SealError, Sealer,
    Sealers, Signals,
};
pub use node::{
    ConfigChainKeys, ConfigTrustArchive, CryptoSettings, CustodianParts, DeniedKeys, Node,
    NodeError, NodeParts, NodeRoles, NodeSettings, NodeStatus, Roles, SealedArchive,
    ShutdownReport, control_group, stored_entries, stored_trust, watch_brokers,
};
pub use slot::{DEFAULT_SLOT_CAPACITY, Slot, SlotClosed};
pub use stores::{Store, StoreFault};
