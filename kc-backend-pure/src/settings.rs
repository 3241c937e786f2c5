//! Settings by the names that kafka-python gives them.

mod names;
#[cfg(test)]
mod tests;

use std::time::Duration;

use kc_core::backend::{BackendError, BackendErrorKind};
use krafka::Compression;
use krafka::auth::{AuthConfig, TlsConfig};

/// How to reach the brokers, and how to send and fetch: parsed from names and values as a node's
/// configuration has them (protocol §11), which are those of kafka-python.
///
/// | name | default | |
/// |---|---|---|
/// | `bootstrap_servers` | required | `host:port,...`; the port is 9092 if left out |
/// | `client_id` | `kc` | |
/// | `security_protocol` | `PLAINTEXT` | or `SSL` |
/// | `ssl_cafile` | Mozilla's authorities | PEM file; only these authorities are trusted |
/// | `ssl_certfile`, `ssl_keyfile` | none | PEM files of a client certificate; both or none |
/// | `request_timeout_ms` | 30000 | to connect, and for each request |
/// | `metadata_max_age_ms` | 300000 | |
/// | `connections_max_idle_ms` | 540000 | |
/// | `allow_auto_create_topics` | `false` | whether sending may create a topic |
/// | `linger_ms` | 5 | how long a batch waits for more records |
/// | `batch_size` | 524288 | bytes |
/// | `max_request_size` | 1048576 | bytes |
/// | `buffer_memory` | 33554432 | bytes queued before sending waits |
/// | `max_block_ms` | 60000 | how long queuing waits: for memory, for brokers, for a missing topic |
/// | `delivery_timeout_ms` | 120000 | how long a queued record may stay unacknowledged |
/// | `compression_type` | `none` | or `gzip`, `snappy`, `lz4`; ciphertext does not compress |
/// | `max_poll_records` | 500 | most records that one poll returns |
/// | `fetch_max_bytes` | 52428800 | |
/// | `max_partition_fetch_bytes` | 1048576 | |
/// | `fetch_max_wait_ms` | 500 | |
/// | `session_timeout_ms` | 45000 | of a group's member |
/// | `heartbeat_interval_ms` | 3000 | |
/// | `max_poll_interval_ms` | 300000 | |
///
/// `acks` may be given as `all` and `enable_idempotence` as `true`, which is how records are sent anyway.
///
/// ```
/// use kc_backend_pure::Settings;
///
/// let settings = Settings::parse([("bootstrap_servers", "127.0.0.1:9092"), ("linger_ms", "0")])?;
/// assert_eq!(settings.bootstrap_servers(), "127.0.0.1:9092");
///
/// let error = Settings::parse([("bootstrap_server", "127.0.0.1:9092")]).unwrap_err();
/// assert!(error.to_string().contains("`bootstrap_servers`"));
/// # Ok::<_, kc_core::backend::BackendError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Settings {
    pub(crate) bootstrap_servers: String,
    pub(crate) client_id: String,
    pub(crate) tls: Option<Tls>,
    pub(crate) request_timeout: Duration,
    pub(crate) metadata_max_age: Duration,
    pub(crate) connections_max_idle: Duration,
    pub(crate) allow_auto_create_topics: bool,
    pub(crate) linger: Duration,
    pub(crate) batch_size: usize,
    pub(crate) max_request_size: usize,
    pub(crate) buffer_memory: usize,
    pub(crate) max_block: Duration,
    pub(crate) delivery_timeout: Duration,
    pub(crate) compression: Compression,
    pub(crate) max_poll_records: i32,
    pub(crate) fetch_max_bytes: i32,
    pub(crate) max_partition_fetch_bytes: i32,
    pub(crate) fetch_max_wait: Duration,
    pub(crate) session_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) max_poll_interval: Duration,
}

/// The files of TLS. They are read when connecting.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tls {
    authorities: Option<String>,
    certificate: Option<(String, String)>,
}

