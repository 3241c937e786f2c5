#[cfg(feature = "hsm")]
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgAction;
use kc::core::chain::{TEMPORARY_ROOT, TrustEntry, TrustList};
use kc::core::keys::{KeyType, VerifyingKey};
use kc::core::types::TopicScheme;
#[cfg(feature = "hsm")]
use kc::keystore_hsm::Pkcs11Uri;

#[cfg(feature = "hsm")]
use crate::args::TokenUri;
use crate::args::{ConnectionArgs, KeyArgs, PinArg, RootArgs, RootPasswordArg, duration, key_type};
use crate::error::{CliError, Exit};

/// What regular expressions among topics begin with.
const PATTERN_START: char = '^';

/// A root to trust, and how far.
#[derive(Debug, clap::Args)]
pub(crate) struct AllowArgs {
    #[command(flatten)]
    pub(super) entry: EntryArgs,

    /// Trust it for these topics only; its nodes must be provisioned with --topics among these
    /// [default: all]
    #[arg(long, value_name = "TOPIC,...", value_delimiter = ',', action = ArgAction::Append, conflicts_with = "remove")]
    pub(super) topics: Vec<String>,
}

/// A key for a list, and how it gets there.
#[derive(Debug, clap::Args)]
pub(crate) struct EntryArgs {
    #[command(flatten)]
    pub(super) key: KeyArgs,

    /// The node whose own list is changed, which must not run; with --publish, the node that tells where
    /// the broker is, and that must take the update before others get it
    #[arg(long, value_name = "ID|PATH", help_heading = "One node")]
    pub(super) node: Option<String>,

    /// Take the key out of the node's own list. What was published nobody can take back
    #[arg(
        long,
        requires = "node",
        conflicts_with = "publish",
        help_heading = "One node"
    )]
    pub(super) remove: bool,

    /// Send an update for the lists of all nodes, signed with the root password or by --signer
    #[arg(long, help_heading = "All nodes")]
    pub(super) publish: bool,

    /// The node that signs in place of the root; its chain must grant key-allowlist or key-denylist, and
    /// one more certificate. It must not run
    #[arg(long, value_name = "ID|PATH", requires = "publish", conflicts_with_all = ["root_password_file", "key_type"], help_heading = "All nodes")]
    pub(super) signer: Option<String>,

    /// A file with the root password; else KC_ROOT_PASSWORD, else a prompt
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
    pub(super) pin: PinArg,

    /// The root's type of key, as it was provisioned with
    #[arg(long, value_name = "1|4", default_value = "1", value_parser = key_type, requires = "publish", help_heading = "All nodes")]
    pub(super) key_type: KeyType,

    /// How long nodes take the update; what they took they keep
    #[arg(long, value_name = "DURATION", default_value = "3660d", value_parser = duration, requires = "publish", help_heading = "All nodes")]
    pub(super) lifetime: Duration,

    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
}

impl EntryArgs {
    /// The root that signs, unless another does.
    pub(super) fn root(&self) -> RootArgs {
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
pub(super) fn entries(
    list: TrustList,
    keys: &[VerifyingKey],
    topics: &[String],
    scheme: &TopicScheme,
) -> Result<Vec<TrustEntry>, CliError> {
    if list == TrustList::Allow && keys.contains(&TEMPORARY_ROOT) {
        let message = "this is the temporary root, whose private key is public: to trust it is to trust \
                       everybody";
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
