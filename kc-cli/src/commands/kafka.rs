//! `kc kafka`.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use clap::Subcommand;
use kc::core::access::{Access, ResourceKind};
use kc::core::backend::Admin;
use kc::core::text::{counted, with_sources};
use kc::{BackendError, BackendErrorKind};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::access::accesses;
use crate::args::{Connection, ConnectionArgs, CopiesArg};
use crate::error::{CliError, Exit};
use crate::stored::StoredNode;
use crate::ui::Ui;

/// The time limit of each step that asks a broker.
const DEADLINE: Duration = Duration::from_secs(10);
/// The time limit for a connection to an address.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Try the connection to the cluster step by step, and say at which step it fails and what to do
    #[command(after_help = "Examples:
  kc kafka check -b broker.example.com:9093 --security-protocol SSL
  kc kafka check --node alice readings")]
    Check(CheckArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// The data topics whose accesses are checked, with their side topics [default with --node: the topics that the
    /// node's chain grants by name]
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,

    /// Check the accesses that this node needs, too, with the connection in its configuration
    #[arg(
        long,
        value_name = "ID|PATH",
        env = "KC_NODE",
        hide_env_values = true,
        help_heading = "Node"
    )]
    node: Option<String>,

    /// Print a JSON object on each line
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    copies: CopiesArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// The result of a step.
#[derive(Debug, Serialize)]
struct Step {
    /// resolve, connect, tls, sasl, versions, advertised, brokers, topics or access.
    step: &'static str,
    target: String,
    ok: bool,
    detail: String,
    advice: Option<String>,
}

/// Prints the results, and counts the failures.
struct Steps {
    ui: Ui,
    json: bool,
    failed: usize,
}

impl Steps {
    fn print(&mut self, step: &Step) -> Result<(), CliError> {
        self.failed += usize::from(!step.ok);
        if self.json {
            let line = serde_json::to_string(step).map_err(CliError::from_error)?;
            return self.ui.result(line);
        }
        let mark = if step.ok { "ok  " } else { "FAIL" };
        self.ui.result(format!(
            "{mark}  {:<10}  {}: {}",
            step.step, step.target, step.detail
        ))?;
        match &step.advice {
            Some(advice) => self.ui.result(format!("      advice: {advice}")),
            None => Ok(()),
        }
    }

    fn ok(&mut self, step: &'static str, target: &str, detail: String) -> Result<(), CliError> {
        self.print(&Step {
            step,
            target: target.to_owned(),
            ok: true,
            detail,
            advice: None,
        })
    }

    fn fail(
        &mut self,
        step: &'static str,
        target: &str,
        detail: String,
        advice: &str,
    ) -> Result<(), CliError> {
        self.print(&Step {
            step,
            target: target.to_owned(),
            ok: false,
            detail,
            advice: Some(advice.to_owned()),
        })
    }

    fn end(self) -> Result<(), CliError> {
        match self.failed {
            0 => Ok(()),
            failed => Err(CliError::new(
                Exit::Broker,
                format!("{} failed", counted(failed, "step")),
            )),
        }
    }
}

pub(crate) async fn run(command: Command, ui: Ui) -> Result<(), CliError> {
    let Command::Check(args) = command;
    check(&args, ui).await
}

async fn check(args: &CheckArgs, ui: Ui) -> Result<(), CliError> {
    let node = args.node.as_deref();
    let connection = args.connection.connect(node, &args.copies, ui)?;
    let mut steps = Steps {
        ui,
        json: args.json,
        failed: 0,
    };
    if !reach(&connection.servers, &mut steps).await? {
        return steps.end();
    }
    let admin = match connection.backend.admin().await {
        Ok(admin) => admin,
        Err(error) => {
            blame(&connection, &error, &mut steps)?;
            return steps.end();
        }
    };
    connected(&connection, &mut steps)?;
    match admin.topics(DEADLINE).await {
        Ok(topics) => {
            let detail = format!("{} can be described", counted(topics.len(), "topic"));
            steps.ok("topics", &connection.servers, detail)?;
        }
        Err(error) => {
            let advice = "ask the administrator of the cluster for the right to describe topics";
            let advice = error.advice().unwrap_or(advice);
            steps.fail("topics", &connection.servers, with_sources(&error), advice)?;
        }
    }
    if let Some(node) = &args.node {
        let node = StoredNode::read(node)?;
        let needed = accesses(&node, &args.topics, false, &connection)?;
        for access in &needed {
            judge(access, admin.as_ref(), &mut steps).await?;
        }
    } else {
        for topic in &args.topics {
            present(topic, admin.as_ref(), &mut steps).await?;
        }
    }
    admin.close().await;
    steps.end()
}

