//! End-to-end encryption of Kafka messages. The brokers need not be trusted. The protocol is compatible with
//! KafkaCrypto for Python and Java.
//!
//! Every producer has a ratchet that gives data keys for each root topic. Consumers receive these keys over Kafka
//! itself, from producers that have verified the consumers' certificates. There is no key server. The broker cannot
//! read messages or keys.
//!
//! | start with | to |
//! |---|---|
//! | [`Node::open`] | open a provisioned node from its files |
//! | [`Node::producer`], [`Node::consumer`] | send and receive |
//! | [`Node::sealer`], [`Node::opener`] | seal and open with any Kafka client |
//! | [`Node::serve_keys`] | give data keys to consumers after the last record was sent |
//! | [`Node::events`] | listen to the events of a node |
//! | [`BackendChoice`] | choose the Kafka client |
//! | [`maintenance`] | change the keys of a node that does not run, and sign with them |
//! | [`actors`] | replace an actor, or compose a node |
//! | [`core`] | use the protocol without input and output |
//!
//! ```no_run
//! use kc::Record;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), kc::Error> {
//!     let node = kc::Node::open("sensors").await?;
//!     let producer = node.producer().await?;
//!     let mut consumer = node.consumer(["readings"]).from_beginning().join().await?;
//!     loop {
//!         let record = tokio::select! {
//!             next = consumer.next() => match next { Some(record) => record?, None => break },
//!             _ = tokio::signal::ctrl_c() => break,
//!         };
//!         producer.send(Record::to("alarms").value(work(record.value()).await)).await?;
//!         record.ack();
//!     }
//!     node.close().await
//! }
//!
//! async fn work(reading: &[u8]) -> Vec<u8> {
//!     reading.to_ascii_uppercase()
//! }
//! ```
//!
//! # Features
//!
//! | feature | adds | needs to build |
//! |---|---|---|
//! | `pure` (default) | Kafka in pure Rust, for brokers from 3.9 on | |
//! | `rdkafka` | librdkafka, without TLS | a C compiler, make |
//! | `rdkafka-ssl` | librdkafka with the system's OpenSSL | also OpenSSL's headers, pkg-config |
//! | `rdkafka-ssl-vendored` | librdkafka with an OpenSSL of its own | also Perl |
//! | `legacy-kafka` | the crate `kafka`, for brokers older than 4.0 | |
//! | `file` (default) | nodes in files | |
//! | `hsm` | keys on PKCS#11 tokens | |
//!
//! A node uses the backend `pure` unless its settings choose another one: see [`BackendChoice`]. A feature that
//! builds in another backend does not change this choice.

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
    Assignment, Awaiting, Clock, ConsumeError, Consumer, ConsumerRecord, EventListener, NodeEvent,
    NodeRoles, NodeStatus, OpenFailure, Opener, Origin, Payload, Policy, Position, ProduceError,
    Producer, Reason, Record, RecordStream, SealError, Sealer, Undecryptable, UndecryptableError,
};
pub use kc_core::backend::{
    Backend, BackendError, BackendErrorKind, ClientSettings, Delivery, DeliveryFuture, Header,
};

mod advice;
mod backends;
mod error;
pub use backends::BackendChoice;
pub use error::{Error, ErrorKind};

#[cfg(feature = "file")]
mod clients;
#[cfg(feature = "custody")]
mod custodian;
#[cfg(feature = "file")]
mod keystores;
#[cfg(feature = "file")]
pub mod maintenance;
#[cfg(feature = "file")]
mod node;
#[cfg(feature = "file")]
mod token_error;
#[cfg(feature = "file")]
pub use clients::{ConsumerBuilder, ProducerBuilder};
#[cfg(feature = "custody")]
pub use custodian::Custodian;
#[cfg(feature = "file")]
pub use node::{Node, NodeBuilder};

/// A documentation test that compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
