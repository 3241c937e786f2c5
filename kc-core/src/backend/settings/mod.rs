//! The settings of a Kafka client, in a form that does not depend on the client library.

mod names;
mod parsing;
mod sasl;
#[cfg(test)]
mod tests;
mod values;

use std::time::Duration;

use super::{BackendError, BackendErrorKind};
use parsing::Parsing;

pub use names::{ClientRole, canonical_name, client_role, settings_of_sasl, settings_of_tls};
pub use sasl::{ClientCredential, OAuthBearer, Sasl, SaslMechanism, TokenEndpoint, TokenSource};
pub use values::{Authorities, ClientCertificate, Pem, Tls};

/// The settings of a Kafka client: addresses, security, sending and fetching.
///
/// They are parsed from the names and values of a node's configuration (protocol §11). The names and values are those
/// of kafka-python. librdkafka's dotted names for the same settings are also accepted.
///
/// | name | librdkafka's | default | |
/// |---|---|---|---|
/// | `bootstrap_servers` | `bootstrap.servers` | required | `host:port,...`; the port is 9092 by default |
/// | `client_id` | `client.id` | `kc` | |
/// | `group_id` | `group.id` | the node's id | the consumer group |
/// | `auto_offset_reset` | `auto.offset.reset` | `latest` | `earliest` or `latest`: the position at which a group without a committed position begins |
/// | `security_protocol` | `security.protocol` | `PLAINTEXT` | or `SSL`, `SASL_PLAINTEXT`, `SASL_SSL` |
/// | `ssl_cafile` | `ssl.ca.location` | public authorities | PEM file of certificate authorities; the client then trusts no others; `<SYSTEM-CA>` selects the authorities that the operating system trusts |
/// | `ssl_certfile` | `ssl.certificate.location` | none | PEM file of a client certificate |
/// | `ssl_keyfile` | `ssl.key.location` | none | PEM file of the certificate's private key; required with `ssl_certfile`, and without effect otherwise |
/// | `ssl.ca.pem`, `ssl.certificate.pem`, `ssl.key.pem` | the same | none | the same documents as PEM text instead of files; the characters `\n` stand for line breaks |
/// | `ssl_password` | `ssl.key.password` | none | password of an encrypted `ssl_keyfile` |
/// | `ssl_check_hostname` | `ssl.endpoint.identification.algorithm` | `true` | `false` accepts any certificate of a trusted authority, whatever host it names; not every backend supports this |
/// | `sasl_mechanism` | `sasl.mechanism` | required with SASL | `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`, `OAUTHBEARER` or `AWS_MSK_IAM`; not every backend supports the last two |
/// | `sasl_plain_username` | `sasl.username` | required with SASL | for PLAIN and SCRAM |
/// | `sasl_plain_password` | `sasl.password` | required with SASL | for PLAIN and SCRAM |
/// | `sasl_oauth_token_file` | | | for OAUTHBEARER: a file that contains a token |
/// | `sasl_oauth_token_command` | | | for OAUTHBEARER: a shell command that prints a token |
/// | `sasl_oauth_token_endpoint` | `sasl.oauthbearer.token.endpoint.url` | | for OAUTHBEARER: the URL where an identity provider issues tokens; `file://PATH` names a token file |
/// | `sasl_oauth_client_id` | `sasl.oauthbearer.client.id` | | for the token endpoint |
/// | `sasl_oauth_client_secret` | `sasl.oauthbearer.client.secret` | | for the token endpoint |
/// | `sasl_oauth_assertion_file` | `sasl.oauthbearer.assertion.file` | | for the token endpoint, in place of the secret: a file that contains a signed JWT (RFC 7523) |
/// | `sasl_oauth_scope` | `sasl.oauthbearer.scope` | | for the token endpoint |
/// | `sasl_oauth_cafile` | `https.ca.location` | public authorities | PEM file of the authorities that certify the token endpoint |
/// | `sasl_oauth_extensions` | `sasl.oauthbearer.extensions` | | for OAUTHBEARER: `name=value,...`, which brokers get with the token |
/// | `sasl_aws_region` | | from the name of the broker | for AWS_MSK_IAM; credentials come from the environment or, with the feature `aws-msk`, from the AWS SDK's usual places |
/// | `request_timeout_ms` | `socket.timeout.ms` | 30000 | for a connection attempt, and for each request |
/// | `metadata_max_age_ms` | `metadata.max.age.ms` | 300000 | |
/// | `connections_max_idle_ms` | `connections.max.idle.ms` | 540000 | |
/// | `allow_auto_create_topics` | `allow.auto.create.topics` | `false` | whether sending may create a topic |
/// | `linger_ms` | `linger.ms` | 5 | time for which a batch waits for more records |
/// | `batch_size` | `batch.size` | 524288 | bytes |
/// | `max_request_size` | `message.max.bytes` | 1048576 | bytes |
/// | `buffer_memory` | | 33554432 | bytes queued before sending waits |
/// | `max_block_ms` | | 60000 | time for which queuing a record waits for memory, for brokers, or for a missing topic |
/// | `delivery_timeout_ms` | `delivery.timeout.ms` | 120000 | time for which a queued record may remain unacknowledged; at least `linger_ms` and `request_timeout_ms` together |
/// | `compression_type` | `compression.type` | `none` | or `gzip`, `snappy`, `lz4`, `zstd`, if the backend supports it; ciphertext does not compress |
/// | `isolation_level` | `isolation.level` | `read_uncommitted` | or `read_committed`: without records of open or aborted transactions |
/// | `max_poll_records` | | 500 | maximum number of records that one poll returns |
/// | `fetch_max_bytes` | `fetch.max.bytes` | 52428800 | |
/// | `max_partition_fetch_bytes` | `max.partition.fetch.bytes` | 1048576 | |
/// | `fetch_max_wait_ms` | `fetch.wait.max.ms` | 500 | |
/// | `session_timeout_ms` | `session.timeout.ms` | 45000 | time of silence after which a member of a group is considered dead |
/// | `heartbeat_interval_ms` | `heartbeat.interval.ms` | 3000 | |
/// | `max_poll_interval_ms` | `max.poll.interval.ms` | 300000 | |
///
/// Records are always sent with `acks : all` and `enable_idempotence : true`, whatever these settings say.
/// kafka-python's settings for tuning and for choices that kc makes itself (`retries`, `enable_auto_commit`, ...) are
/// [ignored](Self::ignored). Settings that have no effect in combination with others, such as `ssl_cafile` without
/// TLS, are also ignored. librdkafka's other settings are [kept](Self::librdkafka) for a backend that uses
/// librdkafka.
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
    /// The bootstrap servers, as `host:port,...`.
    pub bootstrap_servers: String,
    /// The name of this client in the brokers' logs.
    pub client_id: String,
    /// The consumer group, if the configuration names one.
    pub group_id: Option<String>,
    /// True if a group without a committed position begins at the first record, instead of at the end.
    pub from_beginning: bool,
    /// The settings of TLS, if it is used.
    pub tls: Option<Tls>,
    /// The settings of SASL authentication, if it is used.
    pub sasl: Option<Sasl>,
    /// The maximum time for a connection attempt, and for each request.
    pub request_timeout: Duration,
    /// The maximum age of metadata about the cluster.
    pub metadata_max_age: Duration,
    /// The time after which an unused connection is closed.
    pub connections_max_idle: Duration,
    /// True if sending may create a topic.
    pub allow_auto_create_topics: bool,
    /// The time for which a batch waits for more records.
    pub linger: Duration,
    /// The maximum size of a batch, in bytes.
    pub batch_size: usize,
    /// The maximum size of a request, and therefore of a record, in bytes.
    pub max_request_size: usize,
    /// The maximum size of all queued records together, in bytes. Sending waits while the queue is full.
    pub buffer_memory: usize,
    /// The maximum time for which queuing a record waits for memory, for brokers, or for a missing topic.
    pub max_block: Duration,
    /// The maximum time for which a queued record may remain unacknowledged.
    pub delivery_timeout: Duration,
    /// The compression of batches.
    pub compression: Compression,
    /// True if records of transactions are read only after the transaction has been committed.
    pub read_committed: bool,
    /// The maximum number of records that one poll returns.
    pub max_poll_records: i32,
    /// The maximum size of one fetch, in bytes.
    pub fetch_max_bytes: i32,
    /// The maximum size of one fetch from one partition, in bytes.
    pub max_partition_fetch_bytes: i32,
    /// The maximum time for which a broker waits for records before it answers a fetch.
    pub fetch_max_wait: Duration,
    /// The time of silence after which a member of a group is considered dead.
    pub session_timeout: Duration,
    /// The interval at which a member of a group sends a heartbeat.
    pub heartbeat_interval: Duration,
    /// The maximum time between two polls of a member of a group.
    pub max_poll_interval: Duration,
    /// The names and values of the settings that only librdkafka has.
    pub librdkafka: Vec<(String, String)>,
    /// The names of settings that have no effect with any backend.
    pub ignored: Vec<String>,
}

