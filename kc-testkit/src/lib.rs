//! Tools that prove this project's parts; development only, never a run-time dependency.
//!
//! | module | what it does |
//! |---|---|
//! | [`backend`] | what every Kafka backend must do: [`backend_conformance!`] mounts it as tests |
//! | `kafka` | a real Apache Kafka of the wanted version, with TLS and SASL if wanted; behind the feature `kafka` |
//! | [`keystore`] | what every keystore and ratchet store must do: [`keystore_conformance!`] mounts it as tests |
//! | [`sim`] | simulates nodes on virtual clocks and a hostile network (`cargo xtask sim`) |
//! | [`vectors`] | runs the protocol's recorded test vectors against our code (`cargo test --test vectors`) |
//!
//! [`vectors`] shows, with a runnable example, how an operation of the vectors gets its adapter.

pub mod backend;
mod failure;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod keystore;
pub mod sim;
pub mod vectors;
