mod advice;

use std::error::Error;
use std::path::PathBuf;
use std::{fmt, io};

use cryptoki::error::RvError;
use kc_core::keys::KeyType;
use thiserror::Error;

use crate::{Capabilities, UriError};

/// What went wrong with a token. [`advice`](Self::advice) says what a person can do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HsmError {
    /// The URI is not one that is understood.
    #[error("pkcs11 URI: {0}")]
    Uri(#[from] UriError),
    /// There is no such module.
    #[error("the PKCS#11 module {} is not there", path.display())]
    ModuleMissing {
        /// The module.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file is something else, or for another machine.
    #[error("{} is not a PKCS#11 module", path.display())]
    NotAModule {
        /// The file.
        path: PathBuf,
        /// Why it was not loaded.
        source: TokenFault,
    },
    /// The module does not start.
    #[error("the PKCS#11 module {} does not start", path.display())]
    ModuleFailed {
        /// The module.
        path: PathBuf,
        /// What it said.
        source: TokenFault,
    },
    /// The module has no such token: it is removed, or the module is another maker's.
    #[error("no token with {wanted} in {}; it has {}", module.display(), listed(found))]
    TokenMissing {
        /// What was looked for.
        wanted: String,
        /// The module.
        module: PathBuf,
        /// The labels of the tokens that it has.
        found: Vec<String>,
    },
    /// Several tokens match.
    #[error("{count} tokens with {wanted}")]
    TokenAmbiguous {
        /// What was looked for.
        wanted: String,
        /// How many match.
        count: usize,
    },
    /// A token of this label is there already.
    #[error("a token {label:?} is there already")]
    TokenExists {
        /// The label.
        label: String,
    },
    /// A token's label is from 1 to 32 bytes long.
    #[error("{label:?} cannot be a token's label")]
    TokenLabel {
        /// The label.
        label: String,
    },
    /// The module has no token that waits to be initialized.
    #[error("no blank token in {}", module.display())]
    NoBlankToken {
        /// The module.
        module: PathBuf,
    },
    /// Where the PIN should come from, there is none.
    #[error("no PIN from {origin}")]
    PinMissing {
        /// The file, the variable, or the prompt.
        origin: String,
        /// Why the file was not read.
        source: Option<io::Error>,
    },
    /// The token refuses the PIN. The same one is not tried again.
    #[error("the PIN of {token} is wrong")]
    PinIncorrect {
        /// The token.
        token: String,
    },
    /// The token has refused this PIN before, as a file beside the node remembers. It is not tried again.
    #[error("{token} has refused this PIN before; it is not tried again ({} remembers it)", path.display())]
    PinRefused {
        /// The token.
        token: String,
        /// The file.
        path: PathBuf,
    },
    /// The token has refused so many PINs that the next try is left to a person.
    #[error("{token} has refused the PINs it was given since the last login; no other is tried ({} remembers them)", path.display())]
    PinTriesSpent {
        /// The token.
        token: String,
        /// The file that remembers them.
        path: PathBuf,
    },
    /// Too many wrong PINs.
    #[error("the PIN of {token} is locked")]
    PinLocked {
        /// The token.
        token: String,
    },
    /// One wrong PIN more, and the token locks: that try is left to a person.
    #[error("{token} locks if the next PIN is wrong, too; it is not tried")]
    PinLastTry {
        /// The token.
        token: String,
    },
    /// The PIN was right once.
    #[error("the PIN of {token} has expired")]
    PinExpired {
        /// The token.
        token: String,
    },
    /// The token does not take this as a new PIN.
    #[error("the token takes no such PIN for its {whose}: {}", lengths(*min, *max))]
    PinUnsuitable {
        /// "user" or "security officer".
        whose: &'static str,
        /// The shortest PIN, in bytes.
        min: usize,
        /// The longest, in bytes; 0 if there is no limit.
        max: usize,
    },
    /// Nobody has set a PIN.
    #[error("{token} has no user PIN yet")]
    PinNotSet {
        /// The token.
        token: String,
    },
    /// The token lacks what a node needs.
    #[error("the token lacks {}\n{}", mechanisms.join(", "), table.to_string().trim_end())]
    Lacks {
        /// The mechanisms.
        mechanisms: Vec<&'static str>,
        /// All that nodes use, and what of it the token has.
        table: Capabilities,
    },
    /// No node on a token has this id: the keys of roots of trust and provisioners were called so.
    #[error(
        "a node on a token cannot be called {0}: that is what a root of trust or a provisioner was called"
    )]
    ReservedId(String),
    /// The name of an object is not `kc:<node>:<instance>:<role>`.
    #[error("{0:?} is not kc:<node>:<instance>:<role>")]
    NotALabel(String),
    /// The token has no such object.
    #[error("no {what} {label} on the token")]
    ObjectMissing {
        /// "private key", "public key", "secret key".
        what: &'static str,
        /// Its label.
        label: String,
    },
    /// The token has several, and which one is meant cannot be known.
    #[error("{count} objects ({what}) are called {label}")]
    ObjectAmbiguous {
        /// "private key", "public key", "secret key".
        what: &'static str,
        /// Their label.
        label: String,
        /// How many.
        count: usize,
    },
    /// The token has such an object already.
    #[error("{label} is on the token already")]
    ObjectExists {
        /// Its label.
        label: String,
    },
    /// The token has keys of a node with this id. They may be in use.
    #[error("the token has keys of a node with this id already: {label}")]
    NodeExists {
        /// One of them.
        label: String,
    },
    /// Which keys a new node is to take cannot be known, or they are not free.
    #[error("no keys to adopt for node {node}: {problem}")]
    NotAdoptable {
        /// The node's id.
        node: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A rotation of the key that seals values was interrupted.
    #[error("{label} is on the token: the key that seals values is being replaced")]
    RotationUnfinished {
        /// The key that is being replaced.
        label: String,
    },
    /// A key that could leave the token.
    #[error("{label} is not {attribute}")]
    Exposed {
        /// The key.
        label: String,
        /// What it should be: "sensitive" or "non-extractable".
        attribute: &'static str,
    },
    /// A key's parts do not belong together.
    #[error("{label}: {problem}")]
    BadObject {
        /// The key.
        label: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The token's key is not the one that the configuration names.
    #[error("the key {found} on the token is not one of the node's: {pinned}")]
    KeyChanged {
        /// The fingerprint of the token's key.
        found: String,
        /// Those in the configuration.
        pinned: String,
    },
    /// The node has no key of this type, or of any type that is used.
    #[error("no signing key{} on the token", of_type(*.0))]
    NoSigningKey(Option<KeyType>),
    /// A file node with two keys of a type.
    #[error("two signing keys of type {}", .0.version())]
    TwoKeys(KeyType),
    /// What was signed or sealed to try a key does not verify.
    #[error("{label} fails its self-test")]
    SelfTest {
        /// The key.
        label: String,
    },
    /// A sealed value does not open.
    #[error("{what} does not open: altered, or sealed by another key")]
    Unauthentic {
        /// What it is.
        what: &'static str,
    },
    /// The file is older than the token, or the token older than the file.
    #[error("ratchet in {}: the wrapping key of step {index} is gone{}", path.display(), token_at(*.newest))]
    RolledBack {
        /// The ratchet's file.
        path: PathBuf,
        /// The step that the file holds.
        index: u64,
        /// The step that the token has a key for.
        newest: Option<u64>,
    },
    /// The token has a ratchet key that this file cannot have left.
    #[error("ratchet in {}: at step {index}, but the token has a key of step {found}", path.display())]
    ForeignRatchet {
        /// The ratchet's file.
        path: PathBuf,
        /// The step that the file holds.
        index: u64,
        /// The step of the other key.
        found: u64,
    },
    /// The file is no ratchet.
    #[error("ratchet in {}: malformed", path.display())]
    MalformedRatchet {
        /// The ratchet's file.
        path: PathBuf,
    },
    /// A new ratchet would repeat steps.
    #[error("ratchet in {}: {index} is before step {known}, which it has come to", path.display())]
    RatchetRepeats {
        /// The ratchet's file.
        path: PathBuf,
        /// The index asked for.
        index: u64,
        /// The step that the ratchet has come to.
        known: u64,
    },
    /// The token has a ratchet key, of whatever step, and no ratchet was given that it opens.
    #[error("ratchet in {}: the token has a key of step {found} already", path.display())]
    RatchetKeyLeft {
        /// The file that the ratchet was to have.
        path: PathBuf,
        /// The key's step.
        found: u64,
    },
    /// A ratchet is there already.
    #[error("there is a ratchet already: {}", path.display())]
    RatchetExists {
        /// The ratchet's file.
        path: PathBuf,
    },
    /// The last index is reached.
    #[error("ratchet in {}: no index left", path.display())]
    RatchetExhausted {
        /// The ratchet's file.
        path: PathBuf,
    },
    /// Another opener has the ratchet.
    #[error("ratchet in {}: in use", path.display())]
    RatchetInUse {
        /// The ratchet's file.
        path: PathBuf,
    },
    /// The lock file was deleted or replaced while the ratchet was open, so that nothing keeps another process away.
    #[error("ratchet in {}: its lock file was deleted or replaced while the node was open; another process may have opened it since", path.display())]
    RatchetLockLost {
        /// The ratchet's file.
        path: PathBuf,
    },
    /// A file of this host.
    #[error("cannot {action} {}", path.display())]
    File {
        /// "read", "write", "lock".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A token, or the module that reaches it, did not answer.
    #[error("the token does not answer")]
    Silent,
    /// A token was not waited for any longer, as [`Patience::end`](crate::Patience::end) says.
    #[error("ended before the token had answered")]
    Ended,
    /// A token is asked on a thread of its own, which did not start.
    #[error("no thread to ask the token")]
    Thread(#[source] io::Error),
    /// The operating system gives no random numbers.
    #[error("no random numbers from the system")]
    Random(#[source] rand::rngs::SysError),
    /// The token was reached, is not any more, and reconnecting once did not help.
    #[error("cannot {action}: the token is gone")]
    Gone {
        /// What was tried.
        action: &'static str,
        /// What the module said.
        source: TokenFault,
    },
    /// The token refuses for another reason.
    #[error("cannot {action}")]
    Token {
        /// What was tried.
        action: &'static str,
        /// What the module said.
        source: TokenFault,
    },
}

fn listed(found: &[String]) -> String {
    if found.is_empty() {
        "none".to_owned()
    } else {
        found.join(", ")
    }
}

fn lengths(min: usize, max: usize) -> String {
    if max == 0 {
        format!("at least {min} characters")
    } else {
        format!("{min} to {max} characters")
    }
}

fn of_type(key_type: Option<KeyType>) -> String {
    key_type.map_or_else(String::new, |key_type| {
        format!(" of type {}", key_type.version())
    })
}

fn token_at(newest: Option<u64>) -> String {
    newest.map_or_else(
        || ", as are all others".to_owned(),
        |newest| format!("; the token is at step {newest}"),
    )
}

impl HsmError {
    /// Makes the error of a call of the module.
    pub(crate) fn call(action: &'static str) -> impl Fn(cryptoki::error::Error) -> Self {
        move |source| Self::Token {
            action,
            source: source.into(),
        }
    }

    /// Whether the session, the login, a handle or the token itself went away: worth connecting anew.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Token { source, .. } if source.is_lost())
    }

    /// What a lost token is when it is not found again.
    pub(crate) fn given_up(self) -> Self {
        match self {
            Self::Token { action, source } => Self::Gone { action, source },
            error => error,
        }
    }

    /// The same of an answer that says that something is lost.
    pub(crate) fn given_up_if_lost(self) -> Self {
        if self.is_lost() {
            self.given_up()
        } else {
            self
        }
    }
}

/// What a module said, in a few words.
pub struct TokenFault(cryptoki::error::Error);

impl TokenFault {
    /// The return value, if it was one.
    pub(crate) fn value(&self) -> Option<RvError> {
        match &self.0 {
            cryptoki::error::Error::Pkcs11(value, _) => Some(*value),
            _ => None,
        }
    }

    /// Whether the session, the login, a handle or the token itself went away.
    fn is_lost(&self) -> bool {
        use RvError as Rv;
        self.value().is_some_and(|value| {
            matches!(
                value,
                Rv::SessionHandleInvalid
                    | Rv::SessionClosed
                    | Rv::UserNotLoggedIn
                    | Rv::ObjectHandleInvalid
                    | Rv::KeyHandleInvalid
                    | Rv::DeviceError
                    | Rv::DeviceRemoved
                    | Rv::TokenNotPresent
                    | Rv::SlotIdInvalid
                    | Rv::CryptokiNotInitialized
            )
        })
    }
}

impl From<cryptoki::error::Error> for TokenFault {
    fn from(error: cryptoki::error::Error) -> Self {
        Self(error)
    }
}

impl fmt::Debug for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenFault({self})")
    }
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            // cryptoki shows the paragraph of the standard.
            cryptoki::error::Error::Pkcs11(value, function) => {
                write!(f, "C_{function:?} answers {value:?}")
            }
            error => error.fmt(f),
        }
    }
}

impl Error for TokenFault {}

#[cfg(test)]
mod tests;
