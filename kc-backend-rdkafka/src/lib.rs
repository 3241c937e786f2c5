//! A Kafka [`Backend`] that uses librdkafka, the C library on which most clients in other languages are built. Choose
//! it for brokers or settings that the pure backend does not support.
//!
//! Building this crate requires a C compiler and make. Without features it supports plaintext connections and
//! SASL/PLAIN. The feature `ssl` adds TLS and SCRAM with the system's OpenSSL. The feature `ssl-vendored` adds them
//! with a bundled OpenSSL. In `kc`, these features are called `rdkafka-ssl` and `rdkafka-ssl-vendored`.
//!
//! ```
//! use std::time::Duration;
//!
//! use kc_backend_rdkafka::RdkafkaBackend;
//! use kc_core::backend::{
//!     Backend, Cleanup, ClientSettings, GroupStart, OutgoingRecord, Subscription, TopicSpec,
//! };
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let broker = kc_broker::Broker::builder().start().await?;
//!     let servers = broker.address().to_string();
//!     let settings = ClientSettings::parse([("bootstrap_servers", &servers)])?;
//!     let backend = RdkafkaBackend::new(settings)?;
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
//! `config` translates settings to librdkafka's names and creates its native clients; `files` handles the files of TLS.
//! `events` records the events of librdkafka, because librdkafka retries without end and reports the cause of a failure
//! only in events. `connection` waits for the first answer of a broker, and probes the addresses if no broker answers.
//! `worker` is the thread that owns a client, because librdkafka's calls block. `admin`, `producer`, `log_reader` and
//! `group_consumer` are the roles, each with a client of its own. `lookup` finds existing topics and their offsets. It
//! has a separate client, because a client that reads records answers other requests only after its fetches.
//! `positions` reads and commits the positions of a group. `record` converts records and partitions, and `error` maps
//! librdkafka's errors. No type of librdkafka is part of the public interface.

mod admin;
mod assignment;
mod config;
mod connection;
mod error;
mod events;
mod files;
mod group_consumer;
mod log_reader;
mod lookup;
mod positions;
mod producer;
mod record;
mod token;
mod worker;

use std::sync::Arc;

use async_trait::async_trait;
use kc_core::backend::{
    Admin, Backend, BackendError, Capabilities, ClientSettings, GroupConsumer, GroupStart,
    LogReader, Producer, Subscription,
};

use admin::{RdkafkaAdmin, can_administer};
use group_consumer::RdkafkaGroupConsumer;
use log_reader::RdkafkaLogReader;
use producer::RdkafkaProducer;

/// The Kafka backend on librdkafka, see the [crate](self).
#[derive(Clone, Debug)]
pub struct RdkafkaBackend {
    settings: Arc<ClientSettings>,
}

impl RdkafkaBackend {
    /// Returns a backend with these settings. It connects when a role is requested.
    ///
    /// # Errors
    /// Returns [`BackendErrorKind::Unsupported`](kc_core::backend::BackendErrorKind::Unsupported) for settings that
    /// this build does not support: TLS and SCRAM without the feature `ssl`, and the compression zstd.
    /// Returns [`BackendErrorKind::Configuration`](kc_core::backend::BackendErrorKind::Configuration) for values that
    /// librdkafka does not accept. The message names the setting, unless its name or value contains a zero byte.
    pub fn new(settings: ClientSettings) -> Result<Self, BackendError> {
        config::check(&settings)?;
        if let Some(tls) = &settings.tls
            && !tls.check_hostname
        {
            tracing::warn!(
                "`ssl_check_hostname` is off: a broker may present a certificate for any host name"
            );
        }
        Ok(Self {
            settings: Arc::new(settings),
        })
    }
}

#[async_trait]
impl Backend for RdkafkaBackend {
    fn name(&self) -> &'static str {
        "rdkafka"
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::ALL;
        capabilities.topic_creation = can_administer(&self.settings);
        capabilities
    }

    async fn admin(&self) -> Result<Box<dyn Admin>, BackendError> {
        let admin = RdkafkaAdmin::connect(Arc::clone(&self.settings)).await?;
        Ok(Box::new(admin))
    }

    async fn producer(&self) -> Result<Box<dyn Producer>, BackendError> {
        let producer = RdkafkaProducer::connect(Arc::clone(&self.settings)).await?;
        Ok(Box::new(producer))
    }

    async fn log_reader(&self, group: Option<&str>) -> Result<Box<dyn LogReader>, BackendError> {
        let reader = RdkafkaLogReader::connect(Arc::clone(&self.settings), group).await?;
        Ok(Box::new(reader))
    }

    async fn group_consumer(
        &self,
        group: &str,
        topics: &Subscription,
        start: GroupStart,
    ) -> Result<Box<dyn GroupConsumer>, BackendError> {
        let settings = Arc::clone(&self.settings);
        let consumer = RdkafkaGroupConsumer::join(settings, group, topics, start).await?;
        Ok(Box::new(consumer))
    }
}
