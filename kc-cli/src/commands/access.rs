//! The accesses to a cluster that a node needs, and `kc topics acls`.

use kc::core::access::{Access, ResourceKind, Tasks};
use kc::core::provision::Role;
use serde::Serialize;

use super::chain::{granted_before, role_of};
use crate::args::{Connection, ConnectionArgs, CopiesArg, node_or_environment};
use crate::error::CliError;
use crate::stored::StoredNode;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The data topics [default: the topics that the node's chain grants by name]
    #[arg(value_name = "TOPIC")]
    topics: Vec<String>,

    /// The node: its id (found as ./ID.config, ./ID/ID.config, or in $KC_HOME), the path of its .config file, or a
    /// folder that holds exactly one .config file [default: $KC_NODE]
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    node: Option<String>,

    /// The Kafka user of the node [default: the user of SASL in the node's configuration, else User:ID]
    #[arg(long, value_name = "User:NAME", help_heading = "Node")]
    principal: Option<String>,

    /// Allow the node to create missing side topics, too
    #[arg(long, help_heading = "Node")]
    create_topics: bool,

    /// Print a JSON object on each line
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    copies: CopiesArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// An access, as `--json` prints it.
#[derive(Serialize)]
struct Shown<'a> {
    principal: &'a str,
    resource: &'static str,
    name: &'a str,
    operation: &'static str,
    /// The consequence if the access is missing.
    without: &'static str,
}

/// Returns the accesses that a node needs for these data topics, or for the topics that its chain grants by name.
pub(super) fn accesses(
    node: &StoredNode,
    topics: &[String],
    creates_topics: bool,
    connection: &Connection,
) -> Result<Vec<Access>, CliError> {
    let key = node.keys()?.into_iter().next();
    let granted = match &key {
        Some(key) => granted_before(node, 0, key)?,
        None => None,
    };
    let granted = granted.ok_or_else(|| {
        CliError::failure("the node has no chain, so its tasks are not known")
            .advise("`kc chain issue` gives the node a chain")
    })?;
    let role = role_of(node, &granted).unwrap_or(Role::Prodcon);
    let by_name = granted.topics.iter().flatten();
    let by_name = by_name.filter(|topic| !topic.starts_with('^')).cloned();
    let has_messages = !matches!(role, Role::ChainServer | Role::Administrator);
    let topics = match topics {
        [] if has_messages => by_name.collect(),
        topics => topics.to_vec(),
    };
    if topics.is_empty() && has_messages {
        return Err(CliError::usage("the node's chain grants no topic by name")
            .advise("name the data topics of the node: kc topics acls TOPIC... --node N"));
    }
    let tasks = Tasks {
        role,
        creates_topics,
        parks: connection.parks,
        topics: &topics,
        scheme: &connection.scheme,
        management: &connection.management,
        group: &connection.group,
        control_group: &connection.control_group,
    };
    Ok(tasks.accesses())
}

/// Prints the commands of Kafka's own tool that give a node exactly the accesses that it needs.
pub(crate) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let node = node_or_environment(args.node.as_deref())?;
    let connection = args.connection.connect(Some(&node), &args.copies, ui)?;
    let stored = StoredNode::read(&node)?;
    let principal = args.principal.clone().unwrap_or_else(|| {
        let user = connection.user.as_deref();
        format!("User:{}", user.unwrap_or(stored.config.node_id()))
    });
    let accesses = accesses(&stored, &args.topics, args.create_topics, &connection)?;
    if args.json {
        for access in &accesses {
            let shown = Shown {
                principal: &principal,
                resource: resource(access.kind),
                name: &access.name,
                operation: access.operation.name(),
                without: access.purpose.without(),
            };
            ui.result(serde_json::to_string(&shown).map_err(CliError::from_error)?)?;
        }
        return Ok(());
    }
    for group in accesses.chunk_by(|one, next| (one.kind, &one.name) == (next.kind, &next.name)) {
        let Some(first) = group.first() else { continue };
        let operations = group
            .iter()
            .map(|access| format!(" --operation {}", access.operation.name()));
        ui.result(format!(
            "kafka-acls.sh --bootstrap-server {} --command-config admin.properties --add --allow-principal '{principal}'{} \
             --{} '{}'",
            connection.servers,
            operations.collect::<String>(),
            resource(first.kind),
            first.name
        ))?;
    }
    ui.note("run these commands as an administrator of the cluster; admin.properties has the administrator's connection");
    Ok(())
}

fn resource(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Topic => "topic",
        ResourceKind::Group => "group",
    }
}
