//! The KafkaCrypto protocol as pure code: end-to-end encryption of Kafka messages, so that brokers need not be
//! trusted.
//!
//! This crate works on bytes and values that the caller passes in. It has no I/O, no clock and no runtime: time and
//! randomness are arguments, so that a test can run weeks of key rotation in microseconds. Actors, files and Kafka
//! clients belong to other crates. The sections that the documentation cites as *protocol §n* are those of the
//! protocol's specification; `docs/protocol.md` summarizes it.
//!
//! Each module uses only the modules above it, except that [`store`] also uses [`own_chains`]:
//!
//! | module | content |
//! |---|---|
//! | [`text`], [`failure_log`] | text of counts and errors; limits on the logging of failures |
//! | [`work`], [`sabotage`] | support for tests: counters of costly operations, rules that a test can break |
//! | [`types`], [`secret`], [`wire`] | topics, key ids and times; secrets in memory; strict MessagePack |
//! | [`keys`], [`kem`] | signing keys; key exchange, classical and post-quantum |
//! | [`chain`], [`ratchet`] | certificate chains and trust; data keys that never repeat |
//! | [`backend`] | traits and settings of a Kafka client; uses only `secret` |
//! | [`message`], [`exchange`] | sealing and opening messages; the key exchange of consumers with producers |
//! | [`chain_server`] | renewal of short-lived chains |
//! | [`custody`] | what a custodian keeps for other nodes, and the trait of its store |
//! | [`store`] | codecs for a node's files, and the traits of its stores |
//! | [`own_chains`] | assignment of a node's stored chains to its signing keys |
//! | [`provision`] | creation of nodes from two passwords |
//! | [`access`] | the access to topics and groups that nodes need |
//!
//! # Example
//!
//! The example seals a message with a key from a producer's ratchet, and opens it with a consumer's key ring:
//!
//! ```
//! use kc_core::message::{KeyRing, seal};
//! use kc_core::ratchet::{Component, KeyIdForm, Seed, StepKeys};
//! use kc_core::types::TopicScheme;
//! # use rand::SeedableRng;
//! # let mut rng = rand::rngs::StdRng::seed_from_u64(1);
//!
//! let root_topic = TopicScheme::default().root_of("sensors.berlin");
//!
//! // The producer uses a step of its ratchet only after it has stored the next step.
//! let pending = Seed::generate(&mut rng).advance()?;
//! let stored_first = pending.next().encode();
//! let (step, _) = pending.stored();
//! let key = StepKeys::new(step, &KeyIdForm::Short).sealing_key(&root_topic, &mut rng);
//! let mut sealed = Vec::new();
//! seal(&key, Component::Value, b"21.5 degrees", &mut sealed)?;
//!
//! // The consumer has received the key in a key exchange.
//! let mut ring = KeyRing::default();
//! ring.add(&root_topic, key.id(), key.data_key().expose_copy(), None);
//! let opened = ring.open(root_topic.as_str(), Component::Value, &sealed);
//! assert_eq!(opened.into_plaintext()?, b"21.5 degrees");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod access;
pub mod backend;
pub mod chain;
pub mod chain_server;
pub mod custody;
pub mod exchange;
pub mod failure_log;
pub mod kem;
pub mod keys;
pub mod message;
pub mod own_chains;
pub mod provision;
pub mod ratchet;
pub mod sabotage;
pub mod secret;
pub mod store;
mod symmetric;
pub mod text;
pub mod types;
pub mod wire;
pub mod work;
