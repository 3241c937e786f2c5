//! The steps of a connection to a cluster: from the names of the brokers to the accesses of a user.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use kc::core::access::{Access, ResourceKind};
use kc::core::backend::Admin;
use kc::core::text::{counted, with_sources};
use kc::{BackendError, BackendErrorKind};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::args::Connection;
use crate::error::CliError;

/// The time limit of each step that asks a broker.
const DEADLINE: Duration = Duration::from_secs(10);
/// The time limit for a connection to an address.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// The kind of a step, in the order in which a connection takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StepKind {
    Resolve,
    Connect,
    Tls,
    Sasl,
    Versions,
    Advertised,
    Brokers,
    Topics,
    Access,
}

/// The result of a step.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    #[serde(rename = "step")]
    pub(super) kind: StepKind,
    /// The server, topic or group.
    pub(super) target: String,
    pub(super) ok: bool,
    pub(super) detail: String,
    /// What to do; null if the step succeeded.
    pub(super) advice: Option<String>,
}

/// A command that tries the steps, and reports their results.
pub(super) trait Steps {
    /// Reports the result of a step.
    fn report(&mut self, step: Step) -> Result<(), CliError>;

    /// Reports that a step succeeded.
    fn ok(&mut self, kind: StepKind, target: &str, detail: String) -> Result<(), CliError> {
        self.report(Step {
            kind,
            target: target.to_owned(),
            ok: true,
            detail,
            advice: None,
        })
    }

    /// Reports that a step failed.
    fn fail(
        &mut self,
        kind: StepKind,
        target: &str,
        detail: String,
        advice: &str,
    ) -> Result<(), CliError> {
        self.report(Step {
            kind,
            target: target.to_owned(),
            ok: false,
            detail,
            advice: Some(advice.to_owned()),
        })
    }
}

impl StepKind {
    /// Returns the name of the step in the output.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Sasl => "sasl",
            Self::Versions => "versions",
            Self::Advertised => "advertised",
            Self::Brokers => "brokers",
            Self::Topics => "topics",
            Self::Access => "access",
        }
    }
}

/// Connects step by step, up to the list of topics. Returns the client, or `None` if a step before the list failed.
pub(super) async fn connect(
    connection: &Connection,
    steps: &mut dyn Steps,
) -> Result<Option<Box<dyn Admin>>, CliError> {
    if !reach(&connection.servers, steps).await? {
        return Ok(None);
    }
    let admin = match connection.backend.admin().await {
        Ok(admin) => admin,
        Err(error) => {
            blame(connection, &error, steps)?;
            return Ok(None);
        }
    };
    connected(connection, steps)?;
    match admin.topics(DEADLINE).await {
        Ok(topics) => {
            let detail = format!("{} can be described", counted(topics.len(), "topic"));
            steps.ok(StepKind::Topics, &connection.servers, detail)?;
        }
        Err(error) => {
            let advice = "ask the administrator of the cluster for the right to describe topics";
            let advice = error.advice().unwrap_or(advice);
            steps.fail(
                StepKind::Topics,
                &connection.servers,
                with_sources(&error),
                advice,
            )?;
        }
    }
    Ok(Some(admin))
}

/// Resolves the names of the bootstrap servers, and connects to their addresses. Returns whether one accepted the
/// connection.
async fn reach(servers: &str, steps: &mut dyn Steps) -> Result<bool, CliError> {
    let mut reached = false;
    for server in servers.split(',').map(str::trim) {
        let addresses = resolve(server).await;
        let addresses = match addresses {
            Ok(addresses) if !addresses.is_empty() => addresses,
            other => {
                let reason = other.err().unwrap_or_else(|| "no address".to_owned());
                let advice = "check the name of the broker, and the DNS of this host";
                steps.fail(StepKind::Resolve, server, reason, advice)?;
                continue;
            }
        };
        let shown: Vec<_> = addresses
            .iter()
            .map(|address| address.ip().to_string())
            .collect();
        steps.ok(StepKind::Resolve, server, shown.join(", "))?;
        let mut failure = String::new();
        let mut connected = None;
        for address in addresses {
            match timeout(CONNECT_DEADLINE, TcpStream::connect(address)).await {
                Ok(Ok(_)) => {
                    connected = Some(address);
                    break;
                }
                Ok(Err(error)) => failure = format!("{address}: {error}"),
                Err(_) => failure = format!("{address}: no answer within 3 s"),
            }
        }
        match connected {
            Some(address) => {
                reached = true;
                steps.ok(
                    StepKind::Connect,
                    server,
                    format!("{address} accepts connections"),
                )?;
            }
            None => {
                let advice = "check the port, that the broker runs, and firewalls between this host and the broker";
                steps.fail(StepKind::Connect, server, failure, advice)?;
            }
        }
    }
    Ok(reached)
}

