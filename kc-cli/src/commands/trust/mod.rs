//! `kc trust`: the roots that nodes trust, and the keys that they deny.

mod list;
mod publish;
mod signer;
mod update;

#[cfg(feature = "hsm")]
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Subcommand};
use kc::core::chain::{TEMPORARY_ROOT, TrustEntry, TrustList};
use kc::core::keys::{KeyType, VerifyingKey};
use kc::core::types::{ManagementTopic, TopicScheme};
#[cfg(feature = "hsm")]
use kc::keystore_hsm::Pkcs11Uri;

#[cfg(feature = "hsm")]
use crate::args::TokenUri;
use crate::args::{
    ConnectionArgs, KeyArgs, PinArg, RootArgs, RootPasswordArg, duration, key_type, topic,
};
use crate::error::{CliError, Exit};
use crate::ui::Ui;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(after_help = "Example:\n  kc trust list --node alice")]
    List(list::Args),
    /// Trust a root: on one node (--node), or on all nodes over Kafka (--publish)
    #[command(after_help = "Examples:
  kc trust allow @root.pub --node alice
  kc trust allow @root.pub --publish --node alice --topics readings")]
    Allow(AllowArgs),
    /// Deny a key: on one node (--node), or on all nodes over Kafka (--publish)
    ///
    /// Nodes of the Python peer drop list updates that they receive while they run. For each of them, stop it and
    /// change its own file: `kc trust deny KEY --node PATH`.
    #[command(after_help = "Examples:
  kc trust deny --of bob --node alice
  kc trust deny --of bob --publish --node alice")]
    Deny(EntryArgs),
    #[command(after_help = "Examples:
  kc trust revoke --node bob > bob.revocation
  kc trust revoke --node bob --publish --yes")]
    Revoke(publish::RevokeArgs),
    /// Send a revocation or a list update that was kept until now
    #[command(after_help = "Example:\n  kc trust publish bob.revocation --node alice")]
    Publish(publish::PublishArgs),
}

pub(crate) async fn run(command: Command, ui: Ui) -> Result<(), CliError> {
    match command {
        Command::List(args) => list::run(&args, ui),
        Command::Allow(args) => change(TrustList::Allow, &args.entry, &args.topics, ui).await,
        Command::Deny(args) => change(TrustList::Deny, &args, &[], ui).await,
        Command::Revoke(args) => publish::revoke(&args, ui).await,
        Command::Publish(args) => publish::send(&args, ui).await,
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
        Some(node) if args.remove => list::remove(list, node, &args.key, ui),
        Some(node) => list::add(list, node, &args.key, topics, ui),
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

/// What regular expressions among topics begin with.
const PATTERN_START: char = '^';

/// A root to trust, and how far.
#[derive(Debug, clap::Args)]
pub(crate) struct AllowArgs {
    #[command(flatten)]
    entry: EntryArgs,

    /// Trust it for these topics only; its nodes must be provisioned for topics among these
    /// [default: all]
    #[arg(long, value_name = "TOPIC,...", value_delimiter = ',', value_parser = topic, action = ArgAction::Append, conflicts_with = "remove")]
    topics: Vec<String>,
}

/// A key for a list, and how it gets there.
#[derive(Debug, clap::Args)]
pub(crate) struct EntryArgs {
    #[command(flatten)]
    key: KeyArgs,

    /// The node whose own list is changed, which must not run; with --publish, the node
    /// whose configuration says where the broker is, and that must take the update before it is sent
    #[arg(long, value_name = "ID|PATH", help_heading = "One node")]
    node: Option<String>,

    /// Take the key out of the node's own list. What was published cannot be taken back
    #[arg(
        long,
        requires = "node",
        conflicts_with = "publish",
        help_heading = "One node"
    )]
    remove: bool,

    /// Send an update for the lists of all nodes, signed with the root password or by --signer
    #[arg(long, help_heading = "All nodes")]
    publish: bool,

    /// The node that signs in place of the root; its chain must grant key-allowlist or key-denylist, and
    /// one more certificate. It must not run
    #[arg(long, value_name = "ID|PATH", requires = "publish", conflicts_with_all = ["root_password_file", "key_type"], help_heading = "All nodes")]
    signer: Option<String>,

    /// A file with the root password, - for stdin; else KC_ROOT_PASSWORD, else a prompt
    #[arg(
        long,
        value_name = "FILE",
        requires = "publish",
        help_heading = "All nodes"
    )]
    root_password_file: Option<PathBuf>,

    /// The root's key on a PKCS#11 token, in place of the password:
    /// pkcs11:token=LABEL;object=kc-root:NAME:id?module-path=/PATH/OF/MODULE.so
    #[cfg(feature = "hsm")]
    #[arg(long, value_name = "URI", value_parser = TokenUri, requires = "publish", conflicts_with_all = ["root_password_file", "signer"], help_heading = "All nodes")]
    root_key: Option<Pkcs11Uri>,

    #[command(flatten)]
    pin: PinArg,

    /// The root's type of key, as it was provisioned with
    #[arg(long, value_name = "1|4", default_value = "1", value_parser = key_type, requires = "publish", help_heading = "All nodes")]
    key_type: KeyType,

    /// How long nodes take the update; what they took they keep
    #[arg(long, value_name = "DURATION", default_value = "3660d", value_parser = duration, requires = "publish", help_heading = "All nodes")]
    lifetime: Duration,

    #[command(flatten)]
    connection: ConnectionArgs,
}

impl EntryArgs {
    /// The root that signs, unless another does.
    fn root(&self) -> RootArgs {
        RootArgs {
            password: RootPasswordArg {
                root_password_file: self.root_password_file.clone(),
            },
            #[cfg(feature = "hsm")]
            root_key: self.root_key.clone(),
            #[cfg(feature = "hsm")]
            pin_file: self.pin.file().map(Path::to_owned),
        }
    }
}

/// The entries for keys, limited to the roots of topics if there are any.
fn entries(
    list: TrustList,
    keys: &[VerifyingKey],
    topics: &[String],
    scheme: &TopicScheme,
) -> Result<Vec<TrustEntry>, CliError> {
    if list == TrustList::Allow && keys.contains(&TEMPORARY_ROOT) {
        let message = "this is the temporary root, whose private key is public: to trust it is to trust \
                       every sender";
        return Err(CliError::new(Exit::Refused, message)
            .advise("provision nodes with a root password, and allow the root that it gives"));
    }
    let granted = |topic: &String| {
        if topic.starts_with(PATTERN_START) {
            return topic.clone();
        }
        scheme.root_str(topic).to_owned()
    };
    let topics: Vec<String> = topics.iter().map(granted).collect();
    let entry = |key| {
        let entry = TrustEntry::unrestricted(key);
        if topics.is_empty() {
            return Ok(entry);
        }
        let limited = entry.within(Some(topics.clone()));
        limited.map_err(|error| CliError::usage(format!("--topics: {error}")))
    };
    keys.iter().map(entry).collect()
}
