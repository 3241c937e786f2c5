//! A [`Backend`] for Kafka before 4.0, on the old client crate `kafka`.
//!
//! It uses the first versions of Kafka's protocol, which Apache Kafka supports from 0.8.2 to 3.9. These limits follow:
//!
//! - Records have no headers and no timestamps; records with headers are refused. Null and empty keys and values are
//!   sent as they are, but both are received as null.
//! - A consumer group is only a name under which positions are committed. Its members do not share the partitions: each
//!   member reads all of them, so two members of one group read every record twice.
//! - Sending is not idempotent: if an acknowledgement is lost, the record is sent again, and consumers read it twice.
//!   The order is kept.
//! - Topics cannot be created, except by brokers that create them on request.
//! - There is no TLS and no SASL. gzip and Snappy are supported, LZ4 and Zstandard are not: polls return an error for
//!   batches that another client compressed with these.
//! - Batches larger than 64 MiB, or than the brokers' `fetch.max.bytes`, are skipped.
//! - Only the bootstrap servers are asked for metadata, so configure more than one of them.
//! - Records of aborted transactions are read, too.
//!
//! # Modules
//!
//! All calls of the crate `kafka` block. Therefore each role has a `worker`: a thread that makes the calls. It owns a
//! `client`, which reconnects by itself. `offset_store` and `fetch` contain calls of a client. `admin`, `log_reader`
//! and `group_consumer` are roles; the last two read with a `fetcher`, which keeps positions and waits for records.
//! `producer` is a role with a thread of its own. `error` maps the crate's errors.

mod admin;
mod client;
mod error;
mod fetch;
mod fetcher;
mod group_consumer;
mod log_reader;
mod offset_store;
mod producer;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kc_core::backend::{
    Admin, Backend, BackendError, Capabilities, ClientSettings, Compression, GroupConsumer,
    GroupStart, LogReader, Producer, Subscription, unsupported,
};

use admin::LegacyAdmin;
use group_consumer::LegacyGroupConsumer;
use log_reader::LegacyLogReader;
use producer::LegacyProducer;

const NAME: &str = "legacy";

/// The maximum time by which a lookup of topics may delay a poll.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// The backend for Kafka before 4.0, with the first versions of its protocol. It has no headers, no groups that share
/// partitions, no TLS and no SASL.
#[derive(Clone, Debug)]
pub struct LegacyBackend {
    settings: Arc<ClientSettings>,
}

impl LegacyBackend {
    /// Returns a backend with these settings. It connects when a role is requested.
    ///
    /// # Errors
    /// [`BackendErrorKind::Unsupported`](kc_core::backend::BackendErrorKind::Unsupported) for settings that this
    /// backend does not support: TLS, SASL, LZ4, Zstandard, `isolation_level` read_committed.
    pub fn new(settings: ClientSettings) -> Result<Self, BackendError> {
        let missing = match &settings {
            ClientSettings { tls: Some(_), .. } => Some("TLS"),
            ClientSettings { sasl: Some(_), .. } => Some("SASL"),
            _ => None,
        };
        if let Some(missing) = missing {
            let what = format!("{missing} (use the backend pure or rdkafka)");
            return Err(unsupported(NAME, what));
        }
        if settings.read_committed {
            let what = "`isolation_level` read_committed (use the backend pure or rdkafka)";
            return Err(unsupported(NAME, what));
        }
        match settings.compression {
            Compression::None | Compression::Gzip | Compression::Snappy => {}
            other => {
                let what = format!(
                    "`compression_type` {} (use none, gzip or snappy)",
                    other.name()
                );
                return Err(unsupported(NAME, what));
            }
        }
        Ok(Self {
            settings: Arc::new(settings),
        })
    }
}

#[async_trait]
impl Backend for LegacyBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::MINIMAL
    }

    async fn admin(&self) -> Result<Box<dyn Admin>, BackendError> {
        let admin = LegacyAdmin::connect(&self.settings).await?;
        Ok(Box::new(admin))
    }

    async fn producer(&self) -> Result<Box<dyn Producer>, BackendError> {
        let producer = LegacyProducer::connect(&self.settings).await?;
        Ok(Box::new(producer))
    }

    async fn log_reader(&self, group: Option<&str>) -> Result<Box<dyn LogReader>, BackendError> {
        let reader = LegacyLogReader::connect(&self.settings, group).await?;
        Ok(Box::new(reader))
    }

    async fn group_consumer(
        &self,
        group: &str,
        topics: &Subscription,
        start: GroupStart,
    ) -> Result<Box<dyn GroupConsumer>, BackendError> {
        let consumer = LegacyGroupConsumer::join(&self.settings, group, topics, start).await?;
        Ok(Box::new(consumer))
    }
}
