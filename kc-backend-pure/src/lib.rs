//! Kafka in pure Rust: a [`Backend`] on the client crate `krafka`, with TLS by
//! rustls. It needs Apache Kafka 3.9 or newer, or what is compatible with it.
//!
//! ```
//! use std::time::Duration;
//!
//! use kc_backend_pure::{PureBackend, Settings};
//! use kc_core::backend::{Backend, GroupStart, OutgoingRecord, TopicSpec};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let broker = kc_broker::Broker::builder().start().await?;
//!     let servers = broker.address().to_string();
//!     let backend = PureBackend::new(Settings::parse([("bootstrap_servers", &servers)])?);
//!     let deadline = Duration::from_secs(10);
//!
//!     let admin = backend.admin().await?;
//!     let orders = TopicSpec {
//!         name: "orders".to_owned(),
//!         partitions: 1,
//!         replication: None,
//!         compacted: false,
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
//!     let topics = ["orders".to_owned()];
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
//! # Map
//!
//! `settings` parses what a configuration says. `connection` makes a krafka handle of it, one for each
//! role, because requests of two roles on one handle wait for each other. `admin`, `producer`,
//! `log_reader` and `group_consumer` are the roles; `lookup` asks which topics and offsets there are,
//! for those that wait for topics to appear; `polling` bounds their polls. `record` converts records, `error` maps krafka's errors.
//! Nothing of krafka stands in the public interface.

mod admin;
mod connection;
mod error;
mod group_consumer;
mod log_reader;
mod lookup;
mod polling;
mod producer;
mod record;
mod settings;

use std::sync::Arc;

use async_trait::async_trait;
use kc_core::backend::{
    Admin, Backend, BackendError, Capabilities, GroupConsumer, GroupStart, LogReader, Producer,
};

pub use settings::Settings;

use admin::PureAdmin;
use group_consumer::PureGroupConsumer;
use log_reader::PureLogReader;
use producer::PureProducer;

/// Kafka in pure Rust. See the [crate](self).
#[derive(Clone, Debug)]
pub struct PureBackend {
    settings: Arc<Settings>,
}

impl PureBackend {
    /// A backend that connects as `settings` say; it does so when it is asked for something.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings: Arc::new(settings),
        }
    }
}

#[async_trait]
impl Backend for PureBackend {
    fn name(&self) -> &'static str {
        "pure"
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
        topics: &[String],
        start: GroupStart,
    ) -> Result<Box<dyn GroupConsumer>, BackendError> {
        let consumer = PureGroupConsumer::join(&self.settings, group, topics, start).await?;
        Ok(Box::new(consumer))
    }
}
