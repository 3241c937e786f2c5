//! `kc node`.

mod keys;
mod rotate;
mod serve;
mod status;

use clap::Subcommand;

use super::staying;
use crate::args::NodeArg;
use crate::error::CliError;
use crate::stop::Stop;
use crate::ui::Ui;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Hand out the keys that a stopped producer has kept
    Serve(staying::Args),
    /// Show a node's signing keys and key exchanges, or change them
    Keys(keys::Args),
    /// Turn a running node's ratchet now, so that who has its keys reads nothing that comes after
    Rotate(RotateArgs),
    /// Show how a node is, running or not
    Status(StatusArgs),
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
        Command::Serve(args) => serve::run(args, ui, stop).await,
        Command::Rotate(args) => rotate::run(&args, ui).await,
        Command::Status(args) => status::run(&args, ui).await,
    }
}
