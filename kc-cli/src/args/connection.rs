//! The arguments for the connection to Kafka, and the connection that they describe.

use std::env;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use kc::actors::NodeSettings;
use kc::core::backend::{Sasl, canonical_name, settings_of_sasl, settings_of_tls};
use kc::core::store::config::{KafkaUse, NodeConfig, Section};
use kc::core::types::{ManagementTopics, TopicScheme};
use kc::keystore_file::{SearchPlaces, Settings, find_node, read_config};
use kc::maintenance::groups;
use kc::{Backend, BackendChoice, ClientSettings, Node, NodeBuilder};

use super::CopiesArg;
use super::copies::ROOT_TOPICS;
use crate::error::CliError;
use crate::kafka_config::KafkaConfig;
use crate::ui::Ui;

const SERVERS: &str = "bootstrap_servers";
const PROTOCOL: &str = "security_protocol";
const GROUP: &str = "group_id";
const PLAINTEXT: &str = "PLAINTEXT";
/// Settings that other users of this host should not see in the list of processes.
const SECRETS: [&str; 4] = [
    "sasl_oauth_client_secret",
    "sasl_plain_password",
    "ssl.key.pem",
    "ssl_password",
];
/// The part of section names that marks the settings for control topics, as in `<node>-kafka-crypto` (protocol §11).
const MANAGEMENT: &str = "crypto";
/// The part of section names that marks the settings for messages.
const MESSAGES: &str = "data";
/// The section with the settings that all Kafka clients of a node share.
const KAFKA: &str = "kafka";

/// The connection to Kafka. Flags override the environment, which overrides the node's configuration.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Kafka")]
pub(crate) struct ConnectionArgs {
    /// The bootstrap servers: the brokers that the client contacts first
    #[arg(short, long, value_name = "HOST:PORT,...", value_parser = servers)]
    pub(crate) bootstrap_servers: Option<String>,

    /// The security protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL [default: the setting of -X or of the
    /// environment; else PLAINTEXT if -b names only this host; else the node's setting]
    #[arg(long, value_name = "PROTOCOL")]
    pub(crate) security_protocol: Option<String>,

    /// A configuration file of another Kafka client: Java's client.properties, with its key stores (JKS, PKCS#12, PEM),
    /// or a configuration of librdkafka. -b, --security-protocol and -X override it
    #[arg(long, value_name = "FILE", value_parser = KafkaConfig::read)]
    pub(crate) kafka_config: Option<KafkaConfig>,

    /// Another setting of the Kafka client, by its name in kafka-python or librdkafka. The option can be repeated. For
    /// a password, give file#PATH as the value: the password is then read from this file
    #[arg(short = 'X', value_name = "NAME=VALUE", value_parser = pair)]
    settings: Vec<(String, String)>,

    /// The Kafka client: pure, rdkafka or legacy, if it is built in [default: the node's setting, else pure]
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<BackendChoice>,
}

/// The connection to Kafka of a command that does not open a node.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) backend: Arc<dyn Backend>,
    /// The bootstrap servers, for messages to the user.
    pub(crate) servers: String,
    /// The names of side topics.
    pub(crate) scheme: TopicScheme,
    /// The names of management topics.
    pub(crate) management: ManagementTopics,
    /// Whether the client uses TLS.
    pub(crate) has_tls: bool,
    /// The name of the SASL mechanism, if SASL is used.
    pub(crate) mechanism: Option<&'static str>,
    /// The user's name for SASL, if the mechanism has one.
    pub(crate) user: Option<String>,
    /// The node's consumer group for messages.
    pub(crate) group: String,
    /// The node's consumer group for control topics.
    pub(crate) control_group: String,
    /// Whether the node parks records that it cannot open.
    pub(crate) parks: bool,
}

impl ConnectionArgs {
    /// Returns whether the flags name a broker.
    pub(crate) fn names_broker(&self) -> bool {
        self.bootstrap_servers.is_some() || self.sets(SERVERS)
    }

