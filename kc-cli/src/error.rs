//! Failures of the program: an exit code, a message and advice.

use std::error::Error;
use std::process::ExitCode;
use std::{fmt, io};

use kc::actors::NodeError;
use kc::actors::key_table::PrepareError;
use kc::core::chain::{ChainError, Check};
use kc::core::provision::ProvisionError;
use kc::core::store::config::{ConfigError, ConfigStoreError};
use kc::core::store::{NodeSecretsError, StoreError};
use kc::core::text::with_sources;
use kc::keystore_file::{
    EntryError, FileError, FindError, SearchPlaces, SettingsError, list_nodes,
};
use kc::maintenance::TokenError;
use kc::{BackendError, BackendErrorKind, ConsumeError, ErrorKind, ProduceError};
use kc_broker::BrokerError;
use kc_files::FilesError;

const REQUESTS: &str =
    "give a request that `kc provision --by-hand` or `kc chain provisioners` printed";

/// The exit status of the program. Scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 1: any other failure.
    Failure,
    /// 2: wrong usage.
    Usage,
    /// 3: the time limit was reached, or the run was interrupted while records waited for their data keys.
    Unresolved,
    /// 4: a fault of the broker or a topic.
    Broker,
    /// 5: a check refused a certificate, a password, a list update, a topic or a usage.
    Refused,
    /// 130: interrupted before everything was done.
    Interrupted,
}

/// The failure of a command.
#[derive(Debug)]
pub(crate) struct CliError {
    exit: Exit,
    message: String,
    advice: Option<String>,
}

impl Exit {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Unresolved => 3,
            Self::Broker => 4,
            Self::Refused => 5,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            advice: None,
        }
    }

    pub(crate) fn failure(message: impl Into<String>) -> Self {
        Self::new(Exit::Failure, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn unresolved(message: impl Into<String>) -> Self {
        Self::new(Exit::Unresolved, message)
    }

    /// Returns a failure with the text of an error and of its sources, without advice.
    pub(crate) fn from_error(error: impl Error) -> Self {
        Self::failure(with_sources(&error))
    }

    /// Returns the error for a refused certificate or chain; `what` names the action that is not possible.
    pub(crate) fn refused(what: impl fmt::Display, refusal: &ChainError) -> Self {
        let message = format!("{what}: {refusal} (check {})", refusal.check());
        Self::new(Exit::Refused, message).advise(advice_on_chain(refusal))
    }

    #[must_use]
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    fn advise_if_any(mut self, advice: Option<impl Into<String>>) -> Self {
        self.advice = advice.map(Into::into);
        self
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    pub(crate) fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<kc::Error> for CliError {
    fn from(error: kc::Error) -> Self {
        use BackendErrorKind::{Configuration, Unsupported};
        let exit = match error.kind() {
            ErrorKind::Kafka(Configuration | Unsupported) => Exit::Usage,
            ErrorKind::Kafka(_) => Exit::Broker,
            _ => Exit::Failure,
        };
        let similar = match error.get_ref().downcast_ref() {
            Some(FindError::NotFound { node, .. }) => similar_node(node),
            _ => None,
        };
        let similar = similar.map(|similar| {
            format!("did you mean {similar}? `kc node list` lists the nodes in this folder and in KC_HOME")
        });
        let advice = similar.or_else(|| error.advice().map(str::to_owned));
        Self::new(exit, with_sources(&error)).advise_if_any(advice)
    }
}

macro_rules! through_kc_error {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                kc::Error::from(error).into()
            }
        }
    )*};
}

through_kc_error!(
    BackendError,
    ConfigError,
    ConfigStoreError,
    ConsumeError,
    EntryError,
    FileError,
    FindError,
    NodeError,
    PrepareError,
    ProduceError,
    SettingsError,
    StoreError,
    TokenError,
);

#[cfg(feature = "hsm")]
through_kc_error!(kc::keystore_hsm::HsmError);

