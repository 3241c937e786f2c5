//! `kc chain`: certificate chains.

mod enroll;
mod inspect;
mod install;
mod issue;
mod provisioners;
mod publish;
mod root;
mod sign;
mod stored;

use clap::Subcommand;

use crate::error::CliError;
use crate::ui::Ui;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Issue a fresh chain for a node's key, with both passwords at hand
    Issue(issue::Args),
    /// Sign a request as the root of trust
    Sign(sign::Args),
    /// Take what the root signed for a node that was provisioned by hand, or a chain issued elsewhere
    Install(install::Args),
    /// Show what a chain, a certificate, a request or a list entry says, and whether a node takes it
    Inspect(inspect::Args),
    /// Send a new chain to the running node that has its key
    Publish(publish::Args),
    /// Print the requests of the provisioners, for a root whose password is elsewhere
    Provisioners(provisioners::Args),
    /// Print the public key of the root of trust
    Root(root::Args),
    /// Have a chain server keep the chain of a key fresh
    Enroll(enroll::Args),
}

pub(crate) async fn run(command: Command, ui: Ui) -> Result<(), CliError> {
    match command {
        Command::Issue(args) => issue::run(&args, ui),
        Command::Sign(args) => sign::run(&args, ui),
        Command::Install(args) => install::run(&args, ui),
        Command::Inspect(args) => inspect::run(&args, ui),
        Command::Publish(args) => publish::run(&args, ui).await,
        Command::Provisioners(args) => provisioners::run(&args, ui),
        Command::Root(args) => root::run(&args, ui),
        Command::Enroll(args) => enroll::run(&args, ui),
    }
}
