use std::path::PathBuf;

use super::{Kafka, KafkaError, Listener, Version};

/// A [`Kafka`] to be started.
#[derive(Debug, Clone)]
#[must_use]
pub struct Builder {
    pub(super) version: Version,
    pub(super) listeners: Vec<Listener>,
    pub(super) first_port: Option<u16>,
    pub(super) folder: Option<PathBuf>,
    pub(super) properties: Vec<(String, String)>,
}

impl Builder {
    pub(super) fn new(version: Version) -> Self {
        Self {
            version,
            listeners: vec![Listener::Plaintext],
            first_port: None,
            folder: None,
            properties: Vec::new(),
        }
    }

    /// With the listeners [`Ssl`](Listener::Ssl) and [`Mtls`](Listener::Mtls).
    pub fn tls(mut self) -> Self {
        self.listeners.extend([Listener::Ssl, Listener::Mtls]);
        self
    }

    /// With the listeners [`SaslPlaintext`](Listener::SaslPlaintext) and [`SaslSsl`](Listener::SaslSsl).
    pub fn sasl(mut self) -> Self {
        let listeners = [Listener::SaslPlaintext, Listener::SaslSsl];
        self.listeners.extend(listeners);
        self
    }

    /// On six ports from this one (65,530 at most) on: one for each [`Listener`] in their order, and one for the
    /// controller. Default: free ones.
    pub fn first_port(mut self, port: u16) -> Self {
        self.first_port = Some(port);
        self
    }

    /// With data, certificates, settings and log in this folder, made if missing. Data and certificates found there
    /// are used. Default: a temporary folder, removed at the end.
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.folder = Some(path.into());
        self
    }

    /// Whether a topic comes to be when a client uses it. Default: yes, as Kafka has it.
    pub fn auto_create_topics(self, yes: bool) -> Self {
        self.property("auto.create.topics.enable", yes.to_string())
    }

    /// A further property of the server, by Kafka's name; it overrides.
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// Starts it and waits until it serves: some seconds, a minute at most. The first one fetches jars before that.
    ///
    /// # Errors
    /// Any [`KafkaError`].
    pub fn start(self) -> Result<Kafka, KafkaError> {
        Kafka::start(self)
    }
}
