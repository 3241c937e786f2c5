//! `kc topics`.

use std::time::Duration;

use clap::Subcommand;
use futures_util::stream::{self, StreamExt};
use kc::BackendErrorKind;
use kc::core::backend::{Admin, Cleanup, TopicSpec};
use kc::core::types::SideTopic;
use serde::Serialize;

use super::access;
use crate::args::{Connection, ConnectionArgs, CopiesArg};
use crate::error::CliError;
use crate::logging::{Progress, beside};
use crate::topic::require_data_topic;
use crate::ui::Ui;

/// The time limit of a call to the broker.
const DEADLINE: Duration = Duration::from_secs(30);
/// The largest number of topics that are created or looked up at the same time.
const AT_ONCE: usize = 32;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create data topics with their side topics, or management topics; existing topics stay unchanged
    #[command(
        after_help = "Example:\n  kc topics create readings --partitions 3 -b 127.0.0.1:9092"
    )]
    Create(CreateArgs),

    /// List the topics of the broker, with the number of partitions and the purpose of each
    #[command(after_help = "Example:\n  kc topics list -b 127.0.0.1:9092")]
    List(ListArgs),

    /// Print the commands that give a node exactly the accesses (ACLs) that it needs
    #[command(
        after_help = "Example:\n  kc topics acls readings --node alice --principal User:alice"
    )]
    Acls(access::Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Print a JSON object on each line
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    broker: BrokerArgs,
}

/// The broker whose topics are listed or created.
#[derive(Debug, clap::Args)]
struct BrokerArgs {
    /// Take the broker, and the names of side and management topics, from this node's configuration
    #[arg(
        long,
        value_name = "ID|PATH",
        env = "KC_NODE",
        hide_env_values = true,
        help_heading = "Node"
    )]
    node: Option<String>,

    #[command(flatten)]
    copies: CopiesArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

impl BrokerArgs {
    fn connect(&self, ui: Ui) -> Result<Connection, CliError> {
        let node = self.node.as_deref();
        self.connection.connect(node, &self.copies, ui)
    }
}

/// A topic of the broker.
#[derive(Debug, Serialize)]
struct Listed {
    topic: String,
    partitions: usize,
    /// data, requests, keys, subscriptions or management.
    purpose: &'static str,
    /// The root topic, for data topics and side topics.
    root_topic: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// The data topics, or management topics (chains, allowlist, denylist)
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,

    /// The number of partitions of each data topic
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,

    /// The number of replicas of each topic [default: the broker's setting]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i16).range(1..))]
    replication: Option<i16>,

    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) async fn run(command: Command, ui: Ui) -> Result<(), CliError> {
    match command {
        Command::Create(args) => create_all(args, ui).await,
        Command::List(args) => list(args, ui).await,
        Command::Acls(args) => access::run(&args, ui),
    }
}

async fn list(args: ListArgs, ui: Ui) -> Result<(), CliError> {
    let connection = args.broker.connect(ui)?;
    let admin = connection.backend.admin().await?;
    let names = admin.topics(DEADLINE).await?;
    let asked = admin.as_ref();
    let counting = names.iter().map(|topic| async move {
        let partitions = asked.partitions(topic, false, DEADLINE).await;
        (topic, partitions)
    });
    let mut counted = stream::iter(counting).buffered(AT_ONCE);
    while let Some((topic, partitions)) = counted.next().await {
        // The topic may have been deleted meanwhile.
        let Some(partitions) = partitions? else {
            continue;
        };
        let listed = Listed::new(topic, partitions, &connection);
        ui.result(if args.json {
            serde_json::to_string(&listed).map_err(CliError::from_error)?
        } else {
            let purpose = listed.purpose;
            let root = listed.root_topic.filter(|root| root != topic);
            let root = root.map_or_else(String::new, |root| format!(" of {root}"));
            format!("{topic}  partitions {partitions}  {purpose}{root}")
        })?;
    }
    drop(counted);
    admin.close().await;
    Ok(())
}

impl Listed {
    fn new(topic: &str, partitions: usize, connection: &Connection) -> Self {
        let (purpose, root_topic) = if connection.management.names().contains(&topic) {
            ("management", None)
        } else if let Some((root, side)) = connection.scheme.parse_side_topic(topic) {
            let purpose = match side {
                SideTopic::Requests => "requests",
                SideTopic::Keys => "keys",
                SideTopic::Subscriptions => "subscriptions",
            };
            (purpose, Some(root))
        } else if let Some(root) = connection.scheme.parse_parked_topic(topic) {
            ("parked records", Some(root))
        } else {
            ("data", Some(connection.scheme.root_of(topic)))
        };
        Self {
            topic: topic.to_owned(),
            partitions,
            purpose,
            root_topic: root_topic.map(|root| root.to_string()),
        }
    }
}

async fn create_all(args: CreateArgs, ui: Ui) -> Result<(), CliError> {
    let connection = args.broker.connect(ui)?;
    let mut specs: Vec<TopicSpec> = Vec::new();
    let control = |name: &str| TopicSpec {
        replication: args.replication,
        ..TopicSpec::control(name)
    };
    for topic in &args.topics {
        let mut add = |spec: TopicSpec| {
            if !specs.iter().any(|known| known.name == spec.name) {
                specs.push(spec);
            }
        };
        if connection.management.names().contains(&topic.as_str()) {
            add(control(topic));
            continue;
        }
        if connection.scheme.parse_parked_topic(topic).is_some() {
            add(TopicSpec {
                replication: args.replication,
                ..TopicSpec::parked(topic, args.partitions)
            });
            continue;
        }
        require_data_topic(topic, &connection.scheme, &connection.management)?;
        add(TopicSpec {
            name: topic.clone(),
            partitions: args.partitions,
            replication: args.replication,
            cleanup: Cleanup::AsBroker,
        });
        let root_topic = connection.scheme.root_of(topic);
        for side in [
            SideTopic::Requests,
            SideTopic::Keys,
            SideTopic::Subscriptions,
        ] {
            add(control(&connection.scheme.side_topic(&root_topic, side)));
        }
    }
    let admin = connection.backend.admin().await?;
    let created = create(admin.as_ref(), &specs, ui).await;
    admin.close().await;
    created
}

/// Creates topics, several at a time, and prints their names in the order of `specs`.
async fn create(admin: &dyn Admin, specs: &[TopicSpec], ui: Ui) -> Result<(), CliError> {
    let progress = Progress::of_steps(ui, specs.len());
    let creating = specs.iter().map(|spec| async move {
        match admin.create_topic(spec, DEADLINE).await {
            Ok(()) => Ok(format!("created {}", spec.name)),
            Err(error) if error.kind() == BackendErrorKind::TopicExists => {
                Ok(format!("exists {}", spec.name))
            }
            Err(error) => Err(error),
        }
    });
    let mut created = stream::iter(creating).buffered(AT_ONCE);
    while let Some(line) = created.next().await {
        beside(|| ui.result(line?))?;
        progress.step();
    }
    Ok(())
}
