use std::fmt;
use std::io;
use std::time::Duration;

use super::{BackendError, BackendErrorKind};

/// The maximum number of brokers to which a backend tries to connect when it looks for a reachable broker. Larger
/// clusters are not probed.
const MAX_PROBED: usize = 16;

/// The maximum number of bytes of a host name.
const MAX_HOST_LEN: usize = 255;

/// The maximum number of brokers that an error names.
const MAX_NAMED: usize = 3;

/// A broker, and the address to which it tells clients to connect (Kafka's setting `advertised.listeners`).
///
/// Only the first request of a client goes to the bootstrap servers; all others go to advertised addresses. Brokers
/// often advertise a name that only their own network knows, for example inside of Docker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdvertisedBroker {
    id: i32,
    address: String,
}

impl AdvertisedBroker {
    /// The maximum time of an attempt to connect to an advertised address.
    pub const TIMEOUT: Duration = Duration::from_secs(3);

    /// Describes the broker with the id `id`, which advertises `host` and `port`.
    #[must_use]
    pub fn new(id: i32, host: &str, port: impl fmt::Display) -> Self {
        let mut end = host.len().min(MAX_HOST_LEN);
        while !host.is_char_boundary(end) {
            end -= 1;
        }
        let host = host.get(..end).unwrap_or_default();
        let address = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        Self { id, address }
    }

    /// Describes the broker with the id `id`, which advertises `address` (`host:port`).
    #[must_use]
    pub fn at(id: i32, address: &str) -> Self {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
        Self::new(id, host, port)
    }

    /// Returns the advertised address, `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the brokers to which a backend must try to connect before it can say that the cluster is unreachable.
    /// Returns an empty list if a broker advertises an address in `bootstrap_servers` (`host:port,...`), because a
    /// bootstrap server has answered, or if there are more than 16 brokers.
    #[must_use]
    pub fn to_probe(brokers: Vec<Self>, bootstrap_servers: &str) -> Vec<Self> {
        let is_bootstrap = |broker: &Self| {
            let mut servers = bootstrap_servers.split(',').map(str::trim);
            servers.any(|server| server.eq_ignore_ascii_case(&broker.address))
        };
        if brokers.len() > MAX_PROBED || brokers.iter().any(is_bootstrap) {
            return Vec::new();
        }
        brokers
    }

    /// Returns the error of a client that reached a bootstrap server, but none of the addresses that the brokers
    /// advertise. `failures` contains the probed brokers, each with the reason why it was not reached. `context` names
    /// the operation that failed.
    #[must_use]
    pub fn unreachable(context: String, failures: &[(Self, io::Error)]) -> BackendError {
        let mut reasons: Vec<String> = failures
            .iter()
            .take(MAX_NAMED)
            .map(|(broker, error)| format!("{broker}: {error}"))
            .collect();
        if let Some(more) = failures.len().checked_sub(MAX_NAMED).filter(|it| *it > 0) {
            reasons.push(format!("and {more} more"));
        }
        BackendError::new(BackendErrorKind::AdvertisedAddress, context)
            .with_source(reasons.join("; "))
    }
}

impl fmt::Display for AdvertisedBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broker {} advertises {}", self.id, self.address)
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn a_bootstrap_server_needs_no_probe() {
        let brokers = vec![
            AdvertisedBroker::new(1, "kafka-1", 9092),
            AdvertisedBroker::new(2, "::1", 9092),
        ];
        for servers in ["a:1, Kafka-1:9092", "[::1]:9092"] {
            assert!(AdvertisedBroker::to_probe(brokers.clone(), servers).is_empty());
        }
        let other_port = AdvertisedBroker::to_probe(brokers.clone(), "kafka-1:29092");
        assert_eq!(other_port, brokers);
        assert_eq!(AdvertisedBroker::at(1, "kafka-1:9092"), brokers[0]);
    }

    #[test]
    fn few_brokers_are_probed_and_named() {
        let brokers = |count: i32| -> Vec<_> {
            (0..count)
                .map(|id| AdvertisedBroker::new(id, "nowhere.invalid", 9092))
                .collect()
        };
        assert!(AdvertisedBroker::to_probe(brokers(17), "localhost:9092").is_empty());
        let probed = AdvertisedBroker::to_probe(brokers(16), "localhost:9092");
        assert_eq!(probed.len(), MAX_PROBED);
        let failures: Vec<_> = probed
            .into_iter()
            .map(|broker| (broker, io::Error::from(io::ErrorKind::ConnectionRefused)))
            .collect();
        let error = AdvertisedBroker::unreachable("connect".to_owned(), &failures);
        assert_eq!(error.kind(), BackendErrorKind::AdvertisedAddress);
        let reasons = error.source().map(ToString::to_string).unwrap_or_default();
        assert!(reasons.contains("broker 2 advertises nowhere.invalid:9092: connection refused"));
        assert!(reasons.ends_with("; and 13 more"), "{reasons}");
    }
}