impl Settings {
    /// Reads settings. An empty value leaves a setting at its default; of a name given twice the last
    /// counts.
    ///
    /// # Errors
    /// `Configuration`, naming the setting: unknown (with the nearest name there is), not supported by
    /// this backend, not of its type or range, or missing.
    pub fn parse<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, BackendError>
    where
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut parsing = Parsing::default();
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref().trim());
            names::check(name)?;
            if !value.is_empty() {
                parsing.set(name, value)?;
            }
        }
        parsing.finish()
    }

    /// The addresses of the brokers to ask first, `host:port,...`.
    #[must_use]
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    pub(crate) fn security(&self) -> Option<AuthConfig> {
        let tls = self.tls.as_ref()?;
        let mut config = TlsConfig::new();
        if let Some(file) = &tls.authorities {
            config = config.with_ca_cert(file);
        }
        if let Some((certificate, key)) = &tls.certificate {
            config = config.with_client_cert(certificate, key);
        }
        Some(AuthConfig::ssl(config))
    }
}

/// Settings while not all are known.
struct Parsing {
    settings: Settings,
    ssl: bool,
    ca_file: Option<String>,
    cert_file: Option<String>,
    key_file: Option<String>,
}

impl Default for Parsing {
    fn default() -> Self {
        Self {
            settings: Settings {
                bootstrap_servers: String::new(),
                client_id: "kc".to_owned(),
                tls: None,
                request_timeout: Duration::from_secs(30),
                metadata_max_age: Duration::from_secs(300),
                connections_max_idle: Duration::from_secs(540),
                allow_auto_create_topics: false,
                linger: Duration::from_millis(5),
                batch_size: 512 << 10,
                max_request_size: 1 << 20,
                buffer_memory: 32 << 20,
                max_block: Duration::from_secs(60),
                delivery_timeout: Duration::from_secs(120),
                compression: Compression::None,
                max_poll_records: 500,
                fetch_max_bytes: 50 << 20,
                max_partition_fetch_bytes: 1 << 20,
                fetch_max_wait: Duration::from_millis(500),
                session_timeout: Duration::from_secs(45),
                heartbeat_interval: Duration::from_secs(3),
                max_poll_interval: Duration::from_secs(300),
            },
            ssl: false,
            ca_file: None,
            cert_file: None,
            key_file: None,
        }
    }
}

