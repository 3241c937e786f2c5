//! What a configuration says of a Kafka client, whichever client it is.

mod names;
mod parsing;
#[cfg(test)]
mod tests;
mod values;

use std::time::Duration;

use super::{BackendError, BackendErrorKind};
use parsing::Parsing;

pub use names::{ClientRole, canonical_name, client_role};
pub use values::{Authorities, ClientCertificate, Sasl, SaslMechanism, Tls};

/// How to reach the brokers, and how to send and fetch: parsed from names and values as a node's
/// configuration has them (protocol §11), which are those of kafka-python. librdkafka's dotted names are taken for
/// the same settings, too.
///
/// | name | librdkafka's | default | |
/// |---|---|---|---|
/// | `bootstrap_servers` | `bootstrap.servers` | required | `host:port,...`; the port is 9092 if left out |
/// | `client_id` | `client.id` | `kc` | |
/// | `group_id` | `group.id` | the node's id | the group of consumers |
/// | `auto_offset_reset` | `auto.offset.reset` | `latest` | where a group without a committed position starts to read messages: `earliest` or `latest` |
/// | `security_protocol` | `security.protocol` | `PLAINTEXT` | or `SSL`, `SASL_PLAINTEXT`, `SASL_SSL` |
/// | `ssl_cafile` | `ssl.ca.location` | public authorities | PEM file: only these authorities are trusted; or `<SYSTEM-CA>`: those that this system trusts |
/// | `ssl_certfile` | `ssl.certificate.location` | none | PEM file of a client certificate |
/// | `ssl_keyfile` | `ssl.key.location` | none | PEM file of its private key; needed with `ssl_certfile`, and only then |
/// | `ssl_password` | `ssl.key.password` | none | of an encrypted `ssl_keyfile` |
/// | `ssl_check_hostname` | `ssl.endpoint.identification.algorithm` | `true` | `false` where a backend can, for any certificate of a trusted authority |
/// | `sasl_mechanism` | `sasl.mechanism` | required with SASL | `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512` |
/// | `sasl_plain_username` | `sasl.username` | required with SASL | of SCRAM, too |
/// | `sasl_plain_password` | `sasl.password` | required with SASL | of SCRAM, too |
/// | `request_timeout_ms` | `socket.timeout.ms` | 30000 | to connect, and for each request |
/// | `metadata_max_age_ms` | `metadata.max.age.ms` | 300000 | |
/// | `connections_max_idle_ms` | `connections.max.idle.ms` | 540000 | |
/// | `allow_auto_create_topics` | `allow.auto.create.topics` | `false` | whether sending may create a topic |
/// | `linger_ms` | `linger.ms` | 5 | how long a batch waits for more records |
/// | `batch_size` | `batch.size` | 524288 | bytes |
/// | `max_request_size` | `message.max.bytes` | 1048576 | bytes |
/// | `buffer_memory` | | 33554432 | bytes queued before sending waits |
/// | `max_block_ms` | | 60000 | how long queuing waits: for memory, for brokers, for a missing topic |
/// | `delivery_timeout_ms` | `delivery.timeout.ms` | 120000 | how long a queued record may stay unacknowledged; not less than `linger_ms` and `request_timeout_ms` together |
/// | `compression_type` | `compression.type` | `none` | or `gzip`, `snappy`, `lz4`, `zstd`, where a backend can; ciphertext does not compress |
/// | `isolation_level` | `isolation.level` | `read_uncommitted` | or `read_committed`: without the records of transactions that are open or aborted |
/// | `max_poll_records` | | 500 | most records that one poll returns |
/// | `fetch_max_bytes` | `fetch.max.bytes` | 52428800 | |
/// | `max_partition_fetch_bytes` | `max.partition.fetch.bytes` | 1048576 | |
/// | `fetch_max_wait_ms` | `fetch.wait.max.ms` | 500 | |
/// | `session_timeout_ms` | `session.timeout.ms` | 45000 | of a group's member |
/// | `heartbeat_interval_ms` | `heartbeat.interval.ms` | 3000 | |
/// | `max_poll_interval_ms` | `max.poll.interval.ms` | 300000 | |
///
/// Records are sent with `acks : all` and `enable_idempotence : true` whatever these say. What
/// kafka-python has for tuning and for the choices that kc makes itself (`retries`, `enable_auto_commit`, ...) is
/// [ignored](Self::ignored), and so is what has no effect beside other settings, such as `ssl_cafile` without TLS.
/// librdkafka's other settings are [kept](Self::librdkafka) for a backend that has it.
///
/// ```
/// use kc_core::backend::ClientSettings;
///
/// let settings = ClientSettings::parse([("bootstrap.servers", "127.0.0.1"), ("linger_ms", "0")])?;
/// assert_eq!(settings.bootstrap_servers, "127.0.0.1:9092");
///
/// let error = ClientSettings::parse([("bootstrap_server", "127.0.0.1:9092")]).unwrap_err();
/// assert!(error.to_string().contains("`bootstrap_servers`"));
/// # Ok::<_, kc_core::backend::BackendError>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct ClientSettings {
    /// The addresses of the brokers to ask first, `host:port,...`.
    pub bootstrap_servers: String,
    /// What brokers log this client as.
    pub client_id: String,
    /// The group of consumers, if one is named.
    pub group_id: Option<String>,
    /// Whether a group without a committed position starts to read messages at the first record, not at the end.
    pub from_beginning: bool,
    /// TLS, if it is wanted.
    pub tls: Option<Tls>,
    /// How to authenticate by SASL, if it is wanted.
    pub sasl: Option<Sasl>,
    /// The longest time to connect, and for each request.
    pub request_timeout: Duration,
    /// How old what is known of the cluster may get.
    pub metadata_max_age: Duration,
    /// How long an unused connection is kept.
    pub connections_max_idle: Duration,
    /// Whether sending may create a topic.
    pub allow_auto_create_topics: bool,
    /// How long a batch waits for more records.
    pub linger: Duration,
    /// The size of a batch, in bytes.
    pub batch_size: usize,
    /// The largest request, in bytes, and so the largest record.
    pub max_request_size: usize,
    /// How many bytes are queued before sending waits.
    pub buffer_memory: usize,
    /// How long queuing waits: for memory, for brokers, for a missing topic.
    pub max_block: Duration,
    /// How long a queued record may stay unacknowledged.
    pub delivery_timeout: Duration,
    /// How batches are compressed.
    pub compression: Compression,
    /// Whether records of transactions are left out until, and unless, these are committed.
    pub read_committed: bool,
    /// The most records that one poll returns.
    pub max_poll_records: i32,
    /// The most bytes of one fetch.
    pub fetch_max_bytes: i32,
    /// The most bytes of one fetch from one partition.
    pub max_partition_fetch_bytes: i32,
    /// How long a broker waits for records before it answers a fetch.
    pub fetch_max_wait: Duration,
    /// How long a group's member may be silent before it is taken for dead.
    pub session_timeout: Duration,
    /// How often a group's member says that it lives.
    pub heartbeat_interval: Duration,
    /// How long a group's member may work between two polls.
    pub max_poll_interval: Duration,
    /// librdkafka's settings that have no other name, with their values.
    pub librdkafka: Vec<(String, String)>,
    /// The names of settings that have no effect on any backend.
    pub ignored: Vec<String>,
}

