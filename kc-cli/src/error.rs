//! Every failure as an exit code, a message and advice.

use std::error::Error;
use std::process::ExitCode;
use std::{fmt, io};

use kc::actors::key_table::PrepareError;
use kc::actors::ratchet::RatchetError;
use kc::core::chain::{ChainError, Check};
use kc::core::provision::ProvisionError;
use kc::core::store::config::{ConfigError, ConfigStoreError};
use kc::core::store::{NodeSecretsError, StoreError, StoreErrorKind};
use kc::keystore_file::{
    EntryError, FileError, FindError, LOCK_LOST_ADVICE, SearchPlaces, SettingsError, list_nodes,
};
#[cfg(feature = "hsm")]
use kc::keystore_hsm::HsmError;
use kc::{BackendError, BackendErrorKind, ConsumeError, NodeError, OpenError, ProduceError};
use kc_broker::BrokerError;

const REQUESTS: &str =
    "a root signs the requests of `kc provision --by-hand` and `kc chain provisioners`";
const NOT_TOGETHER: &str =
    "the .config and .crypto files are not of the same node: restore both from the same backup";

/// How the program ends; scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 1: a failure of any other kind.
    Failure,
    /// 2: what was asked for makes no sense.
    Usage,
    /// 3: time out, or records left unresolved.
    Unresolved,
    /// 4: the broker, or a topic.
    Broker,
    /// 5: refused by a check.
    Refused,
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct CliError {
    exit: Exit,
    message: String,
    advice: Option<String>,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Failure => 1,
            Exit::Usage => 2,
            Exit::Unresolved => 3,
            Exit::Broker => 4,
            Exit::Refused => 5,
        })
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

    /// An error with all that is behind it, as a failure without advice.
    pub(crate) fn from_error(error: impl Error) -> Self {
        Self::failure(with_sources(&error))
    }

    /// A chain that does not grant what a command is about to do.
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

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Find(error) => error.into(),
            OpenError::File(error) => error.into(),
            OpenError::Config(error) => error.into(),
            OpenError::Settings(error) => error.into(),
            OpenError::Store(error) => error.into(),
            OpenError::Backend(error) => error.into(),
            OpenError::Node(error) => error.into(),
            #[cfg(feature = "hsm")]
            OpenError::Token(error) => error.into(),
            error @ OpenError::PinNeeded { .. } => Self::from_error(error)
                .advise("name a file by pin-source=file:/PATH in the URI, or set KC_HSM_PIN"),
            error @ OpenError::NoTokens => {
                Self::from_error(error).advise("build kc with --features hsm")
            }
            error @ OpenError::TokenKeyMissing { .. } => Self::from_error(error).advise(
                "it says which keys the token must have: restore the .config file from a backup, or provision the \
                 node again with --force",
            ),
            error @ (OpenError::Moving { .. } | OpenError::MovingElsewhere { .. }) => {
                Self::from_error(error).advise(
                    "`kc hsm import` with that token goes on, `kc hsm undo-import` ends it and keeps the node in files; \
                     until then its ratchet takes no step, because it may be on the token already",
                )
            }
            error @ OpenError::NotMoving => {
                Self::from_error(error).advise("`kc hsm import` moves a node onto a token")
            }
            error @ (OpenError::OnTokenAlready | OpenError::NotOnToken) => Self::from_error(error)
                .advise("`cryptokey` in the node's .config says where its keys are"),
            error => Self::from_error(error).advise("correct the node's .config file"),
        }
    }
}

#[cfg(feature = "hsm")]
impl From<HsmError> for CliError {
    fn from(error: HsmError) -> Self {
        let advice = error.advice();
        Self::from_error(error).advise(advice)
    }
}

impl From<FindError> for CliError {
    fn from(error: FindError) -> Self {
        let advice = match &error {
            FindError::NotFound { node, .. } => similar_node(node).map_or_else(
                || {
                    "`kc provision ROLE --node ID` makes a node, `kc node list` shows those here; KC_HOME names \
                     the folder of your nodes"
                        .to_owned()
                },
                |similar| format!("did you mean {similar}? `kc node list` shows all nodes here"),
            ),
            _ => "name the node by the path of its .config file".to_owned(),
        };
        Self::from_error(error).advise(advice)
    }
}

