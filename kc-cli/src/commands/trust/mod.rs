//! `kc trust`: whom nodes trust, and whom not.

mod args;
mod list;
mod own;
mod publish;
mod refusal;
mod revoke;
mod signer;
mod update;

use clap::Subcommand;
use kc::core::chain::TrustList;
use kc::core::types::ManagementTopic;

use self::args::{AllowArgs, EntryArgs};
use crate::error::CliError;
use crate::ui::Ui;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the roots of trust of a node, and the keys that it denies
    List(list::Args),
    /// Trust a root: one node by itself (--node), or all nodes over Kafka (--publish)
    Allow(AllowArgs),
    /// Deny a key: one node by itself (--node), or all nodes over Kafka (--publish)
    Deny(EntryArgs),
    /// Have a node deny its own keys, for good and everywhere: they are lost, or somebody else has them
    Revoke(revoke::Args),
    /// Send a revocation or a list update that was kept until now
    Publish(publish::Args),
}

pub(crate) async fn run(command: Command, ui: Ui) -> Result<(), CliError> {
    match command {
        Command::List(args) => list::run(&args, ui),
        Command::Allow(args) => change(TrustList::Allow, &args.entry, &args.topics, ui).await,
        Command::Deny(args) => change(TrustList::Deny, &args, &[], ui).await,
        Command::Revoke(args) => revoke::run(&args, ui).await,
        Command::Publish(args) => publish::run(&args, ui).await,
    }
}

async fn change(
    list: TrustList,
    args: &EntryArgs,
    topics: &[String],
    ui: Ui,
) -> Result<(), CliError> {
    match &args.node {
        _ if args.publish => update::run(list, args, topics, ui).await,
        Some(node) if args.remove => own::remove(list, node, &args.key, ui),
        Some(node) => own::add(list, node, &args.key, topics, ui),
        None => Err(CliError::usage("neither --node nor --publish").advise(
            "--node N changes the list of one node; --publish signs an update for the lists of all, and \
             sends it",
        )),
    }
}

fn topic_of(list: TrustList) -> ManagementTopic {
    match list {
        TrustList::Allow => ManagementTopic::Allowlist,
        TrustList::Deny => ManagementTopic::Denylist,
    }
}