    /// Returns whether -X or the file of another client sets the setting with this name.
    fn sets(&self, name: &str) -> bool {
        let mut names = self.settings.iter().map(|(given, _)| canonical_name(given));
        let file = self.kafka_config.as_ref();
        names.any(|given| given == name) || file.is_some_and(|file| file.sets(name))
    }

    /// Returns the flags as settings of the section `kafka`. Prints a note if PLAINTEXT is used although no flag asks
    /// for it, and a note for each password on the command line.
    pub(crate) fn flags(&self, ui: Ui) -> Vec<(String, String)> {
        let mut flags = Vec::new();
        if let Some(file) = &self.kafka_config {
            flags.extend(file.settings.iter().cloned());
            if let Some(remark) = file.remark() {
                ui.note(remark);
            }
        }
        if let Some(servers) = &self.bootstrap_servers {
            flags.push((SERVERS.to_owned(), servers.clone()));
        }
        let protocol = self.security_protocol.clone().or_else(|| {
            let meant = self.bootstrap_servers.as_deref().is_some_and(only_loopback)
                && !self.sets(PROTOCOL)
                && !protocol_in_environment();
            meant.then(|| {
                ui.note("connecting to this host without TLS (PLAINTEXT); --security-protocol SSL uses TLS");
                PLAINTEXT.to_owned()
            })
        });
        if let Some(protocol) = protocol {
            let idle = idle(&protocol).into_iter();
            flags.extend(idle.map(|name| (name.to_owned(), String::new())));
            flags.push((PROTOCOL.to_owned(), protocol));
        }
        for (name, value) in &self.settings {
            if SECRETS.contains(&canonical_name(name)) && !value.starts_with("file#") {
                ui.note(format!(
                    "other users of this host can see -X {name} in the list of processes; give file#PATH as the value"
                ));
            }
            flags.push((name.clone(), value.clone()));
        }
        flags
    }

    /// Returns a builder that opens `node` with these flags.
    pub(crate) fn node(&self, node: &str, ui: Ui) -> NodeBuilder {
        let options = Node::builder(node);
        let options = match self.backend {
            Some(choice) => options.backend(choice),
            None => options,
        };
        let flags = self.flags(ui);
        flags
            .iter()
            .fold(options, |options, (name, text)| options.kafka(name, text))
    }

    /// Returns a Kafka client with the settings of these flags, the environment and the configuration of `node`, in
    /// this order of priority. `copies` replace those of the configuration. Takes no lock.
    pub(crate) fn connect(
        &self,
        node: Option<&str>,
        copies: &CopiesArg,
        ui: Ui,
    ) -> Result<Connection, CliError> {
        self.connect_as(node, copies, (KafkaUse::Admin, None), ui)
    }

    /// Returns a Kafka client for sending to management topics, with the settings for producers and for control topics.
    /// Apart from these settings, does the same as [`connect`](Self::connect).
    pub(crate) fn connect_management(
        &self,
        node: Option<&str>,
        ui: Ui,
    ) -> Result<Connection, CliError> {
        let purpose = (KafkaUse::Producer, Some(MANAGEMENT));
        self.connect_as(node, &CopiesArg::default(), purpose, ui)
    }