/// The id of a node here that is most like this one, and like enough.
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

impl From<FileError> for CliError {
    fn from(error: FileError) -> Self {
        let advice = advice_on_file(&error);
        Self::from_error(error).advise_if_any(advice)
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::from_error(error)
    }
}

impl From<ConfigStoreError> for CliError {
    fn from(error: ConfigStoreError) -> Self {
        let of_file = match &error {
            ConfigStoreError::Storage(source) => source.downcast_ref().and_then(advice_on_file),
            _ => None,
        };
        let advice = of_file.unwrap_or(match &error {
            ConfigStoreError::Config { .. } => "correct the .config file at that place",
            _ => "the .config file must be readable, and be one",
        });
        Self::from_error(error).advise(advice)
    }
}

impl From<SettingsError> for CliError {
    fn from(error: SettingsError) -> Self {
        Self::from_error(error).advise("correct the setting where it was made")
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::from_error(&error).advise_if_any(advice_on_store(&error))
    }
}

impl From<NodeError> for CliError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Config(error) => error.into(),
            NodeError::Store(error) => error.into(),
            NodeError::RetainedKeys(ref behind) => {
                let advice = behind.advice().unwrap_or(NOT_TOGETHER);
                Self::from_error(error).advise(advice)
            }
            error @ NodeError::RetainedKeysFormat(_) => {
                Self::from_error(error).advise(NOT_TOGETHER)
            }
            error => Self::from_error(error),
        }
    }
}

impl From<BackendError> for CliError {
    fn from(error: BackendError) -> Self {
        let exit = match error.kind() {
            BackendErrorKind::Configuration | BackendErrorKind::Unsupported => Exit::Usage,
            BackendErrorKind::Closed => Exit::Failure,
            _ => Exit::Broker,
        };
        let advice = advice_on_broker(&error);
        Self::new(exit, with_sources(&error)).advise_if_any(advice)
    }
}

impl From<ProduceError> for CliError {
    fn from(error: ProduceError) -> Self {
        match error {
            ProduceError::Backend(error) => error.into(),
            ProduceError::Prepare(error) => error.into(),
            error => Self::from_error(error),
        }
    }
}

impl From<PrepareError> for CliError {
    fn from(error: PrepareError) -> Self {
        let advice = match &error {
            PrepareError::Ratchet(
                RatchetError::Ratchet(behind) | RatchetError::Archive(behind),
            ) => advice_on_store(behind),
            PrepareError::Ratchet(RatchetError::NoRatchet) => Some(
                "`ratchet : file#...` in the node's .config names the file of its ratchet: restore the \
                 entry, or provision the node again with --force",
            ),
            _ => None,
        };
        Self::from_error(error).advise_if_any(advice)
    }
}

impl From<ConsumeError> for CliError {
    fn from(error: ConsumeError) -> Self {
        match error {
            ConsumeError::Backend(error) => error.into(),
            error => Self::from_error(error).advise(
                "the topic has a record that no trusted node sealed; --foreign skip leaves such records out, \
                 --foreign deliver shows them",
            ),
        }
    }
}

impl From<BrokerError> for CliError {
    fn from(error: BrokerError) -> Self {
        Self::from_error(error).advise("--listen 127.0.0.1:0 takes a free port")
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
                "provision it where the root password is, or --by-hand: the root signs its request",
            ),
            ProvisionError::NothingToEscrow(_) => usage("leave --escrow-key out"),
            ProvisionError::Escrow(_) => usage("give the escrow key's public half again"),
            ProvisionError::Certificate(behind) => Self::refused(error.to_string(), behind).advise(
                "check that it is what the root signed, unaltered, and under this root; `kc chain inspect` \
                 shows it",
            ),
            ProvisionError::Request(behind) => {
                Self::refused(error.to_string(), behind).advise(REQUESTS)
            }
            ProvisionError::NotARequest => refused(REQUESTS),
            ProvisionError::OtherKey { .. } => refused(
                "the provisioning password, or the provisioner's key, is another than that of the request; or the \
                 certificate is for another role or node",
            ),
            ProvisionError::GrantsOther => refused(
                "the role's provisioner may not grant all of this: have the right request signed",
            ),
            _ => Self::failure(text),
        }
    }
}

