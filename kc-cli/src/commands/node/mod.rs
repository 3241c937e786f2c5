//! `kc node`: the list of nodes, their status and their keys.

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
    /// List the nodes in this folder and in KC_HOME
    #[command(after_help = "Example:\n  kc node list")]
    List(ListArgs),
    /// Show the status of a node, running or stopped
    #[command(after_help = "Example:\n  kc node status --node alice --json")]
    Status(StatusArgs),
    /// Hand out the data keys that a stopped producer has retained
    #[command(after_help = "Example:\n  kc node serve --node alice")]
    Serve(staying::Args),
    /// Show or change a node's signing keys, and the algorithms of key exchange that it offers and accepts
    #[command(after_help = "Examples:
  kc node keys --node alice
  kc node keys --node alice --add-key-type 4")]
    Keys(keys::Args),
    /// Turn the ratchet of a running node now: the node seals later records with new data keys
    #[command(after_help = "Example:\n  kc node rotate --node alice")]
    Rotate(RotateArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Print a line of JSON for each node
    #[arg(long, help_heading = "Output")]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    node: NodeArg,

    /// Print the status as JSON
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

/// The state of a node whose status cannot be read.
const UNREADABLE: &str = "unreadable";

/// A node in the output of `kc node list`.
#[derive(Debug, Serialize)]
struct Listed {
    node: String,
    config: String,
    /// `running`, `in use`, `stopped` or `unreadable`.
    state: &'static str,
    process: Option<u32>,
    /// The command of the process that has the node open, if this process reports its command.
    command: Option<String>,
    /// The latest time at which a valid chain expires, as ISO 8601 in UTC; null if a valid chain does not expire, or if
    /// no chain is valid.
    expires: Option<String>,
    roots: Vec<String>,
    /// The reason why no chain is valid, or why the status of the node cannot be read; null if a chain is valid.
    problem: Option<String>,
}

/// Shows the status of a node.
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

/// Lists all nodes that `--node ID` can find: the nodes in the current folder and in `KC_HOME`, and the nodes in
/// subfolders that have the id of their node as the name.
async fn list(args: &ListArgs, ui: Ui) -> Result<(), CliError> {
    let nodes = list_nodes(&SearchPlaces::from_environment());
    if nodes.is_empty() {
        ui.note(
            "there are no nodes in this folder or in the folder that the environment variable KC_HOME names; \
             `kc provision ROLE --node ID` makes a node",
        );
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
                state: UNREADABLE,
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
        // The texts of times sort like the times. A chain without an end comes last.
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
            (Some(problem), _) if self.state == UNREADABLE => {
                line.push_str(&format!(": {problem}"));
            }
            (Some(problem), _) => line.push_str(&format!(", chain NOT VALID: {problem}")),
            (None, Some(end)) => line.push_str(&format!(", chain valid until {end}")),
            (None, None) => line.push_str(", chain does not expire"),
        }
        line.push_str(&format!(", {}", self.config));
        line
    }
}

/// Returns the node's id: the file name of its configuration without the ending `.config`.
fn stem(files: &NodeFiles) -> String {
    let config = files.config();
    let stem = config.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// Asks the process that has the node open to turn the node's ratchet.
async fn turn(args: &RotateArgs, ui: Ui) -> Result<(), CliError> {
    let files = find_node(&args.node.node, &SearchPlaces::from_environment())?;
    match rotate(&files).await? {
        Some(Rotated::Roots(0)) => {
            ui.result("no data key was in use, so no root topic has a new data key")
        }
        Some(Rotated::Roots(1)) => ui.result("ratchet turned: 1 root topic has a new data key"),
        Some(Rotated::Roots(roots)) => {
            ui.result(format!("ratchet turned: {roots} root topics have new data keys"))
        }
        Some(Rotated::Failed(reason)) => Err(CliError::failure(format!(
            "the ratchet was not turned: {reason}"
        ))),
        None => match NodeLock::holder(&files)? {
            Some(holder) => Err(CliError::failure(format!(
                "the ratchet was not turned: the node is {}, which accepts no requests from kc",
                InUse::from(holder).describe()
            ))
            .advise(
                "turn the ratchet in that program, or restart the program: a node starts with new data keys",
            )),
            None => {
                ui.note("the node is not running, so there is nothing to do: a node starts with new data keys");
                Ok(())
            }
        },
    }
}
