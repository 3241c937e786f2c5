//! The values of settings, and their text forms.

use std::num::NonZeroU16;
use std::time::Duration;

use super::{Compression, invalid};
use crate::backend::BackendError;
use crate::secret::SecretText;

/// The text by which a configuration selects the authorities that the operating system trusts.
const SYSTEM_AUTHORITIES: &str = "<SYSTEM-CA>";

/// A security protocol: whether it uses TLS, and whether it uses SASL.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Protocol {
    pub(super) tls: bool,
    pub(super) sasl: bool,
}

pub(super) fn servers(value: &str) -> Result<String, BackendError> {
    let mut servers = Vec::new();
    for server in value.split(',').map(str::trim) {
        if server.is_empty() || server.contains(char::is_whitespace) {
            return Err(invalid(format!(
                "`bootstrap_servers`: {value:?} is not a list of addresses (host:port,...)"
            )));
        }
        let (host, rest) = match server.rfind(']') {
            Some(end) => server.split_at(end + 1),
            None => server.split_at(server.find(':').unwrap_or(server.len())),
        };
        if host.is_empty() {
            return Err(invalid(format!(
                "`bootstrap_servers`: {server:?} has no host"
            )));
        }
        match rest.strip_prefix(':').map(str::parse::<NonZeroU16>) {
            None if rest.is_empty() => servers.push(format!("{server}:9092")),
            Some(Ok(_)) => servers.push(server.to_owned()),
            _ => {
                return Err(invalid(format!(
                    "`bootstrap_servers`: the port of {server:?} is not a number from 1 to 65535"
                )));
            }
        }
    }
    Ok(servers.join(","))
}

pub(super) fn protocol(value: &str) -> Result<Protocol, BackendError> {
    let (tls, sasl) = match value.to_ascii_uppercase().as_str() {
        "PLAINTEXT" => (false, false),
        "SSL" => (true, false),
        "SASL_PLAINTEXT" => (false, true),
        "SASL_SSL" => (true, true),
        _ => {
            return Err(invalid(format!(
                "`security_protocol`: {value:?} is not PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
            )));
        }
    };
    Ok(Protocol { tls, sasl })
}

pub(super) fn authorities(value: &str) -> Authorities {
    if value.eq_ignore_ascii_case(SYSTEM_AUTHORITIES) {
        Authorities::System
    } else {
        Authorities::File(value.to_owned())
    }
}

pub(super) fn compression(value: &str) -> Result<Compression, BackendError> {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    let known = [None, Gzip, Snappy, Lz4, Zstd];
    let named = known
        .into_iter()
        .find(|compression| compression.name().eq_ignore_ascii_case(value));
    named.ok_or_else(|| {
        invalid(format!(
            "`compression_type`: {value:?} is not none, gzip, snappy, lz4 or zstd"
        ))
    })
}

pub(super) fn read_committed(value: &str) -> Result<bool, BackendError> {
    match value.to_ascii_lowercase().as_str() {
        "read_committed" => Ok(true),
        "read_uncommitted" => Ok(false),
        _ => Err(invalid(format!(
            "`isolation_level`: {value:?} is neither read_uncommitted nor read_committed"
        ))),
    }
}

/// Parses `auto_offset_reset`. Returns whether a group without a committed position begins at the first record.
/// Returns `None` for the values `none` and `error`: with them, a consumer without a committed position would have to
/// fail, which no backend supports.
pub(super) fn from_beginning(value: &str) -> Result<Option<bool>, BackendError> {
    match value.to_ascii_lowercase().as_str() {
        "earliest" | "smallest" | "beginning" => Ok(Some(true)),
        "latest" | "largest" | "end" => Ok(Some(false)),
        "none" | "error" => Ok(None),
        _ => Err(invalid(format!(
            "`auto_offset_reset`: {value:?} is neither earliest nor latest"
        ))),
    }
}

/// Parses `acks`. Returns whether all in-sync replicas must acknowledge a record.
pub(super) fn all_acknowledge(value: &str) -> Result<bool, BackendError> {
    match value.to_ascii_lowercase().as_str() {
        "all" | "-1" => Ok(true),
        "0" | "1" => Ok(false),
        _ => Err(invalid(format!("`acks`: {value:?} is not all, 1 or 0"))),
    }
}

/// Parses a Boolean, or librdkafka's `https` (true) and `none` (false).
pub(super) fn check_hostname(name: &str, value: &str) -> Result<bool, BackendError> {
    match value.to_ascii_lowercase().as_str() {
        "https" => Ok(true),
        "none" => Ok(false),
        _ => boolean(name, value),
    }
}

pub(super) fn boolean(name: &str, value: &str) -> Result<bool, BackendError> {
    match value.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(invalid(format!(
            "`{name}`: {value:?} is neither true nor false"
        ))),
    }
}

/// Parses a number from 1 to `i32::MAX`.
pub(super) fn count(name: &str, value: &str) -> Result<i32, BackendError> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(invalid(format!(
            "`{name}`: {value:?} is not a number from 1 to {}",
            i32::MAX
        ))),
    }
}

pub(super) fn size(name: &str, value: &str) -> Result<usize, BackendError> {
    let count = count(name, value)?;
    usize::try_from(count).map_err(|error| invalid(format!("`{name}`")).with_source(error))
}

pub(super) fn positive_millis(name: &str, value: &str) -> Result<Duration, BackendError> {
    count(name, value).map(|millis| Duration::from_millis(u64::from(millis.unsigned_abs())))
}

pub(super) fn millis(name: &str, value: &str) -> Result<Duration, BackendError> {
    if value == "0" {
        return Ok(Duration::ZERO);
    }
    positive_millis(name, value)
}

/// The settings of TLS. The files are read when a client connects.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tls {
    /// The authorities that the client trusts to certify brokers.
    pub authorities: Authorities,
    /// The client's own certificate, for brokers that require one (mTLS).
    pub certificate: Option<ClientCertificate>,
    /// True if a broker's certificate must contain the host name that the client connects to.
    pub check_hostname: bool,
}

/// A set of certificate authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authorities {
    /// The public authorities that are built into the backend, or that the backend finds on the system.
    Public,
    /// The authorities that the operating system trusts (`<SYSTEM-CA>`).
    System,
    /// Only the authorities in this PEM file.
    File(String),
    /// Only the authorities in this PEM text.
    Pem(String),
}

/// A PEM document.
#[derive(Debug)]
#[non_exhaustive]
pub enum Pem {
    /// A file.
    File(String),
    /// The text itself.
    Text(SecretText),
}

impl Pem {
    /// Returns the document in a setting. Two characters `\n` stand for a line break, because some configurations have
    /// each setting on one line.
    pub(super) fn text(value: &str) -> String {
        value.replace("\\n", "\n")
    }
}

/// A client's certificate with its private key.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClientCertificate {
    /// The certificate and its intermediate certificates.
    pub certificate: Pem,
    /// The private key.
    pub key: Pem,
    /// The password of the private key, if it is encrypted.
    pub password: Option<SecretText>,
}
