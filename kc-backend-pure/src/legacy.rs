//! A [`Backend`] for brokers older than Kafka 4.0. It uses the old client crate `kafka`.
//!
//! The crate uses the first versions of Kafka's requests, which Apache Kafka supports from 0.8.2 to 3.9. Therefore this
//! backend has the following limits:
//!
//! - Records have no headers and no timestamps; records with headers are refused. Null and empty keys and values are
//!   sent as they are, but both are received as null.
//! - A consumer group is only a name under which positions are committed. Its members do not share the partitions: each
//!   member reads all of them, so every member of a group reads every record.
//! - Sending is not idempotent: if an acknowledgement is lost, the record is sent again, and consumers read it twice.
//!   The order of records is kept.
//! - Topics cannot be created, except by brokers that create them on request.
//! - There is no TLS and no SASL.
//! - gzip and Snappy are supported. LZ4 and Zstandard are not supported: polls return an error for batches that another
//!   client compressed with LZ4 or Zstandard.
//! - Batches that are larger than 64 MiB are skipped. If the setting `fetch_max_bytes` is larger than 64 MiB, this
//!   setting is the limit. Batches that are larger than the brokers' setting `fetch.max.bytes` are skipped, too.
//! - Only the bootstrap servers are asked for metadata, so configure more than one of them.
//! - Records of aborted transactions are read, too.
//!
//! # Modules
//!
//! All calls of the crate `kafka` block. Therefore each of the roles `admin`, `log_reader` and `group_consumer` has a
//! `worker`: a thread that makes the calls. The thread owns a `client`, which reconnects by itself. `offset_store` and
//! `fetch` contain calls of a client. `log_reader` and `group_consumer` read with a `fetcher`, which keeps positions
//! and waits for records. The role `producer` has a thread of another kind, in `producer/sender`. `error` maps the
//! crate's errors.

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

/// The advice in errors about features that only the other backends support.
const OTHER_BACKENDS: &str = "use the backend pure or rdkafka";

/// The maximum time by which a lookup of topics may delay a poll.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// The backend for brokers older than Kafka 4.0. It uses the first versions of Kafka's requests. It has no headers, no
/// consumer groups whose members share partitions, no TLS and no SASL.
#[derive(Clone, Debug)]
pub struct LegacyBackend {
    settings: Arc<ClientSettings>,
}

impl LegacyBackend {
    /// Returns a backend with these settings. It connects when a role is requested.
    ///
    /// # Errors
    /// Returns [`BackendErrorKind::Unsupported`](kc_core::backend::BackendErrorKind::Unsupported) for settings that
    /// this backend does not support: TLS, SASL, the compressions LZ4 and Zstandard, and the value read_committed of
    /// `isolation_level`.
    pub fn new(settings: ClientSettings) -> Result<Self, BackendError> {
        let missing = match &settings {
            ClientSettings { tls: Some(_), .. } => Some("TLS"),
            ClientSettings { sasl: Some(_), .. } => Some("SASL"),
            _ => None,
        };
        if let Some(missing) = missing {
            return Err(unsupported(NAME, missing, OTHER_BACKENDS));
        }
        if settings.read_committed {
            let what = "the value read_committed of `isolation_level`";
            return Err(unsupported(NAME, what, OTHER_BACKENDS));
        }
        match settings.compression {
            Compression::None | Compression::Gzip | Compression::Snappy => {}
            other => {
                let what = format!("the value {} of `compression_type`", other.name());
                return Err(unsupported(NAME, what, "use none, gzip or snappy"));
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
