//! The content of `server.properties`.

use std::fmt::Write as _;
use std::path::Path;

use super::listeners::Ports;
use super::{Certificates, Listener, PASSWORD, USER};

/// The properties of every server: one broker that is its own controller, with short delays at the start.
const ALWAYS: &[(&str, &str)] = &[
    ("process.roles", "broker,controller"),
    ("node.id", "1"),
    ("controller.listener.names", "CONTROLLER"),
    ("inter.broker.listener.name", "PLAINTEXT"),
    ("offsets.topic.replication.factor", "1"),
    ("offsets.topic.num.partitions", "1"),
    ("transaction.state.log.replication.factor", "1"),
    ("transaction.state.log.min.isr", "1"),
    ("group.initial.rebalance.delay.ms", "0"),
];

/// The parameters of a server's properties.
pub(super) struct Server<'a> {
    pub(super) listeners: &'a [Listener],
    pub(super) ports: Ports,
    pub(super) data: &'a Path,
    pub(super) certificates: &'a Certificates,
    /// True if the server is one of a cluster, whose controllers `more` names.
    pub(super) in_cluster: bool,
    /// Further properties; they override the others.
    pub(super) more: &'a [(String, String)],
}

impl Server<'_> {
    /// Returns the text of the file.
    pub(super) fn properties(&self) -> String {
        let mut properties = Properties::default();
        for (name, value) in ALWAYS {
            properties.set(name, value);
        }
        properties.set("log.dirs", &self.data.to_string_lossy());
        self.add_listeners(&mut properties);
        if self.listeners.iter().any(|listener| listener.has_tls()) {
            self.add_tls(&mut properties);
        }
        if self.listeners.iter().any(|listener| listener.has_sasl()) {
            self.add_sasl(&mut properties);
        }
        for (name, value) in self.more {
            properties.set(name, value);
        }
        properties.text
    }

    fn add_listeners(&self, properties: &mut Properties) {
        let controller = format!("127.0.0.1:{}", self.ports.controller());
        if !self.in_cluster {
            properties.set("controller.quorum.bootstrap.servers", &controller);
        }
        let on = |listener: &Listener, host: &str| {
            format!("{listener}://{host}:{}", self.ports.of(*listener))
        };
        let each = |text: &dyn Fn(&Listener) -> String| {
            let texts: Vec<_> = self.listeners.iter().map(text).collect();
            texts.join(",")
        };
        let bound = each(&|listener| on(listener, "127.0.0.1"));
        let protocols = each(&|listener| format!("{listener}:{}", listener.security_protocol()));
        properties.set("listeners", &format!("{bound},CONTROLLER://{controller}"));
        properties.set(
            "advertised.listeners",
            &each(&|listener| on(listener, listener.host())),
        );
        properties.set(
            "listener.security.protocol.map",
            &format!("{protocols},CONTROLLER:PLAINTEXT"),
        );
    }

    fn add_tls(&self, properties: &mut Properties) {
        let Certificates { ca, server, .. } = self.certificates;
        properties.set("ssl.keystore.type", "PEM");
        properties.set("ssl.keystore.location", &server.to_string_lossy());
        properties.set("ssl.truststore.type", "PEM");
        properties.set("ssl.truststore.location", &ca.to_string_lossy());
        properties.set("listener.name.mtls.ssl.client.auth", "required");
    }

    fn add_sasl(&self, properties: &mut Properties) {
        properties.set(
            "sasl.enabled.mechanisms",
            "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
        );
        let package = "org.apache.kafka.common.security";
        let plain =
            format!("{package}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";");
        let scram = format!("{package}.scram.ScramLoginModule required;");
        // Kafka's default validator accepts unsecured tokens.
        let bearer = format!(
            "{package}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"{USER}\";"
        );
        for listener in self.listeners.iter().filter(|listener| listener.has_sasl()) {
            let listener = listener.name().to_lowercase();
            for (mechanism, module) in [
                ("plain", &plain),
                ("scram-sha-256", &scram),
                ("scram-sha-512", &scram),
                ("oauthbearer", &bearer),
            ] {
                properties.set(
                    &format!("listener.name.{listener}.{mechanism}.sasl.jaas.config"),
                    module,
                );
            }
        }
    }
}

/// Java properties.
#[derive(Default)]
struct Properties {
    text: String,
}

impl Properties {
    /// Sets a property; a later value overrides an earlier one.
    fn set(&mut self, name: &str, value: &str) {
        let value = value.replace('\\', "\\\\").replace('\n', "\\n");
        // Writing to memory cannot fail.
        let _ = writeln!(self.text, "{name}={value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(listeners: &[Listener], more: &[(String, String)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::in_folder(&folder.path().join("certificates")).unwrap();
        let server = Server {
            listeners,
            ports: Ports::from(9092),
            data: Path::new("/data"),
            certificates: &certificates,
            in_cluster: false,
            more,
        };
        server.properties()
    }

    #[test]
    fn plain_server_has_neither_tls_nor_sasl() {
        let text = properties(&[Listener::Plaintext], &[]);
        assert!(
            text.contains("\nlisteners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9097\n")
        );
        assert!(!text.contains("ssl.") && !text.contains("sasl."), "{text}");
    }

    #[test]
    fn tls_listeners_are_bound_to_the_address_and_advertised_by_name() {
        let text = properties(&[Listener::Plaintext, Listener::Mtls], &[]);
        for line in [
            "listeners=PLAINTEXT://127.0.0.1:9092,MTLS://127.0.0.1:9094,CONTROLLER://127.0.0.1:9097",
            "advertised.listeners=PLAINTEXT://127.0.0.1:9092,MTLS://localhost:9094",
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,MTLS:SSL,CONTROLLER:PLAINTEXT",
            "listener.name.mtls.ssl.client.auth=required",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}: {text}");
        }
    }

    #[test]
    fn sasl_is_for_its_listeners() {
        let text = properties(&[Listener::Plaintext, Listener::SaslPlaintext], &[]);
        assert!(text.contains("listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config="));
        assert!(!text.contains("listener.name.plaintext."), "{text}");
    }

    #[test]
    fn further_properties_come_last_and_escaped() {
        let more = [("node.id".to_owned(), "a\\b\nc=d".to_owned())];
        let text = properties(&[Listener::Plaintext], &more);
        assert!(text.ends_with("\nnode.id=a\\\\b\\nc=d\n"), "{text}");
    }
}