/// Resolves the names of the bootstrap servers, and connects to their addresses. Returns whether one accepted the
/// connection.
async fn reach(servers: &str, steps: &mut Steps) -> Result<bool, CliError> {
    let mut reached = false;
    for server in servers.split(',').map(str::trim) {
        let addresses = resolve(server).await;
        let addresses = match addresses {
            Ok(addresses) if !addresses.is_empty() => addresses,
            other => {
                let reason = other.err().unwrap_or_else(|| "no address".to_owned());
                let advice = "check the name of the broker, and the DNS of this host";
                steps.fail("resolve", server, reason, advice)?;
                continue;
            }
        };
        let shown: Vec<_> = addresses
            .iter()
            .map(|address| address.ip().to_string())
            .collect();
        steps.ok("resolve", server, shown.join(", "))?;
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
                steps.ok("connect", server, format!("{address} accepts connections"))?;
            }
            None => {
                let advice = "check the port, that the broker runs, and firewalls between this host and the broker";
                steps.fail("connect", server, failure, advice)?;
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
fn blame(connection: &Connection, error: &BackendError, steps: &mut Steps) -> Result<(), CliError> {
    let servers = &connection.servers;
    let (step, advice) = match error.kind() {
        BackendErrorKind::Tls => (
            "tls",
            "check `security_protocol`, and that `ssl_cafile` certifies the broker under this name",
        ),
        BackendErrorKind::Authentication => (
            "sasl",
            "check `sasl_mechanism`, the user and the password, and that the listener offers the mechanism",
        ),
        BackendErrorKind::Unsupported => (
            "versions",
            "the broker and this Kafka client have no version of the protocol in common: select another one with \
             --backend",
        ),
        BackendErrorKind::AdvertisedAddress => (
            "advertised",
            "set `advertised.listeners` of the brokers to addresses that this host reaches",
        ),
        _ => (
            "brokers",
            "check that the port is one of Kafka and that `security_protocol` fits the listener",
        ),
    };
    if matches!(step, "sasl" | "versions" | "advertised") {
        encrypted(connection, steps)?;
    }
    if step == "advertised" {
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
fn connected(connection: &Connection, steps: &mut Steps) -> Result<(), CliError> {
    let servers = &connection.servers;
    encrypted(connection, steps)?;
    authenticated(connection, steps)?;
    versions(connection, steps)?;
    let detail = "a broker answers, and its own address is reachable".to_owned();
    steps.ok("brokers", servers, detail)
}

fn versions(connection: &Connection, steps: &mut Steps) -> Result<(), CliError> {
    let name = connection.backend.name();
    let detail = format!("the broker and the backend {name} have protocol versions in common");
    steps.ok("versions", &connection.servers, detail)
}

fn encrypted(connection: &Connection, steps: &mut Steps) -> Result<(), CliError> {
    if !connection.has_tls {
        return Ok(());
    }
    let detail = "the certificate of the broker is valid".to_owned();
    steps.ok("tls", &connection.servers, detail)
}

fn authenticated(connection: &Connection, steps: &mut Steps) -> Result<(), CliError> {
    match connection.mechanism {
        Some(mechanism) => {
            let detail = format!("authenticated by {mechanism}");
            steps.ok("sasl", &connection.servers, detail)
        }
        None => Ok(()),
    }
}

/// Prints whether a topic exists and may be described.
async fn present(topic: &str, admin: &dyn Admin, steps: &mut Steps) -> Result<(), CliError> {
    match admin.partitions(topic, false, DEADLINE).await {
        Ok(Some(partitions)) => steps.ok("topics", topic, counted(partitions, "partition")),
        Ok(None) => steps.fail(
            "topics",
            topic,
            "the topic does not exist, or this user may not describe it".to_owned(),
            "`kc topics create` creates it; `kc topics acls` shows the accesses of a node",
        ),
        Err(error) => {
            let advice = error
                .advice()
                .unwrap_or("ask the administrator of the cluster");
            steps.fail("topics", topic, with_sources(&error), advice)
        }
    }
}

/// Prints whether the cluster allows an access.
async fn judge(access: &Access, admin: &dyn Admin, steps: &mut Steps) -> Result<(), CliError> {
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
            steps.ok("access", &target, format!("{operation} is allowed"))
        }
        Ok(Some(_)) => steps.fail(
            "access",
            &target,
            format!("{operation} is not allowed"),
            &advice,
        ),
        Ok(None) if access.kind == ResourceKind::Topic => present(&access.name, admin, steps).await,
        Ok(None) => steps.ok(
            "access",
            &target,
            "not known: the broker or the backend does not say".to_owned(),
        ),
        Err(error) => steps.fail("access", &target, with_sources(&error), &advice),
    }
}
