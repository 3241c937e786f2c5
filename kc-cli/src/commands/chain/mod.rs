//! `kc chain`: certificate chains.

mod publish;

use clap::Subcommand;

use crate::error::CliError;
use crate::ui::Ui;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Send a new chain to the running node that has its key
    Publish(publish::Args),
}

pub(crate) async fn run(command: Command, ui: Ui) -> Result<(), CliError> {
    match command {
        Command::Publish(args) => publish::run(&args, ui).await,
    }
}
