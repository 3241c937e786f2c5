//! The bench of a case: a backend, a broker, and helpers that poll until records arrive.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kc_broker::{Broker, Faults};
use kc_core::backend::{
    Admin, Backend, BackendError, ClientSettings, GroupConsumer, LogReader, OutgoingRecord, Record,
    TopicPartition, TopicSpec,
};
use tokio::time::Instant;

use super::Failure;
use crate::failure::ensure;

/// The default limit of every wait. It is many times what a backend needs on an idle machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// The default of Apache Kafka for the retention of a topic.
pub(super) const WEEK: Duration = Duration::from_hours(7 * 24);

/// Makes names unique within this process.
static BENCHES: AtomicU64 = AtomicU64::new(0);

type Make = dyn Fn(&str) -> Box<dyn Backend> + Send + Sync;

/// A backend and a broker to test it on.
pub struct Bench {
    make: Box<Make>,
    administrator: Option<Box<Make>>,
    address: String,
    broker: Mutex<Option<Broker>>,
    unique: String,
    patience: Duration,
}

impl Bench {
    /// Starts a kc-broker for this bench. Dropping the future stops the broker.
    ///
    /// # Errors
    /// [`Failure::Broker`] if the broker does not start.
    pub async fn embedded(
        make: impl Fn(&str) -> Box<dyn Backend> + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let broker = Broker::builder().start().await?;
        let mut bench = Self::external(make, broker.address().to_string());
        bench.broker = Mutex::new(Some(broker));
        Ok(bench)
    }

    /// Uses a running broker at this `host:port`. Not suitable for cases that stop the broker or inject faults.
    #[must_use]
    pub fn external(
        make: impl Fn(&str) -> Box<dyn Backend> + Send + Sync + 'static,
        address: impl Into<String>,
    ) -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH);
        let started = started.map_or(0, |since| since.as_micros());
        let number = BENCHES.fetch_add(1, Ordering::Relaxed);
        Self {
            make: Box::new(make),
            administrator: None,
            address: address.into(),
            broker: Mutex::new(None),
            unique: format!("{started:x}-{number}"),
            patience: PATIENCE,
        }
    }

    /// Creates topics with another backend than the one under test, which cannot create them.
    #[must_use]
    pub fn administered_by(
        mut self,
        make: impl Fn(&str) -> Box<dyn Backend> + Send + Sync + 'static,
    ) -> Self {
        self.administrator = Some(Box::new(make));
        self
    }

    /// Sets the limit of every wait. Default: 90 s.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub(super) fn deadline(&self) -> Duration {
        self.patience
    }

    /// Returns a backend for the broker.
    pub(super) fn backend(&self) -> Box<dyn Backend> {
        self.backend_at(&self.address)
    }

    pub(super) fn backend_at(&self, address: &str) -> Box<dyn Backend> {
        (self.make)(address)
    }

    /// Returns a unique name for a topic or group.
    pub(super) fn name(&self, what: &str) -> String {
        format!("{what}-{}", self.unique)
    }

    /// Creates a topic.
    pub(super) async fn topic(&self, what: &str, partitions: i32) -> Result<String, Failure> {
        let name = self.name(what);
        self.create(&name, partitions).await?;
        Ok(name)
    }

    pub(super) async fn create(&self, name: &str, partitions: i32) -> Result<(), Failure> {
        let spec = TopicSpec::data(name, partitions);
        let admin = self.admin().await?;
        admin.create_topic(&spec, self.patience).await?;
        admin.close().await;
        Ok(())
    }

    /// Adds partitions to a topic, up to `partitions` in all.
    pub(super) async fn grow(&self, topic: &str, partitions: i32) -> Result<(), Failure> {
        let admin = self.admin().await?;
        admin
            .add_partitions(topic, partitions, self.patience)
            .await?;
        admin.close().await;
        Ok(())
    }

    async fn admin(&self) -> Result<Box<dyn Admin>, Failure> {
        let administrator = self.administrator.as_ref().unwrap_or(&self.make);
        Ok(administrator(&self.address).admin().await?)
    }

    /// Sends records and waits until they are acknowledged.
    pub(super) async fn send(&self, records: Vec<OutgoingRecord>) -> Result<(), Failure> {
        let producer = self.backend().producer().await?;
        for record in records {
            drop(producer.enqueue(record).await?);
        }
        Ok(producer.close(self.patience).await?)
    }

    /// Sends one record for each value to partition 0.
    pub(super) async fn send_values(&self, topic: &str, values: &[&str]) -> Result<(), Failure> {
        let records = values.iter().map(|value| record(topic, 0, value));
        self.send(records.collect()).await
    }

    /// Returns the fault switches of the embedded broker.
    pub(super) fn faults(&self) -> Result<Faults, Failure> {
        let broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        broker
            .as_ref()
            .map(Broker::faults)
            .ok_or_else(needs_embedded)
    }

    /// Returns the embedded broker, to be stopped, and its address.
    pub(super) fn take_broker(&self) -> Result<(Broker, SocketAddr), Failure> {
        let mut broker = self.broker.lock().unwrap_or_else(PoisonError::into_inner);
        let broker = broker.take().ok_or_else(needs_embedded)?;
        let address = broker.address();
        Ok((broker, address))
    }
}

