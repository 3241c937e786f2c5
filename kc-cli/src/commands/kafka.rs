//! `kc kafka`.

use clap::Subcommand;
use kc::core::text::counted;

use super::access::accesses;
use super::reach::{Step, Steps, connect, judge, present};
use crate::args::{ConnectionArgs, CopiesArg};
use crate::error::{CliError, Exit};
use crate::stored::StoredNode;
use crate::ui::Ui;

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

/// Prints the results, and counts the failures.
struct Printed {
    ui: Ui,
    json: bool,
    failed: usize,
}

impl Steps for Printed {
    fn report(&mut self, step: Step) -> Result<(), CliError> {
        self.failed += usize::from(!step.ok);
        if self.json {
            let line = serde_json::to_string(&step).map_err(CliError::from_error)?;
            return self.ui.result(line);
        }
        let mark = if step.ok { "ok  " } else { "FAIL" };
        self.ui.result(format!(
            "{mark}  {:<10}  {}: {}",
            step.kind.name(),
            step.target,
            step.detail
        ))?;
        match &step.advice {
            Some(advice) => self.ui.result(format!("      advice: {advice}")),
            None => Ok(()),
        }
    }
}

impl Printed {
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
    let mut steps = Printed {
        ui,
        json: args.json,
        failed: 0,
    };
    let Some(admin) = connect(&connection, &mut steps).await? else {
        return steps.end();
    };
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
