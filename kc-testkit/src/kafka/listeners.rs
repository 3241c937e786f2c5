//! Listeners, and their consecutive ports.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::KafkaError;

/// The number of ports of a Kafka: one for each [`Listener`], and one for its controller.
pub(super) const COUNT: u16 = 6;

/// The range in which free ports are looked for: below the ports that systems use for outgoing connections. Otherwise a
/// client that reconnects again and again to a stopped Kafka could get its port, and keep it.
const FREE: std::ops::Range<u16> = 20_000..32_000;

/// A listener of a [`Kafka`](super::Kafka).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Listener {
    /// Neither TLS nor a user; always present.
    Plaintext,
    /// TLS. The certificate is for `localhost`, not for 127.0.0.1.
    Ssl,
    /// TLS, with a client certificate.
    Mtls,
    /// SASL without TLS: the mechanisms PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER.
    SaslPlaintext,
    /// SASL with TLS; the same mechanisms and certificate.
    SaslSsl,
}

impl Listener {
    /// Returns the name in Kafka's settings.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::Mtls => "MTLS",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// Returns the setting `security_protocol` of its clients.
    #[must_use]
    pub const fn security_protocol(self) -> &'static str {
        match self {
            Self::Mtls => Self::Ssl.name(),
            other => other.name(),
        }
    }

    /// Returns whether the listener uses TLS.
    #[must_use]
    pub const fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::Mtls | Self::SaslSsl)
    }

    /// Returns whether the listener requires a user and a password.
    #[must_use]
    pub const fn has_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Returns the host that clients connect to.
    pub(super) const fn host(self) -> &'static str {
        if self.has_tls() {
            "localhost"
        } else {
            "127.0.0.1"
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Consecutive ports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    first: u16,
}

impl Ports {
    /// Returns the ports from this one on; 65,530 at most.
    pub(super) fn from(first: u16) -> Self {
        Self {
            first: first.min(u16::MAX - (COUNT - 1)),
        }
    }

    /// Returns ports that are free, unless another process takes them before they are used.
    pub(super) fn free() -> Result<Self, KafkaError> {
        const TRIES: usize = 100;
        let tried = (0..TRIES).map(|_| Self::from(rand::random_range(FREE)));
        let mut free = tried.filter(|ports| ports.check().is_ok());
        free.next()
            .ok_or(KafkaError::PortsTaken { first: FREE.start })
    }

    /// Checks that no program listens on the ports.
    pub(super) fn check(self) -> Result<(), KafkaError> {
        let mut ports = self.first..=self.controller();
        if ports.all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            Ok(())
        } else {
            Err(self.taken())
        }
    }

    pub(super) fn taken(self) -> KafkaError {
        KafkaError::PortsTaken { first: self.first }
    }

    pub(super) fn overlaps(self, other: Self) -> bool {
        self.first.abs_diff(other.first) < COUNT
    }

    pub(super) fn of(self, listener: Listener) -> u16 {
        self.first + listener as u16
    }

    pub(super) fn controller(self) -> u16 {
        self.first + (COUNT - 1)
    }

    /// Returns the address of the plaintext listener.
    pub(super) fn plaintext(self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.of(Listener::Plaintext)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_consecutive_and_never_too_large() {
        let ports = Ports::from(9092);
        assert_eq!(ports.of(Listener::Plaintext), 9092);
        assert_eq!(ports.of(Listener::SaslSsl), 9096);
        assert_eq!(ports.controller(), 9097);
        assert_eq!(Ports::from(u16::MAX).controller(), u16::MAX);
    }

    #[test]
    fn taken_port_is_noticed() {
        let ports = Ports::free().unwrap();
        ports.check().unwrap();
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, ports.of(Listener::Mtls))).unwrap();
        let error = ports.check().unwrap_err();
        assert!(matches!(error, KafkaError::PortsTaken { .. }), "{error}");
        drop(taken);
    }
}