    fn connect_as(
        &self,
        node: Option<&str>,
        copies: &CopiesArg,
        (purpose, extra): (KafkaUse, Option<&str>),
        ui: Ui,
    ) -> Result<Connection, CliError> {
        let (config, path) = match node {
            Some(node) => {
                let files = find_node(node, &SearchPlaces::from_environment())?;
                (read_config(&files)?, files.config())
            }
            None => (
                NodeConfig::create("kc").map_err(CliError::from_error)?,
                Path::new("the flags").to_owned(),
            ),
        };
        let settings = Settings::new(&config, &path).environment(env::vars_os());
        let flags = self.flags(ui);
        let settings = flags.iter().fold(settings, |settings, (name, text)| {
            settings.flag(Section::named(KAFKA), name, text)
        });
        let settings = match copies.entry() {
            Some(entry) => settings.flag(Section::NODE, ROOT_TOPICS, &entry),
            None => settings,
        };
        let kafka = settings.kafka(purpose, extra)?;
        let own: NodeSettings = settings.extract(Section::NODE)?;
        let choice = match self.backend {
            Some(choice) => choice,
            None => BackendChoice::of(&settings)?,
        };
        let client = ClientSettings::parse(kafka.iter())?;
        let idle = Vec::from_iter(client.without_effect(choice == BackendChoice::Rdkafka));
        if !idle.is_empty() {
            tracing::warn!("Kafka settings without effect: {}", idle.join(", "));
        }
        let has_tls = client.tls.is_some();
        let mechanism = client.sasl.as_ref().map(|sasl| sasl.mechanism().name());
        let user = match &client.sasl {
            Some(Sasl::Password { username, .. }) => Some(username.clone()),
            _ => None,
        };
        let group = |extra| -> Result<Option<String>, CliError> {
            let kafka = settings.kafka(KafkaUse::Consumer, Some(extra))?;
            Ok(kafka.text(GROUP).map(str::to_owned))
        };
        let (group, control_group) = groups(config.node_id(), group(MESSAGES)?, group(MANAGEMENT)?);
        let backend = choice.backend(client)?;
        let servers = kafka.text(SERVERS).unwrap_or_default();
        Ok(Connection {
            servers: servers.to_owned(),
            backend,
            scheme: own.scheme(),
            management: own.management_topics(),
            has_tls,
            mechanism,
            user,
            group,
            control_group,
            parks: own.undecryptable().parks(),
        })
    }
}

/// Returns the names of the settings that have no effect with this security protocol. The caller sets these settings to
/// an empty text, which overrides the values in the node's configuration.
fn idle(protocol: &str) -> Vec<&'static str> {
    let protocol = protocol.to_ascii_uppercase();
    let of_tls = settings_of_tls().filter(|_| !protocol.ends_with("SSL"));
    let of_sasl = settings_of_sasl().filter(|_| !protocol.starts_with("SASL"));
    of_tls.chain(of_sasl).collect()
}

fn protocol_in_environment() -> bool {
    env::vars_os().any(|(name, _)| {
        let name = name.to_string_lossy().to_uppercase();
        name.starts_with("KC_CONFIG__KAFKA") && name.ends_with("__SECURITY_PROTOCOL")
    })
}

/// Returns whether all servers are loopback addresses or `localhost`.
fn only_loopback(servers: &str) -> bool {
    servers.split(',').map(str::trim).all(|server| {
        let host = match server.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map_or(rest, |(host, _)| host),
            None => server.split_once(':').map_or(server, |(host, _)| host),
        };
        let address: Option<IpAddr> = host.parse().ok();
        host.eq_ignore_ascii_case("localhost") || address.is_some_and(|ip| ip.is_loopback())
    })
}

/// Parses `--bootstrap-servers`; fails if the text is not a list of broker addresses.
fn servers(text: &str) -> Result<String, String> {
    match ClientSettings::parse([(SERVERS, text)]) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.context().to_owned()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_lowercase(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logging::LogFormat;

    fn ui() -> Ui {
        Ui::new(true, LogFormat::Text)
    }

    #[test]
    fn loopback_is_known_by_the_name() {
        for servers in ["127.0.0.1:9092", "localhost", "[::1]:9092, 127.9.9.9:1"] {
            assert!(only_loopback(servers), "{servers}");
        }
        for servers in [
            "",
            "10.0.0.1:9092",
            "localhost:9092,kafka:9092",
            "localhost.example.org",
        ] {
            assert!(!only_loopback(servers), "{servers}");
        }
    }

    #[test]
    fn plaintext_unsets_the_files_of_tls() {
        let args = ConnectionArgs {
            bootstrap_servers: Some("localhost:1".into()),
            ..ConnectionArgs::default()
        };
        let flags = args.flags(ui());
        assert!(flags.contains(&("ssl_cafile".into(), String::new())));
        assert!(flags.contains(&("sasl_plain_password".into(), String::new())));
        assert!(flags.contains(&("security_protocol".into(), "PLAINTEXT".into())));
        let remote = ConnectionArgs {
            bootstrap_servers: Some("kafka:1".into()),
            ..ConnectionArgs::default()
        };
        assert_eq!(remote.flags(ui()).len(), 1);
    }
}
