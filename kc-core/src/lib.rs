//! The KafkaCrypto protocol as pure code: end-to-end encryption of Kafka messages for brokers that
//! nobody needs to trust.
//!
//! Everything here works on bytes and values that are passed in. There is no I/O, no clock and no
//! runtime; time and randomness are arguments, so that weeks of key rotation are tested in
//! microseconds. Actors, files and Kafka clients are other crates' business.
//!
//! Each module uses only those above it:
//!
//! | module | what it is |
//! |---|---|
//! | [`types`], [`secret`], [`wire`] | topics, key ids, times; secrets in memory; strict MessagePack |
//! | [`keys`], [`kem`] | signing keys; key exchange, post-quantum too |
//! | [`chain`], [`ratchet`] | who may do what; keys that never repeat |
//! | [`message`], [`exchange`] | sealing and opening; how consumers get keys from producers |
//! | [`store`] | what a node keeps, as codecs and traits |
//! | [`own_chains`] | which of a node's stored chains belongs to which of its keys |
//! | [`provision`] | new nodes from two passwords |
//! | [`chain_server`] | fresh chains for nodes whose chains are short-lived |
//! | [`backend`] | what is asked of a Kafka client; sees only `types` |
//!
//! A message from a producer's ratchet to a consumer's key ring:
//!
//! ```
//! use kc_core::message::{KeyRing, seal};
//! use kc_core::ratchet::{Component, KeyIdForm, Seed, StepKeys};
//! use kc_core::types::TopicScheme;
//! # use rand::SeedableRng;
//! # let mut rng = rand::rngs::StdRng::seed_from_u64(1);
//!
//! let root = TopicScheme::default().root_of("sensors.berlin");
//!
//! // The producer: the next seed is stored before the step is used.
//! let pending = Seed::generate(&mut rng).advance()?;
//! let to_be_stored_first = pending.next().encode();
//! let (step, _) = pending.stored();
//! let key = StepKeys::new(step, &KeyIdForm::Short).sealing_key(&root, &mut rng);
//! let mut sealed = Vec::new();
//! seal(&key, Component::Value, b"21.5 degrees", &mut sealed)?;
//!
//! // The consumer: it got the key through the exchange.
//! let mut ring = KeyRing::default();
//! ring.add(&root, key.id(), key.topic_secret().expose_copy(), None);
//! let opened = ring.open(root.as_str(), Component::Value, &sealed);
//! assert_eq!(opened.into_plaintext()?, b"21.5 degrees");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod backend;
pub mod chain;
pub mod chain_server;
pub mod exchange;
pub mod flood;
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
pub mod types;
pub mod wire;
pub mod work;
