//! Tools that test the parts of this project; for development only, never a run-time dependency.
//!
//! | module | purpose |
//! |---|---|
//! | [`backend`] | the conformance suite of Kafka backends: [`backend_conformance!`] mounts it as tests |
//! | `kafka` | a real Apache Kafka of a given version, optionally with TLS and SASL; behind the feature `kafka` |
//! | [`keystore`] | the conformance suite of keystores and ratchet stores: [`keystore_conformance!`] mounts it as tests |
//! | [`sim`] | simulates nodes on virtual clocks and a hostile network (`cargo xtask sim`) |
//! | [`vectors`] | runs the protocol's recorded test vectors against this implementation (`cargo test --test vectors`) |
//!
//! [`vectors`] shows, with a runnable example, how an operation of the vectors gets its adapter.

pub mod backend;
mod failure;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod keystore;
pub mod sim;
pub mod vectors;
