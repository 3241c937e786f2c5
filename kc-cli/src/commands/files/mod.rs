//! `kc files`: files through Kafka.

mod demo;
mod display;
mod peer;
mod receive;
mod reproduce;
mod send;
mod status;

use crate::error::CliError;
use crate::stop::Stop;
use crate::ui::Ui;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    #[command(after_help = "Examples:
  kc files send scans images --node microscope
  kc files send scans images --node microscope --once --include '*.tif' --custodian keeper")]
    Send(send::Args),
    #[command(after_help = "Examples:
  kc files receive images incoming --node archive
  kc files receive images incoming --node archive --count 10 --timeout 5m")]
    Receive(receive::Args),
    #[command(after_help = "Example:
  kc files reproduce incoming/ENCRYPTED_MESSAGES images --node archive --delete")]
    Reproduce(reproduce::Args),
    #[command(after_help = "Example:\n  kc files status incoming --json")]
    Status(status::Args),
    /// Show files on their way: a folder is sent, encrypted, through a broker of its own, and arrives
    #[command(after_help = "Example:\n  kc files demo")]
    Demo,
}

pub(crate) async fn run(command: Command, ui: Ui, stop: Stop) -> Result<(), CliError> {
    match command {
        Command::Send(args) => send::run(args, ui, stop).await,
        Command::Receive(args) => receive::run(args, ui, stop).await,
        Command::Reproduce(args) => reproduce::run(args, ui, stop).await,
        Command::Status(args) => status::run(&args, ui),
        Command::Demo => demo::run(ui).await,
    }
}