/// The compression of batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// No compression.
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
    /// Parses settings from names and values. Settings with an empty value count as absent. If a name occurs more than
    /// once, the last occurrence counts.
    ///
    /// # Errors
    /// Returns an error that names the setting. Its kind is `Configuration` if a setting is unknown (the error then
    /// also names the most similar known setting), if a value has the wrong type or range, if settings contradict each
    /// other, or if a required setting is missing. Its kind is `Unsupported` if no backend supports the setting. Values
    /// that may be passwords are not shown.
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

    /// Refuses settings of librdkafka that a backend without librdkafka must not ignore. These are the settings for
    /// TLS (`ssl.*`), because they restrict which brokers are trusted. All other settings of librdkafka have no
    /// effect with such a backend.
    ///
    /// # Errors
    /// Returns an error of the kind `Unsupported` that names the setting and the backend if TLS is used and there is a
    /// setting for TLS that only librdkafka has.
    pub fn refuse_librdkafka(&self, backend: &str) -> Result<(), BackendError> {
        let mut names = self.librdkafka.iter().map(|(name, _)| name);
        match names.find(|name| name.starts_with("ssl.")) {
            Some(name) if self.tls.is_some() => Err(unsupported(
                backend,
                format!("the setting `{name}`"),
                "use the backend rdkafka",
            )),
            _ => Ok(()),
        }
    }

    /// Returns the names of the settings that have no effect with a backend, so that the caller can warn of them.
    /// `has_librdkafka` says whether the backend uses librdkafka.
    pub fn without_effect(&self, has_librdkafka: bool) -> impl Iterator<Item = &str> {
        let of_librdkafka = self.librdkafka.iter().filter(move |_| !has_librdkafka);
        let of_librdkafka = of_librdkafka.map(|(name, _)| name);
        self.ignored.iter().chain(of_librdkafka).map(String::as_str)
    }
}

impl Compression {
    /// Returns the name of the compression, as `compression_type` takes it.
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

/// Creates the error for a setting that a backend does not support. The context of the error is the name of the
/// backend, followed by `what`: a text that names the setting. `advice` names the alternatives.
#[must_use]
pub fn unsupported(backend: &str, what: impl AsRef<str>, advice: &'static str) -> BackendError {
    BackendError::new(
        BackendErrorKind::Unsupported,
        format!("the backend {backend}: {}", what.as_ref()),
    )
    .with_advice(advice)
}

fn invalid(what: impl Into<String>) -> BackendError {
    BackendError::new(BackendErrorKind::Configuration, what)
}