async fn resolve(server: &str) -> Result<Vec<SocketAddr>, String> {
    let server = server.to_owned();
    let resolving = tokio::task::spawn_blocking(move || server.to_socket_addrs());
    match timeout(DEADLINE, resolving).await {
        Ok(Ok(Ok(addresses))) => Ok(addresses.collect()),
        Ok(Ok(Err(error))) => Err(error.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("no answer of the DNS within 10 s".to_owned()),
    }
}

/// Prints the steps up to the one at which a client could not connect.
fn blame(
    connection: &Connection,
    error: &BackendError,
    steps: &mut dyn Steps,
) -> Result<(), CliError> {
    let servers = &connection.servers;
    let (step, advice) = match error.kind() {
        BackendErrorKind::Tls => (
            StepKind::Tls,
            "check `security_protocol`, and that `ssl_cafile` certifies the broker under this name",
        ),
        BackendErrorKind::Authentication => (
            StepKind::Sasl,
            "check `sasl_mechanism`, the user and the password, and that the listener offers the mechanism",
        ),
        BackendErrorKind::Unsupported => (
            StepKind::Versions,
            "the broker and this Kafka client have no version of the protocol in common: select another one with \
             --backend",
        ),
        BackendErrorKind::AdvertisedAddress => (
            StepKind::Advertised,
            "set `advertised.listeners` of the brokers to addresses that this host reaches",
        ),
        _ => (
            StepKind::Brokers,
            "check that the port is one of Kafka and that `security_protocol` fits the listener",
        ),
    };
    if matches!(
        step,
        StepKind::Sasl | StepKind::Versions | StepKind::Advertised
    ) {
        encrypted(connection, steps)?;
    }
    if step == StepKind::Advertised {
        authenticated(connection, steps)?;
        versions(connection, steps)?;
    }
    steps.fail(
        step,
        servers,
        with_sources(error),
        error.advice().unwrap_or(advice),
    )
}

/// Prints the steps that a connected client has passed.
fn connected(connection: &Connection, steps: &mut dyn Steps) -> Result<(), CliError> {
    let servers = &connection.servers;
    encrypted(connection, steps)?;
    authenticated(connection, steps)?;
    versions(connection, steps)?;
    let detail = "a broker answers, and its own address is reachable".to_owned();
    steps.ok(StepKind::Brokers, servers, detail)
}

fn versions(connection: &Connection, steps: &mut dyn Steps) -> Result<(), CliError> {
    let name = connection.backend.name();
    let detail = format!("the broker and the backend {name} have protocol versions in common");
    steps.ok(StepKind::Versions, &connection.servers, detail)
}

fn encrypted(connection: &Connection, steps: &mut dyn Steps) -> Result<(), CliError> {
    if !connection.has_tls {
        return Ok(());
    }
    let detail = "the certificate of the broker is valid".to_owned();
    steps.ok(StepKind::Tls, &connection.servers, detail)
}

fn authenticated(connection: &Connection, steps: &mut dyn Steps) -> Result<(), CliError> {
    match connection.mechanism {
        Some(mechanism) => {
            let detail = format!("authenticated by {mechanism}");
            steps.ok(StepKind::Sasl, &connection.servers, detail)
        }
        None => Ok(()),
    }
}

/// Prints whether a topic exists and may be described.
pub(super) async fn present(
    topic: &str,
    admin: &dyn Admin,
    steps: &mut dyn Steps,
) -> Result<(), CliError> {
    match admin.partitions(topic, false, DEADLINE).await {
        Ok(Some(partitions)) => steps.ok(StepKind::Topics, topic, counted(partitions, "partition")),
        Ok(None) => steps.fail(
            StepKind::Topics,
            topic,
            "the topic does not exist, or this user may not describe it".to_owned(),
            "`kc topics create` creates it; `kc topics acls` shows the accesses of a node",
        ),
        Err(error) => {
            let advice = error
                .advice()
                .unwrap_or("ask the administrator of the cluster");
            steps.fail(StepKind::Topics, topic, with_sources(&error), advice)
        }
    }
}

/// Prints whether the cluster allows an access.
pub(super) async fn judge(
    access: &Access,
    admin: &dyn Admin,
    steps: &mut dyn Steps,
) -> Result<(), CliError> {
    let (kind, target) = match access.kind {
        ResourceKind::Topic => ("topic", format!("topic {}", access.name)),
        ResourceKind::Group => ("group", format!("group {}", access.name)),
    };
    let operation = access.operation.name();
    let advice = format!(
        "give this user the operation {operation} on the {kind} (`kc topics acls` prints the commands): otherwise {}",
        access.purpose.without()
    );
    let allowed = match access.kind {
        ResourceKind::Topic => admin.allowed_on_topic(&access.name, DEADLINE).await,
        ResourceKind::Group => admin.allowed_on_group(&access.name, DEADLINE).await,
    };
    match allowed {
        Ok(Some(allowed)) if allowed.contains(&access.operation) => {
            steps.ok(StepKind::Access, &target, format!("{operation} is allowed"))
        }
        Ok(Some(_)) => steps.fail(
            StepKind::Access,
            &target,
            format!("{operation} is not allowed"),
            &advice,
        ),
        Ok(None) if access.kind == ResourceKind::Topic => present(&access.name, admin, steps).await,
        Ok(None) => steps.ok(
            StepKind::Access,
            &target,
            "not known: the broker or the backend does not say".to_owned(),
        ),
        Err(error) => steps.fail(StepKind::Access, &target, with_sources(&error), &advice),
    }
}
