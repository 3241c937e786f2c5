//! A Kafka [`Backend`] in pure Rust. It uses the client crate `krafka`, and rustls for TLS. It needs Apache Kafka 3.9
//! or newer, or a compatible broker.
//!
//! ```
//! use std::time::Duration;
//!
//! use kc_backend_pure::PureBackend;
//! use kc_core::backend::{
//!     Backend, Cleanup, ClientSettings, GroupStart, OutgoingRecord, Subscription, TopicSpec,
//! };
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let broker = kc_broker::Broker::builder().start().await?;
//!     let servers = broker.address().to_string();
//!     let backend = PureBackend::new(ClientSettings::parse([("bootstrap_servers", &servers)])?)?;
//!     let deadline = Duration::from_secs(10);
//!
//!     let admin = backend.admin().await?;
//!     let orders = TopicSpec {
//!         name: "orders".to_owned(),
//!         partitions: 1,
//!         replication: None,
//!         cleanup: Cleanup::AsBroker,
//!     };
//!     admin.create_topic(&orders, deadline).await?;
//!
//!     let producer = backend.producer().await?;
//!     let record = OutgoingRecord {
//!         topic: "orders".to_owned(),
//!         value: Some(b"one coffee".to_vec()),
//!         ..OutgoingRecord::default()
//!     };
//!     let delivery = producer.enqueue(record).await?.await?;
//!     assert_eq!(delivery.offset, 0);
//!
//!     let topics = Subscription::to(["orders"]);
//!     let mut consumer = backend.group_consumer("baristas", &topics, GroupStart::Earliest).await?;
//!     let polled = loop {
//!         let polled = consumer.poll(Duration::from_secs(1)).await?;
//!         if !polled.records.is_empty() {
//!             break polled;
//!         }
//!     };
//!     assert_eq!(polled.records[0].value.as_deref(), Some(&b"one coffee"[..]));
//!
//!     consumer.close(deadline).await?;
//!     producer.close(deadline).await?;
//!     admin.close().await;
//!     broker.shutdown().await;
//!     Ok(())
//! }
//! ```
//!
//! # Modules
//!
//! `connection` translates the settings of TLS for krafka, and connects; `authentication` does the same for SASL, and
//! gets tokens. `admin`, `producer`, `log_reader` and
//! `group_consumer` are the roles. Each role has a connection of its own, because requests of two roles on the same
//! connection would wait for each other. `lookup` finds existing topics and their offsets, and
//! `leaders` the new leaders of partitions after a broker is lost. `record` converts records
//! and limits the time of polls, and `error` maps krafka's errors. No type of krafka is part of the public interface.
//! The feature `legacy-kafka` adds the module `legacy`: another backend, for brokers older than 4.0.

mod admin;
mod authentication;
mod connection;
mod error;
mod group_consumer;
mod leaders;
#[cfg(feature = "legacy-kafka")]
mod legacy;
mod log_reader;
mod lookup;
mod producer;
mod record;

use std::sync::Arc;

use async_trait::async_trait;
use kc_core::backend::{
    Admin, Backend, BackendError, Capabilities, ClientSettings, GroupConsumer, GroupStart,
    LogReader, Producer, Subscription,
};

#[cfg(feature = "legacy-kafka")]
pub use legacy::LegacyBackend;

use admin::PureAdmin;
use group_consumer::PureGroupConsumer;
use log_reader::PureLogReader;
use producer::PureProducer;

/// The Kafka backend in pure Rust, see the [crate](self).
#[derive(Clone, Debug)]
pub struct PureBackend {
    settings: Arc<ClientSettings>,
}

/// The name of this backend in configurations.
const NAME: &str = "pure";

impl PureBackend {
    /// Returns a backend with these settings. It connects when a role is requested.
    ///
    /// # Errors
    /// Returns [`BackendErrorKind::Unsupported`](kc_core::backend::BackendErrorKind::Unsupported) for a setting that
    /// this backend does not support: the value zstd of `compression_type`; and, if TLS is used, the value false of
    /// `ssl_check_hostname` and the settings of librdkafka that begin with `ssl.`. The message names the setting.
    pub fn new(settings: ClientSettings) -> Result<Self, BackendError> {
        connection::check(&settings)?;
        Ok(Self {
            settings: Arc::new(settings),
        })
    }
}

#[async_trait]
impl Backend for PureBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }

    async fn admin(&self) -> Result<Box<dyn Admin>, BackendError> {
        let admin = PureAdmin::connect(Arc::clone(&self.settings)).await?;
        Ok(Box::new(admin))
    }

    async fn producer(&self) -> Result<Box<dyn Producer>, BackendError> {
        let producer = PureProducer::connect(&self.settings).await?;
        Ok(Box::new(producer))
    }

    async fn log_reader(&self, group: Option<&str>) -> Result<Box<dyn LogReader>, BackendError> {
        let reader = PureLogReader::connect(&self.settings, group).await?;
        Ok(Box::new(reader))
    }

    async fn group_consumer(
        &self,
        group: &str,
        topics: &Subscription,
        start: GroupStart,
    ) -> Result<Box<dyn GroupConsumer>, BackendError> {
        let consumer = PureGroupConsumer::join(&self.settings, group, topics, start).await?;
        Ok(Box::new(consumer))
    }
}
