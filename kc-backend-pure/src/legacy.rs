//! Kafka before 4.0: a [`Backend`] on the old client crate `kafka`.
//!
//! It speaks the first versions of Kafka's protocol, which Apache Kafka has from 0.8.2 to 3.9. What that means:
//!
//! - Records have no headers and no times; one with headers is refused. Nulls and empty keys and values are sent as
//!   they are, but come back as null, both.
//! - A consumer group is a name for positions, not a group that shares partitions: each member reads all of them.
//!   Two members of the same group read everything twice.
//! - Sending is not idempotent: where an acknowledgement is lost, a record is sent, and read, again. Order is kept.
//! - Topics are created by others, or by brokers that are set up to when they are asked for one.
//! - No TLS and no SASL. gzip and Snappy are known, LZ4 and Zstandard are not: a batch compressed so by another
//!   client cannot be read, and polls say so.
//! - A batch larger than 64 MiB, or than the brokers' `fetch.max.bytes`, is passed over.
//! - Only the bootstrap servers are asked what there is: give more than one.
//! - Records of transactions that were aborted are read, too.
//!
//! # Map
//!
//! All calls of the crate block. A `worker` is a thread that makes them, one for each role; `client` is what it
//! works on: a connected client that connects again. `offset_store` and `fetch` are calls on it. `admin`,
//! `log_reader` and `group_consumer` are the roles; the latter two read by a `fetcher`, which keeps positions and
//! waits. `producer` has a thread of its own. `error` maps the crate's errors.

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

/// How long looking for them may hold up a poll.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);

/// Kafka before 4.0, by the first versions of its protocol: without headers, shared groups, TLS or SASL.
#[derive(Clone, Debug)]
pub struct LegacyBackend {
    settings: Arc<ClientSettings>,
}

impl LegacyBackend {
    /// A backend that connects as `settings` say; it does so when it is asked for something.
    ///
    /// # Errors
    /// `Unsupported` for what this backend does not have: TLS, SASL, LZ4, Zstandard.
    pub fn new(settings: ClientSettings) -> Result<Self, BackendError> {
        let missing = match &settings {
            ClientSettings { tls: Some(_), .. } => Some("TLS"),
            ClientSettings { sasl: Some(_), .. } => Some("SASL"),
            _ => None,
        };
        if let Some(missing) = missing {
            let what = format!("it has no {missing}; the backends pure and rdkafka have");
            return Err(unsupported(NAME, what));
        }
        if settings.read_committed {
            let what = "`isolation_level` is always read_uncommitted";
            return Err(unsupported(NAME, what));
        }
        match settings.compression {
            Compression::None | Compression::Gzip | Compression::Snappy => {}
            other => {
                let what = format!(
                    "`compression_type`: {} is not possible; none, gzip and snappy are",
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
