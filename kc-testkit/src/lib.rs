//! Tools that test the parts of this project; for development only, never a run-time dependency.
//!
//! | module | purpose |
//! |---|---|
//! | [`archive`] | the conformance suite of archives of keys, lists and chains: [`archive_conformance!`] mounts it as tests |
//! | [`backend`] | the conformance suite of Kafka backends: [`backend_conformance!`] mounts it as tests |
//! | `kafka` | a real Apache Kafka of a given version, optionally with TLS and SASL; behind the feature `kafka` |
//! | [`keystore`] | the conformance suite of keystores and ratchet stores: [`keystore_conformance!`] mounts it as tests |
//! | [`sim`] | simulates nodes on virtual clocks and a hostile network (`cargo xtask sim`) |

pub mod archive;
pub mod backend;
mod failure;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod keystore;
pub mod sim;
