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
    /// Nodes of the Python peer ignore list updates that they receive while they run. Stop each of these nodes, and
    /// change its own file: `kc trust deny KEY --node PATH`.
    #[command(after_help = "Examples:
  kc trust deny --of bob --node alice
  kc trust deny --of bob --publish --node alice")]
    Deny(EntryArgs),
    #[command(after_help = "Examples:
  kc trust revoke --node bob > bob.revocation
  kc trust revoke --node bob --publish --yes")]
    Revoke(publish::RevokeArgs),
    /// Send a revocation from `kc trust revoke`, or another list update that is in a file or in base64
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
        None => Err(CliError::usage("neither --node nor --publish is given").advise(
            "--node N changes the list of one node; --publish signs an update for the lists of all nodes, and \
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

/// The first character of a regular expression in a list of topics.
const PATTERN_START: char = '^';

/// A root to trust, and the topics for which to trust it.
#[derive(Debug, clap::Args)]
pub(crate) struct AllowArgs {
    #[command(flatten)]
    entry: EntryArgs,

    /// Trust the root for these topics only; nodes under this root must be provisioned for no other topics [default:
    /// all topics]
    #[arg(long, value_name = "TOPIC,...", value_delimiter = ',', value_parser = topic, action = ArgAction::Append, conflicts_with = "remove")]
    topics: Vec<String>,
}

/// A key for a list, and the way to change the list.
#[derive(Debug, clap::Args)]
pub(crate) struct EntryArgs {
    #[command(flatten)]
    key: KeyArgs,

    /// The stopped node whose own list is changed. With --publish, this is instead a node, running or stopped, whose
    /// configuration names the broker; kc sends the update only if this node accepts the update
    #[arg(long, value_name = "ID|PATH", help_heading = "One node")]
    node: Option<String>,

    /// Remove the key from the node's own list; a published update cannot be taken back
    #[arg(
        long,
        requires = "node",
        conflicts_with = "publish",
        help_heading = "One node"
    )]
    remove: bool,

    /// Sign an update as the root, or as the node that --signer names, and send the update to all nodes
    #[arg(long, help_heading = "All nodes")]
    publish: bool,

    /// The stopped node that signs in place of the root; its chain must grant the usage key-allowlist (for `kc trust
    /// allow`) or key-denylist (for `kc trust deny`), and allow one more certificate
    #[arg(long, value_name = "ID|PATH", requires = "publish", conflicts_with_all = ["root_password_file", "key_type"], help_heading = "All nodes")]
    signer: Option<String>,

    /// A file with the root password; - is stdin [default: KC_ROOT_PASSWORD, else a prompt]
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

    /// The type of the root's key, as the nodes trust it: 1 is Ed25519; 4 adds SLH-DSA, against quantum computers
    #[arg(long, value_name = "1|4", default_value = "1", value_parser = key_type, requires = "publish", help_heading = "All nodes")]
    key_type: KeyType,

    /// The time for which nodes accept the update; they keep the accepted entry after that time
    #[arg(long, value_name = "DURATION", default_value = "3660d", value_parser = duration, requires = "publish", help_heading = "All nodes")]
    lifetime: Duration,

    #[command(flatten)]
    connection: ConnectionArgs,
}

impl EntryArgs {
    /// Returns the arguments that give the key of the root. The root signs if `--signer` is not given.
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

/// Returns an entry for each key. If `topics` is not empty, the entries are limited to the regular expressions in
/// `topics`, and to the root topics of the names in `topics`.
///
/// # Errors
/// [`Exit::Refused`] if one of the keys is the temporary root and `list` is the allowlist; [`CliError`] if the topics
/// are not valid.
fn entries(
    list: TrustList,
    keys: &[VerifyingKey],
    topics: &[String],
    scheme: &TopicScheme,
) -> Result<Vec<TrustEntry>, CliError> {
    if list == TrustList::Allow && keys.contains(&TEMPORARY_ROOT) {
        let message = "the key is the temporary root, whose private key is public: a node that trusts it trusts \
                       every sender";
        return Err(CliError::new(Exit::Refused, message)
            .advise("provision nodes with a root password, and allow the root of this password"));
    }
    let granted = |topic: &String| {
        if topic.starts_with(PATTERN_START) {
            return topic.clone();
        }
        scheme.root_str(topic).into_owned()
    };
    let topics: Vec<String> = topics.iter().map(granted).collect();
    let entry = |key| {
        let entry = TrustEntry::unrestricted(key);
        if topics.is_empty() {
            return Ok(entry);
        }
        let limited = entry.within(Some(topics.clone()));
        limited.map_err(|error| CliError::usage(format!("--topics is not valid: {error}")))
    };
    keys.iter().map(entry).collect()
}
