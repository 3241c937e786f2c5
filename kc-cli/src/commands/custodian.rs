//! `kc custodian`.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use clap::Subcommand;
use kc::Custodian;
use kc::core::backend::Retention;
use kc::core::custody::Day;
use kc::core::text::counted;
use kc::core::types::Timestamp;
use kc::keystore_file::{FileCustody, NodeFiles, SearchPlaces, find_node, verify_audit};
use kc::maintenance::{LockedCustody, LockedNode, signing_keys_of};

use super::staying;
use crate::args::{ConnectionArgs, CopiesArg, NodeArg, PinArg, duration, node_or_environment};
use crate::error::{CliError, Exit};
use crate::pin;
use crate::status::{Custody, look};
use crate::stop::Stop;
use crate::ui::Ui;

/// Collect the data keys of producers, and hand them out when the producers are gone
///
/// The node reads its data topics, requests the data keys that their records need, and keeps them. It answers the
/// requests of consumers in place of the producers. Its chain must be that of a prodcon node. It can read all messages
/// of its topics.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how many data keys are kept, by root topic
    #[command(after_help = "Example:\n  kc custodian list --node custodian")]
    List(ListArgs),
    /// Destroy kept data keys: what was sealed with them can then be opened only by nodes that have them already
    #[command(
        after_help = "Example:\n  kc custodian forget readings --before 2026-01-01 --node custodian"
    )]
    Forget(ForgetArgs),
    /// Print the log of the data keys that were handed out
    #[command(after_help = "Example:\n  kc custodian audit --verify --node custodian")]
    Audit(AuditArgs),
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    /// The node: its id (found as ./ID.config, ./ID/ID.config, or in $KC_HOME), the path of its .config file, or a
    /// folder that holds exactly one .config file [default: $KC_NODE]
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    node: Option<String>,

    #[command(flatten)]
    store: StoreArg,

    /// The data topics, as names or regular expressions that begin with ^ [default: all topics that the node's chain
    /// grants]
    #[arg(
        long,
        value_name = "TOPIC,...",
        value_delimiter = ',',
        help_heading = "Records"
    )]
    topics: Vec<String>,

    /// The consumer group that reads the data topics; custodians in the same group share them, and consumers must not use
    /// it [default: the node's id]
    #[arg(long, value_name = "GROUP", help_heading = "Records")]
    group: Option<String>,

    /// The time for which a data key is kept after the last record that needs it, or forever [default: as long as the
    /// topics keep their records]
    #[arg(long, value_name = "DURATION|forever", value_parser = retention, help_heading = "Records")]
    retention: Option<Retention>,

    #[command(flatten)]
    copies: CopiesArg,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, clap::Args)]
struct StoreArg {
    /// The folder of the kept data keys [default: NODE.custody beside the node's configuration]
    #[arg(long, value_name = "DIR", help_heading = "Node")]
    store: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    node: NodeArg,

    #[command(flatten)]
    store: StoreArg,

    #[command(flatten)]
    pin: PinArg,

    /// Print a JSON object on each line
    #[arg(long, help_heading = "Output")]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct ForgetArgs {
    /// The root topic
    root_topic: String,

    /// Destroy only the data keys that no record has needed since the beginning of this day (UTC)
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    before: Option<Day>,

    #[command(flatten)]
    node: NodeArg,

    #[command(flatten)]
    store: StoreArg,

    #[command(flatten)]
    pin: PinArg,
}

#[derive(Debug, clap::Args)]
struct AuditArgs {
    /// Check that no line was removed or changed, and the signatures of the node
    #[arg(long)]
    verify: bool,

    #[command(flatten)]
    node: NodeArg,

    #[command(flatten)]
    store: StoreArg,
}

impl StoreArg {
    fn folder(&self, files: &NodeFiles) -> PathBuf {
        self.store.clone().unwrap_or_else(|| files.custody())
    }
}