impl Parsing {
    fn set(&mut self, name: &str, value: &str) -> Result<(), BackendError> {
        let settings = &mut self.settings;
        let text = || Ok(value.to_owned());
        match name {
            "bootstrap_servers" => settings.bootstrap_servers = servers(value)?,
            "client_id" => settings.client_id = text()?,
            "security_protocol" => self.ssl = security(value)?,
            "ssl_cafile" => self.ca_file = Some(text()?),
            "ssl_certfile" => self.cert_file = Some(text()?),
            "ssl_keyfile" => self.key_file = Some(text()?),
            "ssl_check_hostname" | "enable_idempotence" => only(name, value, "true")?,
            "acks" if value == "-1" => {}
            "acks" => only(name, value, "all")?,
            "request_timeout_ms" => settings.request_timeout = positive_millis(name, value)?,
            "metadata_max_age_ms" => settings.metadata_max_age = positive_millis(name, value)?,
            "connections_max_idle_ms" => {
                settings.connections_max_idle = positive_millis(name, value)?;
            }
            "allow_auto_create_topics" => {
                settings.allow_auto_create_topics = boolean(name, value)?;
            }
            "linger_ms" => settings.linger = millis(name, value)?,
            "batch_size" => settings.batch_size = size(name, value)?,
            "max_request_size" => settings.max_request_size = size(name, value)?,
            "buffer_memory" => settings.buffer_memory = size(name, value)?,
            "max_block_ms" => settings.max_block = positive_millis(name, value)?,
            "delivery_timeout_ms" => settings.delivery_timeout = positive_millis(name, value)?,
            "compression_type" => settings.compression = compression(value)?,
            "max_poll_records" => settings.max_poll_records = count(name, value)?,
            "fetch_max_bytes" => settings.fetch_max_bytes = count(name, value)?,
            "max_partition_fetch_bytes" => {
                settings.max_partition_fetch_bytes = count(name, value)?;
            }
            "fetch_max_wait_ms" => settings.fetch_max_wait = millis(name, value)?,
            "session_timeout_ms" => settings.session_timeout = positive_millis(name, value)?,
            "heartbeat_interval_ms" => {
                settings.heartbeat_interval = positive_millis(name, value)?;
            }
            "max_poll_interval_ms" => settings.max_poll_interval = positive_millis(name, value)?,
            _ => return Err(names::unknown(name)),
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Settings, BackendError> {
        if self.settings.bootstrap_servers.is_empty() {
            return Err(invalid("`bootstrap_servers` is required"));
        }
        let settings = &self.settings;
        if settings.delivery_timeout < settings.linger + settings.request_timeout {
            return Err(invalid(
                "`delivery_timeout_ms` is less than `linger_ms` and `request_timeout_ms` together",
            ));
        }
        if settings.heartbeat_interval >= settings.session_timeout {
            return Err(invalid(
                "`heartbeat_interval_ms` is not less than `session_timeout_ms`",
            ));
        }
        let files = [
            ("ssl_cafile", &self.ca_file),
            ("ssl_certfile", &self.cert_file),
            ("ssl_keyfile", &self.key_file),
        ];
        if let Some((name, _)) = files.iter().find(|(_, file)| file.is_some() && !self.ssl) {
            return Err(invalid(format!(
                "`{name}` has no effect unless `security_protocol` is SSL"
            )));
        }
        let certificate = match (self.cert_file, self.key_file) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(invalid("`ssl_certfile` needs `ssl_keyfile`")),
            (None, Some(_)) => return Err(invalid("`ssl_keyfile` needs `ssl_certfile`")),
        };
        self.settings.tls = self.ssl.then_some(Tls {
            authorities: self.ca_file,
            certificate,
        });
        Ok(self.settings)
    }
}

fn invalid(what: impl Into<String>) -> BackendError {
    BackendError::new(BackendErrorKind::Configuration, what)
}

fn servers(value: &str) -> Result<String, BackendError> {
    let mut servers = Vec::new();
    for server in value.split(',').map(str::trim) {
        if server.is_empty() || server.contains(char::is_whitespace) {
            return Err(invalid(format!(
                "`bootstrap_servers`: {value:?} is not a list of host:port"
            )));
        }
        let has_port = match server.rsplit_once(']') {
            Some((_, rest)) => rest.starts_with(':'),
            None => server.contains(':'),
        };
        servers.push(if has_port {
            server.to_owned()
        } else {
            format!("{server}:9092")
        });
    }
    Ok(servers.join(","))
}

/// Whether there is TLS.
fn security(value: &str) -> Result<bool, BackendError> {
    match value.to_ascii_uppercase().as_str() {
        "PLAINTEXT" => Ok(false),
        "SSL" => Ok(true),
        _ => Err(invalid(format!(
            "`security_protocol`: {value:?} is not supported by the pure backend; it knows PLAINTEXT and SSL"
        ))),
    }
}

fn compression(value: &str) -> Result<Compression, BackendError> {
    match value.to_ascii_lowercase().as_str() {
        "none" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "snappy" => Ok(Compression::Snappy),
        "lz4" => Ok(Compression::Lz4),
        _ => Err(invalid(format!(
            "`compression_type`: {value:?} is not supported by the pure backend; it knows none, gzip, snappy and lz4"
        ))),
    }
}

fn only(name: &str, value: &str, supported: &str) -> Result<(), BackendError> {
    if value.eq_ignore_ascii_case(supported) {
        Ok(())
    } else {
        Err(invalid(format!(
            "`{name}`: {value:?} is not supported by the pure backend; it is always {supported}"
        )))
    }
}

fn boolean(name: &str, value: &str) -> Result<bool, BackendError> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(format!(
            "`{name}`: {value:?} is neither true nor false"
        ))),
    }
}

/// A number from 1 to `i32::MAX`.
fn count(name: &str, value: &str) -> Result<i32, BackendError> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(invalid(format!(
            "`{name}`: {value:?} is not a number from 1 to {}",
            i32::MAX
        ))),
    }
}

fn size(name: &str, value: &str) -> Result<usize, BackendError> {
    let count = count(name, value)?;
    usize::try_from(count).map_err(|error| invalid(format!("`{name}`")).with_source(error))
}

fn positive_millis(name: &str, value: &str) -> Result<Duration, BackendError> {
    count(name, value).map(|millis| Duration::from_millis(u64::from(millis.unsigned_abs())))
}

fn millis(name: &str, value: &str) -> Result<Duration, BackendError> {
    if value == "0" {
        return Ok(Duration::ZERO);
    }
    positive_millis(name, value)
}
