//! `kc chain`: certificate chains.

mod enroll;
mod inspect;
mod install;
mod issue;
mod root;

use clap::Subcommand;

pub(super) use self::issue::{granted_before, role_of};
use crate::error::CliError;
use crate::ui::Ui;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(after_help = "Example:\n  kc chain issue --node alice --lifetime 365d")]
    Issue(issue::Args),
    /// Sign a request as the root of trust
    #[command(after_help = "Example:\n  kc chain sign alice.request > alice.signed")]
    Sign(root::SignArgs),
    /// Store a certificate that the root signed for a node, or a chain that was issued elsewhere
    #[command(after_help = "Example:\n  kc chain install --node alice alice.signed")]
    Install(install::InstallArgs),
    /// Show the content of a chain, certificate, request or list entry, and whether a node accepts it
    #[command(after_help = "Example:\n  kc chain inspect alice.signed --node bob")]
    Inspect(inspect::Args),
    #[command(after_help = "Example:\n  kc chain publish alice.chain --node alice")]
    Publish(install::PublishArgs),
    #[command(after_help = "Example:\n  kc chain provisioners --root-public root.pub")]
    Provisioners(root::ProvisionersArgs),
    /// Print the public key of the root of trust
    #[command(after_help = "Example:\n  kc chain root > root.pub")]
    Root(root::PublicArgs),
    #[command(after_help = "Examples:
  kc chain enroll --server server --of alice
  kc chain enroll --server server --name bob --key bob.pub --role producer --topics readings")]
    Enroll(enroll::Args),
}

pub(crate) async fn run(command: Command, ui: Ui) -> Result<(), CliError> {
    match command {
        Command::Issue(args) => issue::run(&args, ui),
        Command::Sign(args) => root::sign(&args, ui),
        Command::Install(args) => install::install(&args, ui),
        Command::Inspect(args) => inspect::run(&args, ui),
        Command::Publish(args) => install::send(&args, ui).await,
        Command::Provisioners(args) => root::provisioners(&args, ui),
        Command::Root(args) => root::public(&args, ui),
        Command::Enroll(args) => enroll::run(&args, ui).await,
    }
}
