//! `kc node`: nodes from outside, and their keys.

mod keys;

use clap::Subcommand;
use kc::keystore_file::{NodeFiles, NodeLock, SearchPlaces, find_node, list_nodes};
use serde::Serialize;

use super::staying;
use crate::args::NodeArg;
use crate::error::CliError;
use crate::neighbours::KnownNames;
use crate::status::{self, InUse, Report, Rotated, look, rotate};
use crate::stop::Stop;
use crate::ui::Ui;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the nodes here and in KC_HOME
    #[command(after_help = "Example:\n  kc node list")]
    List(ListArgs),
    /// Show how a node is, running or not
    #[command(after_help = "Example:\n  kc node status --node alice --json")]
    Status(StatusArgs),
    /// Hand out the keys that a stopped producer has kept
    #[command(after_help = "Example:\n  kc node serve --node alice")]
    Serve(staying::Args),
    /// Show a node's signing keys and key exchanges, or change them
    #[command(after_help = "Examples:
  kc node keys --node alice
  kc node keys --node alice --add-key-type 4")]
    Keys(keys::Args),
    /// Turn a running node's ratchet now: its present keys open nothing that it sends from then on
    #[command(after_help = "Example:\n  kc node rotate --node alice")]
    Rotate(RotateArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Print a line of JSON for each
    #[arg(long, help_heading = "Output")]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    node: NodeArg,

    /// Print it as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    node: NodeArg,
}

pub(crate) async fn run(command: Command, ui: Ui, stop: Stop) -> Result<(), CliError> {
    match command {
        Command::Keys(args) => keys::run(&args, ui),
        Command::Serve(args) => staying::serve(args, ui, stop).await,
        Command::Rotate(args) => turn(&args, ui).await,
        Command::List(args) => list(&args, ui).await,
        Command::Status(args) => status(&args, ui).await,
    }
}

/// A line of `kc node list`.
#[derive(Debug, Serialize)]
struct Listed {
    node: String,
    config: String,
    /// `running`, `in use`, `stopped` or `unreadable`.
    state: &'static str,
    process: Option<u32>,
    /// What it does, if it is running.
    command: Option<String>,
    /// When the chain that ends last ends, in UTC; none for a chain without end, and without a chain.
    expires: Option<String>,
    roots: Vec<String>,
    /// Why it may do nothing, or cannot be read.
    problem: Option<String>,
}

/// Shows how a node is.
async fn status(args: &StatusArgs, ui: Ui) -> Result<(), CliError> {
    let files = find_node(&args.node.node, &SearchPlaces::from_environment())?;
    let report = look(&files).await?;
    if args.json {
        let json = serde_json::to_string(&report).map_err(CliError::from_error)?;
        return ui.result(json);
    }
    let names = KnownNames::near(Some(&files));
    ui.result(status::lines(&report, &names).join("\n"))
}

/// Lists the nodes that `--node` finds by their ids.
async fn list(args: &ListArgs, ui: Ui) -> Result<(), CliError> {
    let nodes = list_nodes(&SearchPlaces::from_environment());
    if nodes.is_empty() {
        ui.note("no nodes here: `kc provision ROLE --node ID` makes one, KC_HOME names the folder of your nodes");
    }
    for files in nodes {
        let listed = Listed::new(&files).await;
        ui.result(if args.json {
            serde_json::to_string(&listed).map_err(CliError::from_error)?
        } else {
            listed.line()
        })?;
    }
    Ok(())
}

impl Listed {
    async fn new(files: &NodeFiles) -> Self {
        match look(files).await {
            Ok(report) => Self::of_report(report),
            Err(error) => Self {
                node: stem(files),
                config: files.config().display().to_string(),
                state: "unreadable",
                process: NodeLock::holder(files)
                    .ok()
                    .flatten()
                    .and_then(|holder| holder.process),
                command: None,
                expires: None,
                roots: Vec::new(),
                problem: Some(error.to_string()),
            },
        }
    }

    fn of_report(report: Report) -> Self {
        let (state, process) = match (&report.running, report.in_use) {
            (Some(running), _) => ("running", Some(running.process)),
            (None, Some(InUse { process })) => ("in use", process),
            (None, None) => ("stopped", None),
        };
        let valid = report.chains.iter().filter(|chain| chain.problem.is_none());
        // Times in this form are in the order of their texts; no end is after all.
        let last = valid.max_by_key(|chain| (chain.expires.is_none(), chain.expires.clone()));
        let problem = match (&last, report.chains.first()) {
            (Some(_), _) => None,
            (None, None) => Some("no certificate chain".to_owned()),
            (None, Some(chain)) => chain
                .problem
                .as_ref()
                .map(|problem| format!("{} ({})", problem.reason, problem.check)),
        };
        Self {
            expires: last.and_then(|chain| chain.expires.clone()),
            node: report.node,
            config: report.config.display().to_string(),
            state,
            process,
            command: report.running.map(|running| running.command),
            roots: report.roots,
            problem,
        }
    }

    fn line(&self) -> String {
        let mut line = format!("{}: {}", self.node, self.state);
        if let Some(command) = &self.command {
            line.push_str(&format!(" ({command})"));
        }
        if let Some(process) = self.process {
            line.push_str(&format!(", process {process}"));
        }
        match (&self.problem, &self.expires) {
            (Some(problem), _) => line.push_str(&format!(", NOT VALID: {problem}")),
            (None, Some(end)) => line.push_str(&format!(", valid until {end}")),
            (None, None) => line.push_str(", valid without end"),
        }
        line.push_str(&format!(", {}", self.config));
        line
    }
}

/// The node's id as its files say.
fn stem(files: &NodeFiles) -> String {
    let config = files.config();
    let stem = config.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// Asks the process that has the node open to turn its ratchet.
async fn turn(args: &RotateArgs, ui: Ui) -> Result<(), CliError> {
    let files = find_node(&args.node.node, &SearchPlaces::from_environment())?;
    match rotate(&files).await? {
        Some(Rotated::Roots(0)) => ui.result("nothing is sealed: no key was in use"),
        Some(Rotated::Roots(1)) => ui.result("ratchet turned: 1 root topic has a new key"),
        Some(Rotated::Roots(roots)) => {
            ui.result(format!("ratchet turned: {roots} root topics have new keys"))
        }
        Some(Rotated::Failed(reason)) => Err(CliError::failure(format!(
            "the ratchet was not turned: {reason}"
        ))),
        None => match NodeLock::holder(&files)? {
            Some(holder) => Err(CliError::failure(format!(
                "the node is {}, which takes no orders from kc",
                InUse::from(holder).describe()
            ))
            .advise("turn the ratchet in that program, or stop it: a node starts with new keys")),
            None => {
                ui.note("not running: a node starts with new keys");
                Ok(())
            }
        },
    }
}