fn retention(text: &str) -> Result<Retention, String> {
    match text {
        "forever" => Ok(Retention::Forever),
        _ => duration(text).map(Retention::For),
    }
}

fn day(text: &str) -> Result<Day, String> {
    let time = humantime::parse_rfc3339_weak(&format!("{text} 00:00:00"));
    let time = time.map_err(|_| "expected a day, such as 2026-01-31".to_owned())?;
    let since_epoch = time.duration_since(std::time::UNIX_EPOCH);
    Ok(Day::of(Timestamp::from_unix(
        since_epoch.unwrap_or_default(),
    )))
}

pub(crate) async fn run(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    match args.command {
        Some(Command::List(args)) => list(&args, ui).await,
        Some(Command::Forget(args)) => forget(&args, ui),
        Some(Command::Audit(args)) => audit(&args, ui),
        None => keep(args.run, ui, stop).await,
    }
}

async fn keep(args: RunArgs, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let node = node_or_environment(args.node.as_deref())?;
    let mut custodian = Custodian::new().topics(args.topics);
    if let Some(folder) = args.store.store {
        custodian = custodian.folder(folder);
    }
    if let Some(group) = args.group {
        custodian = custodian.group(group);
    }
    if let Some(retention) = args.retention {
        custodian = custodian.retention(retention);
    }
    let options = args.pin.of(args.connection.node(&node, ui));
    let options = args.copies.of(options).custodian(custodian);
    staying::custodian(options, ui, stop).await
}

fn open(node: &NodeArg, store: &StoreArg, pin: &PinArg) -> Result<LockedCustody, CliError> {
    pin::with(pin.file(), |pin| {
        LockedNode::open(&node.node, pin)?.into_custody(store.store.as_deref())
    })
}

async fn list(args: &ListArgs, ui: Ui) -> Result<(), CliError> {
    let files = find_node(&args.node.node, &SearchPlaces::from_environment())?;
    let running = look(&files).await?.running;
    let roots = match running.and_then(|running| running.custody) {
        Some(roots) => roots,
        None => {
            let mut store = open(&args.node, &args.store, &args.pin)?;
            let roots = store.archive().roots().map_err(kc::Error::from)?;
            roots.iter().map(Custody::new).collect()
        }
    };
    for root in &roots {
        if args.json {
            let line = serde_json::to_string(root).map_err(CliError::from_error)?;
            ui.result(line)?;
        } else {
            ui.result(root.line())?;
        }
    }
    if roots.is_empty() && !args.json {
        ui.result("no data keys are kept")?;
    }
    Ok(())
}

fn forget(args: &ForgetArgs, ui: Ui) -> Result<(), CliError> {
    let mut store = open(&args.node, &args.store, &args.pin)?;
    let root_topic = args.root_topic.as_str().into();
    let forgotten = store.archive().forget(&root_topic, args.before);
    let forgotten = forgotten.map_err(kc::Error::from)?;
    ui.result(format!(
        "{} of {root_topic} destroyed",
        counted(forgotten, "data key")
    ))
}

fn audit(args: &AuditArgs, ui: Ui) -> Result<(), CliError> {
    let files = find_node(&args.node.node, &SearchPlaces::from_environment())?;
    let path = FileCustody::audit_path(&args.store.folder(&files));
    if args.verify {
        let keys = signing_keys_of(&args.node.node)?;
        let report = verify_audit(&path, &keys).map_err(|error| {
            CliError::new(Exit::Refused, format!("{}: {error}", path.display()))
        })?;
        return ui.result(format!(
            "the log is complete: data keys were handed out {}; signed by the node: {}; since its last signature: {}",
            counted(report.entries, "time"),
            report.entries - report.unsigned,
            report.unsigned,
        ));
    }
    let failed = |error| CliError::failure(format!("cannot read {}: {error}", path.display()));
    let log = BufReader::new(File::open(&path).map_err(failed)?);
    for line in log.lines() {
        ui.result(line.map_err(failed)?)?;
    }
    Ok(())
}
