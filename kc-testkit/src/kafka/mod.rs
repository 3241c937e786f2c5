//! A real Apache Kafka, for tests and for manual use (`cargo xtask kafka`).
//!
//! [`Kafka::builder`] selects the version and the listeners; `start` fetches the jars with Maven (once; see
//! [`cache_folder`]), makes [`Certificates`], and waits until Kafka serves. It listens on 127.0.0.1 only, and ends when
//! its handle is dropped, or when this process is killed. Requires `mvn`, and `java` 17 or later.
//!
//! ```no_run
//! use kc_testkit::kafka::{Kafka, Listener, Version};
//!
//! let mut kafka = Kafka::builder(Version::V4).tls().sasl().start()?;
//! let everybody = kafka.address(Listener::Plaintext);
//! let settings = kafka.client_settings(Listener::SaslSsl);
//! kafka.kill();
//! kafka.restart()?;
//! # Ok::<_, kc_testkit::kafka::KafkaError>(())
//! ```
//!
//! [`Cluster`] starts three brokers instead of one.

mod builder;
mod certificates;
mod cluster;
mod error;
mod folder;
mod jars;
mod java;
mod listeners;
mod process;
mod properties;
mod readiness;
mod server;
mod storage;
mod version;
mod watchdog;

pub use builder::Builder;
pub use certificates::Certificates;
pub use cluster::Cluster;
pub use error::KafkaError;
pub use jars::cache_folder;
pub use listeners::Listener;
pub use server::Kafka;
pub use version::Version;

/// The only user of the listeners with SASL, for every mechanism.
pub const USER: &str = "alice";
/// The password of [`USER`].
pub const PASSWORD: &str = "alice-secret";
