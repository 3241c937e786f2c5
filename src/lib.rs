//! End-to-end encryption of Kafka messages for brokers that nobody needs to trust, compatible with
//! KafkaCrypto.
//!
//! Every producer has a ratchet of keys for each root topic. Consumers get the keys over Kafka itself,
//! from producers that have seen their certificates. There is no key server, and the broker learns
//! nothing.
//!
//! | start with | to |
//! |---|---|
//! | [`NodeOptions`] | open a provisioned node from its files |
//! | [`OpenNode::producer`], [`OpenNode::consumer`] | send and receive, in ten lines |
//! | [`Node::serializer`], [`Node::deserializer`] | seal and open with any Kafka client |
//! | [`LockedNode`], [`signing_keys_of`] | sign with the keys of a node that does not run; know them |
//! | [`actors`] | compose a node of one's own |
//! | [`core`] | use the protocol as pure code |
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use kc::{ForeignPolicy, GroupStart, NodeOptions, PlainRecord};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = NodeOptions::new("sensors").open().await?;
//! let producer = node.producer().await?;
//! let record = PlainRecord {
//!     topic: "readings".into(),
//!     value: Some(b"21.5".to_vec()),
//!     ..PlainRecord::default()
//! };
//! producer.send(record).await?.await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Features
//!
//! `pure` (default): Kafka in pure Rust. `file` (default): nodes in files.

pub use kc_actors as actors;
pub use kc_core as core;

#[cfg(feature = "pure")]
pub use kc_backend_pure as backend_pure;
#[cfg(feature = "file")]
pub use kc_keystore_file as keystore_file;

pub use kc_actors::{
    Awaiting, Clock, ConsumeError, CryptoSettings, Deserializer, Duties, EncryptedConsumer,
    EncryptedProducer, EventListener, ForeignPolicy, Node, NodeError, NodeEvent, NodeParts,
    NodeSettings, NodeStatus, OpenedRecord, Outcome, PlainRecord, ProduceError, SealError,
    Serializer, ShutdownReport,
};
pub use kc_core::backend::{Backend, BackendError, BackendErrorKind, GroupStart, Header};

#[cfg(all(feature = "pure", feature = "file"))]
mod by_role;
#[cfg(all(feature = "pure", feature = "file"))]
mod locked;
#[cfg(all(feature = "pure", feature = "file"))]
mod open;
#[cfg(all(feature = "pure", feature = "file"))]
pub use locked::{LockedNode, signing_keys_of};
#[cfg(all(feature = "pure", feature = "file"))]
pub use open::{NodeOptions, OpenError, OpenNode};