fn needs_embedded() -> Failure {
    Failure::Broken("this case needs the embedded broker".to_owned())
}

/// Returns settings for a backend under test on the embedded broker, which gives up within seconds.
///
/// # Errors
/// A [`BackendError`] if `bootstrap` is not a list of servers.
pub fn impatient(bootstrap: &str) -> Result<ClientSettings, BackendError> {
    ClientSettings::parse([
        ("bootstrap_servers", bootstrap),
        ("request_timeout_ms", "4000"),
        ("max_block_ms", "2000"),
        ("delivery_timeout_ms", "5000"),
        ("heartbeat_interval_ms", "100"),
        ("metadata_max_age_ms", "2000"),
    ])
}

/// Returns a record with a value and without a key.
pub(super) fn record(topic: &str, partition: i32, value: &str) -> OutgoingRecord {
    OutgoingRecord {
        topic: topic.to_owned(),
        partition: Some(partition),
        value: Some(value.as_bytes().to_vec()),
        ..OutgoingRecord::default()
    }
}

impl fmt::Debug for Bench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The time that one poll waits.
pub(super) const POLL: Duration = Duration::from_millis(200);

/// Returns the next `count` records.
pub(super) async fn read(
    bench: &Bench,
    reader: &mut dyn LogReader,
    count: usize,
) -> Result<Vec<Record>, Failure> {
    let end = Instant::now() + bench.deadline();
    let mut records = Vec::new();
    while records.len() < count {
        came_in_time(end, records.len(), count)?;
        records.extend(reader.poll(POLL).await?);
    }
    Ok(records)
}

/// Returns the next `count` records, without storing their positions.
pub(super) async fn gather(
    bench: &Bench,
    consumer: &mut dyn GroupConsumer,
    count: usize,
) -> Result<Vec<Record>, Failure> {
    let end = Instant::now() + bench.deadline();
    let mut records = Vec::new();
    while records.len() < count {
        came_in_time(end, records.len(), count)?;
        records.extend(consumer.poll(POLL).await?.records);
    }
    Ok(records)
}

fn came_in_time(end: Instant, have: usize, want: usize) -> Result<(), Failure> {
    ensure(Instant::now() < end, || {
        format!("only {have} of {want} records arrived")
    })
}

/// Returns the positions after these records.
pub(super) fn behind(records: &[Record]) -> Vec<(TopicPartition, i64)> {
    records
        .iter()
        .map(|record| {
            let at = record.at();
            (at, record.next_offset())
        })
        .collect()
}

/// Returns values as text.
pub(super) fn values(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| {
            let value = record.value.as_deref().unwrap_or_default();
            String::from_utf8_lossy(value).into_owned()
        })
        .collect()
}

/// Returns owned copies of values.
pub(super) fn owned(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}