impl From<EntryError> for CliError {
    fn from(error: EntryError) -> Self {
        Self::from_error(error).advise("correct the node's .config file")
    }
}

impl From<NodeSecretsError> for CliError {
    fn from(error: NodeSecretsError) -> Self {
        Self::usage(error.to_string())
    }
}

fn advice_on_store(error: &StoreError) -> Option<&'static str> {
    if let Some(advice) = error.advice() {
        return Some(advice);
    }
    let mut behind = error.source();
    while let Some(error) = behind {
        if let Some(advice) = error.downcast_ref().and_then(advice_on_file) {
            return Some(advice);
        }
        behind = error.source();
    }
    match error.kind() {
        StoreErrorKind::Malformed | StoreErrorKind::Unauthentic => Some(
            "the file is damaged or not of this node: restore it from a backup, or provision the node \
             again with --force",
        ),
        StoreErrorKind::Exhausted => Some("provision the node again with --force"),
        _ => None,
    }
}

fn advice_on_file(error: &FileError) -> Option<&'static str> {
    Some(match error {
        FileError::Missing { .. } => {
            "a node has three files, .config, .crypto and .seed: restore the missing one, or provision \
             the node again with --force"
        }
        FileError::Permission { .. } => "run kc as the user that owns the node's files",
        FileError::InUse { .. } => {
            "one process at a time may have a node open: stop the other, or provision a second node; \
             `kc node status` asks the running one"
        }
        FileError::LockLost { .. } => LOCK_LOST_ADVICE,
        FileError::Exists { .. } => {
            "--force replaces the node; what its old keys sealed is then lost to late consumers"
        }
        FileError::TooLarge { .. } | FileError::NotAFile { .. } => {
            "that is no file of a node: check the path"
        }
        FileError::Link { .. } => {
            "kc would overwrite the file that the link points to: remove the link, and find out what made it"
        }
        FileError::BadNodeId { .. } => "a node id is a plain name, such as sensors-1",
        _ => return None,
    })
}

fn advice_on_broker(error: &BackendError) -> Option<&'static str> {
    use BackendErrorKind as Kind;
    Some(match error.kind() {
        Kind::Unreachable | Kind::Timeout => {
            "check that the broker runs, and the address: -b HOST:PORT, or bootstrap_servers in the \
             node's .config; `kc broker` runs one to try things out"
        }
        Kind::UnknownTopic => "create it: kc topics create TOPIC -b HOST:PORT",
        Kind::Tls => {
            "ssl_cafile must name the authority of the broker's certificate; a broker without TLS \
             needs --security-protocol PLAINTEXT"
        }
        Kind::Authentication => "check the user name, the password and the client certificate",
        Kind::Authorization => "the broker's administrator has to allow it to this user",
        Kind::RecordTooLarge => {
            "-X max_request_size=BYTES raises our limit; the broker has max.message.bytes"
        }
        Kind::Configuration if error.context().contains("bootstrap_servers") => {
            "say where the broker is: -b HOST:PORT"
        }
        Kind::Configuration => "check -X, the environment and the node's .config",
        Kind::Unsupported => {
            "--backend, or `backend` in the node's .config, chooses another Kafka client of those that are \
             built in"
        }
        _ => return None,
    })
}

fn advice_on_chain(refusal: &ChainError) -> String {
    let advice = match refusal.check() {
        Check::Expiry => {
            "the node's certificate has ended: `kc chain issue --node ID` issues a new one for the key that the \
             node has; a chain server or an administrator sends it to a running node"
        }
        Check::Denylist => {
            "the key was denied on purpose: ask the keeper of the root of trust; `kc provision --force` gives the \
             node a new key"
        }
        Check::Topic => "provision the node for this topic: --topics",
        Check::Usage => {
            "provision the node for this: only a producer or prodcon seals, only a consumer or prodcon \
             gets keys"
        }
        Check::Root | Check::Allowlist => {
            "the node does not trust the root that certified it: provision it with the right root password"
        }
        _ => "provision the node again with --force, or restore its .config file",
    };
    advice.to_owned()
}

/// An error and what is behind it, without saying anything twice.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}

/// An input or output error of a file.
pub(crate) fn io_failed(action: &str, path: impl fmt::Display, error: &io::Error) -> CliError {
    CliError::failure(format!("cannot {action} {path}: {error}"))
}