/// How batches are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl ClientSettings {
    /// Reads settings. An empty value leaves a setting at its default; of a name given twice the last
    /// counts.
    ///
    /// # Errors
    /// `Configuration`, naming the setting: unknown (with the nearest name there is), not of its type or
    /// range, or missing; `Unsupported` if no backend has it. Values that may be passwords are not shown.
    pub fn parse<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, BackendError>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut parsing = Parsing::default();
        for (name, value) in pairs {
            parsing.read(name.as_ref(), value.as_ref().trim())?;
        }
        parsing.finish()
    }

    /// Fails for those of librdkafka's own settings that a backend without librdkafka must not pass over, because they
    /// limit whom TLS trusts. The others have no effect there.
    ///
    /// # Errors
    /// `Unsupported`; names the setting and the backend.
    pub fn refuse_librdkafka(&self, backend: &str) -> Result<(), BackendError> {
        let mut names = self.librdkafka.iter().map(|(name, _)| name);
        match names.find(|name| name.starts_with("ssl.")) {
            Some(name) if self.tls.is_some() => Err(unsupported(
                backend,
                format!("`{name}` is a setting of librdkafka; the backend rdkafka has it"),
            )),
            _ => Ok(()),
        }
    }

    /// The names of the settings that have no effect on a backend that has librdkafka, or has not: something to warn of.
    pub fn without_effect(&self, has_librdkafka: bool) -> impl Iterator<Item = &str> {
        let of_librdkafka = self.librdkafka.iter().filter(move |_| !has_librdkafka);
        let of_librdkafka = of_librdkafka.map(|(name, _)| name);
        self.ignored.iter().chain(of_librdkafka).map(String::as_str)
    }
}

impl Compression {
    /// The name that settings give it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// The error of a setting that a backend cannot follow: `what` says which, and what there is instead.
#[must_use]
pub fn unsupported(backend: &str, what: impl AsRef<str>) -> BackendError {
    BackendError::new(
        BackendErrorKind::Unsupported,
        format!("the backend {backend}: {}", what.as_ref()),
    )
}

fn invalid(what: impl Into<String>) -> BackendError {
    BackendError::new(BackendErrorKind::Configuration, what)
}