/// Returns the id that is most similar to `id` among the nodes in the current folder and in `KC_HOME`. Returns `None`
/// if no id is similar enough.
fn similar_node(id: &str) -> Option<String> {
    const LIKE_ENOUGH: f64 = 0.8;
    let nodes = list_nodes(&SearchPlaces::from_environment());
    let ids = nodes.iter().filter_map(|files| {
        let config = files.config();
        Some(config.file_stem()?.to_str()?.to_owned())
    });
    let rated = ids.map(|known| (strsim::jaro_winkler(id, &known), known));
    let best = rated.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(likeness, _)| *likeness >= LIKE_ENOUGH)
        .map(|(_, known)| known)
}

impl From<BrokerError> for CliError {
    fn from(error: BrokerError) -> Self {
        Self::from_error(error)
    }
}

impl From<FilesError> for CliError {
    fn from(error: FilesError) -> Self {
        let advice = error.advice();
        match error {
            FilesError::Kafka(error) => error.into(),
            FilesError::Pattern(_) => Self::usage(with_sources(&error)).advise_if_any(advice),
            _ => Self::from_error(error).advise_if_any(advice),
        }
    }
}

impl From<ProvisionError> for CliError {
    fn from(error: ProvisionError) -> Self {
        let text = with_sources(&error);
        let usage = |advice: &str| Self::usage(text.clone()).advise(advice);
        let refused = |advice: &str| Self::new(Exit::Refused, text.clone()).advise(advice);
        match &error {
            ProvisionError::TooManyTopics(_) | ProvisionError::Config(_) => Self::usage(text),
            ProvisionError::NeedsRoot(_) => usage(
                "provision the node on a computer where the root password can be typed; or use --by-hand, and sign \
                 the printed request with `kc chain sign`",
            ),
            ProvisionError::NothingToEscrow(_) => usage("run the command without --escrow-key"),
            ProvisionError::Escrow(_) => usage(
                "copy the public half of the escrow key again, and give it in --escrow-key",
            ),
            ProvisionError::Certificate(behind) => Self::refused(error.to_string(), behind).advise(
                "check that this root signed the certificate, and that the certificate was copied without changes; \
                 `kc chain inspect` shows its content",
            ),
            ProvisionError::Request(behind) => {
                Self::refused(error.to_string(), behind).advise(REQUESTS)
            }
            ProvisionError::NotARequest => refused(REQUESTS),
            ProvisionError::OtherKey { .. } => refused(
                "check that the certificate belongs to the provisioner of this role, and that the provisioning \
                 password or --provisioner-key is the same as for the request that the root signed",
            ),
            ProvisionError::GrantsOther => refused(
                "check that the root signed the request of this role's provisioner: the signed certificate does not \
                 allow the provisioner to grant all topics and usages of the node",
            ),
            _ => Self::failure(text),
        }
    }
}

impl From<NodeSecretsError> for CliError {
    fn from(error: NodeSecretsError) -> Self {
        Self::usage(error.to_string())
    }
}

fn advice_on_chain(refusal: &ChainError) -> String {
    let advice = match refusal.check() {
        Check::Expiry => {
            "a certificate of the node's chain has expired: `kc chain issue --node ID` issues a new chain for the same \
             key; `kc chain publish` or a chain server sends a new chain to a running node. If the chain should still be \
             valid, check the clock of this host"
        }
        Check::Denylist => {
            "the key was denied on purpose: ask the keeper of the root of trust; `kc provision --force` gives the \
             node a new key"
        }
        Check::Topic => {
            "certify the node for this topic: `kc chain issue --node ID --topics TOPIC,...`; the new chain grants \
             only the topics that you name, so name all topics of the node"
        }
        Check::Usage => {
            "provision the node again with a role that has this right: `kc provision --help` explains the roles"
        }
        Check::Root | Check::Allowlist => {
            "the node does not trust the root that certified it: provision the node again with the right root \
             password"
        }
        _ => "provision the node again with --force, or restore its .config file from a backup",
    };
    advice.to_owned()
}

/// Returns the error for a file that cannot be read, written or opened.
pub(crate) fn io_failed(action: &str, path: impl fmt::Display, error: &io::Error) -> CliError {
    CliError::failure(format!("cannot {action} {path}: {error}"))
}
