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
//! | [`BackendChoice`] | choose the Kafka client |
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
//! | feature | what it adds | needs to build |
//! |---|---|---|
//! | `pure` (default) | Kafka in pure Rust, for brokers from 3.9 on | |
//! | `rdkafka` | librdkafka, without TLS | a C compiler, make |
//! | `rdkafka-ssl` | librdkafka with the system's OpenSSL | also OpenSSL's headers, pkg-config |
//! | `rdkafka-ssl-vendored` | librdkafka with an OpenSSL of its own | also Perl |
//! | `legacy-kafka` | the crate `kafka`, for brokers older than 4.0 | |
//! | `file` (default) | nodes in files | |
//! | `hsm` | keys on PKCS#11 tokens | |
//!
//! Which of the backends a node uses is said when it is opened: [`BackendChoice`].

pub use kc_actors as actors;
pub use kc_core as core;

#[cfg(any(feature = "pure", feature = "legacy-kafka"))]
pub use kc_backend_pure as backend_pure;
#[cfg(feature = "rdkafka")]
pub use kc_backend_rdkafka as backend_rdkafka;
#[cfg(feature = "file")]
pub use kc_keystore_file as keystore_file;
#[cfg(feature = "hsm")]
pub use kc_keystore_hsm as keystore_hsm;

pub use kc_actors::{
    Awaiting, Clock, ConsumeError, CryptoSettings, Deserializer, EncryptedConsumer,
    EncryptedProducer, EventListener, ForeignPolicy, Node, NodeError, NodeEvent, NodeParts,
    NodeRoles, NodeSettings, NodeStatus, OpenedRecord, Outcome, PlainRecord, ProduceError,
    SealError, Serializer, ShutdownReport,
};
pub use kc_core::backend::{
    Backend, BackendError, BackendErrorKind, ClientSettings, GroupStart, Header, Subscription,
};

mod backends;
pub use backends::BackendChoice;

#[cfg(feature = "file")]
mod by_role;
#[cfg(feature = "file")]
mod error;
#[cfg(feature = "file")]
mod files;
#[cfg(feature = "file")]
mod keystores;
#[cfg(feature = "file")]
mod locked;
#[cfg(feature = "file")]
mod open;
#[cfg(feature = "file")]
pub use error::OpenError;
#[cfg(feature = "file")]
pub use keystores::{KeyChanges, NodePin, StoredKeys, change_keys, remember_unused, unused_index};
#[cfg(all(feature = "file", feature = "hsm"))]
pub use keystores::{
    LeftFile, Moved, NewTokenKeys, SameId, TokenKeys, move_to_token, renew_ratchet, rotate_opaque,
    undo_move,
};
#[cfg(feature = "file")]
pub use locked::{LockedNode, signing_keys_of};
#[cfg(feature = "file")]
pub use open::{NodeOptions, OpenNode};
