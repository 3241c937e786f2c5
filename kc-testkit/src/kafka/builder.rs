use std::path::PathBuf;

use super::cluster::Member;
use super::{Kafka, KafkaError, Listener, Version};

/// Configures and starts a [`Kafka`].
#[derive(Debug, Clone)]
#[must_use]
pub struct Builder {
    pub(super) version: Version,
    pub(super) listeners: Vec<Listener>,
    pub(super) first_port: Option<u16>,
    pub(super) folder: Option<PathBuf>,
    pub(super) properties: Vec<(String, String)>,
    /// The place in a cluster; `None` for a broker that is its own controller.
    pub(super) member: Option<Member>,
}

impl Builder {
    pub(super) fn new(version: Version) -> Self {
        Self {
            version,
            listeners: vec![Listener::Plaintext],
            first_port: None,
            folder: None,
            properties: Vec::new(),
            member: None,
        }
    }

    /// Adds the listeners [`Ssl`](Listener::Ssl) and [`Mtls`](Listener::Mtls).
    pub fn tls(mut self) -> Self {
        self.listeners.extend([Listener::Ssl, Listener::Mtls]);
        self
    }

    /// Adds the listeners [`SaslPlaintext`](Listener::SaslPlaintext) and [`SaslSsl`](Listener::SaslSsl).
    pub fn sasl(mut self) -> Self {
        let listeners = [Listener::SaslPlaintext, Listener::SaslSsl];
        self.listeners.extend(listeners);
        self
    }

    /// Uses six consecutive ports from this one on (65,530 at most): one for each [`Listener`] in order, and one for
    /// the controller. Default: free ports.
    pub fn first_port(mut self, port: u16) -> Self {
        self.first_port = Some(port);
        self
    }

    /// Uses this folder, created if missing, for data, certificates, settings and log. Existing data and certificates
    /// are used. Default: a temporary folder, removed at the end.
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.folder = Some(path.into());
        self
    }

    /// Sets whether a topic is created when a client uses it. Default: yes, as in Kafka.
    pub fn auto_create_topics(self, yes: bool) -> Self {
        self.property("auto.create.topics.enable", yes.to_string())
    }

    /// Sets a property of the server by Kafka's name; it overrides others.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// Starts Kafka and waits until it serves: some seconds, a minute at most. The first start of a version fetches its
    /// jars before.
    ///
    /// # Errors
    /// [`KafkaError::Program`] or [`KafkaError::Jars`] if Java or the jars are missing; [`KafkaError::PortsTaken`];
    /// [`KafkaError::Ended`] or [`KafkaError::NotServing`] if Kafka does not serve in time; other kinds if its files
    /// cannot be prepared.
    pub fn start(self) -> Result<Kafka, KafkaError> {
        Kafka::start(self)
    }
}
