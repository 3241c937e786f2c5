mod advice;

use std::error::Error;
use std::path::PathBuf;
use std::{fmt, io};

use cryptoki::error::RvError;
use kc_core::keys::{KeyError, KeyType};
use thiserror::Error;

use crate::{Capabilities, UriError};

/// An error of a token or of the files that belong to it. [`advice`](Self::advice) says what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HsmError {
    /// The `pkcs11:` URI is invalid, or lacks an attribute that this operation needs.
    #[error("pkcs11 URI: {0}")]
    Uri(#[from] UriError),
    /// The file of the PKCS#11 module does not exist, or its folder cannot be accessed.
    #[error("the PKCS#11 module {} cannot be found", path.display())]
    ModuleMissing {
        /// The module.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file cannot be loaded as a PKCS#11 module: it is not such a module, or not for this machine, or a library
    /// that the module needs is missing.
    #[error("cannot load {} as a PKCS#11 module", path.display())]
    NotAModule {
        /// The file.
        path: PathBuf,
        /// The error of the loader.
        source: TokenFault,
    },
    /// The module failed to initialize.
    #[error("the PKCS#11 module {} failed to initialize", path.display())]
    ModuleFailed {
        /// The module.
        path: PathBuf,
        /// The answer of the module.
        source: TokenFault,
    },
    /// No initialized token of the module matches the URI: the token is not inserted, or belongs to another module.
    #[error("no token with {wanted} in {}; tokens in this module: {}", module.display(), listed(found))]
    TokenMissing {
        /// The attributes of the URI that describe the token.
        wanted: String,
        /// The module.
        module: PathBuf,
        /// The labels of the initialized tokens that the module has, in quotes.
        found: Vec<String>,
    },
    /// Several tokens match the URI.
    #[error("{count} tokens match {wanted}")]
    TokenAmbiguous {
        /// The attributes of the URI that describe the token.
        wanted: String,
        /// The number of tokens that match.
        count: usize,
    },
    /// A token with this label already exists and has a user PIN.
    #[error("a token with the label {label:?} already exists")]
    TokenExists {
        /// The label.
        label: String,
    },
    /// The label of a new token is empty or longer than 32 bytes.
    #[error("{label:?} cannot be a token's label: a label must have 1 to 32 bytes")]
    TokenLabel {
        /// The label.
        label: String,
    },
    /// The module has no blank (uninitialized) token.
    #[error("the module {} has no blank token", module.display())]
    NoBlankToken {
        /// The module.
        module: PathBuf,
    },
    /// There is no PIN in the place where it should come from: a file, an environment variable, or a prompt.
    #[error("cannot get a PIN from {origin}")]
    PinMissing {
        /// The file, the environment variable or the prompt. If the PIN from there is empty, the text also says so.
        origin: String,
        /// The error of reading the file; `None` for other sources, and for an empty PIN.
        source: Option<io::Error>,
    },
    /// The token refused the PIN. This PIN is not tried again.
    #[error("the PIN of {token} is wrong")]
    PinIncorrect {
        /// The token.
        token: String,
    },
    /// The token refused this PIN in an earlier process, and a file next to the node's files records this. The PIN is
    /// not tried again.
    #[error("{token} refused this PIN before, so it is not tried again (recorded in {})", path.display())]
    PinRefused {
        /// The token.
        token: String,
        /// The file that records refused PINs.
        path: PathBuf,
    },
    /// The token refused so many PINs that only a PIN typed at a prompt may be tried next.
    #[error(
        "{token} refused several PINs since the last login; only a PIN typed at a prompt is tried now (recorded in {})",
        path.display()
    )]
    PinTriesSpent {
        /// The token.
        token: String,
        /// The file that records refused PINs.
        path: PathBuf,
    },
    /// The token locked the PIN after too many wrong attempts.
    #[error("the PIN of {token} is locked")]
    PinLocked {
        /// The token.
        token: String,
    },
    /// The token locks the PIN after one more wrong attempt. kc makes this attempt only with a user PIN that was typed
    /// at a prompt, and never with the security officer's PIN.
    #[error(
        "the PIN of {token} will be locked by one more wrong attempt, so this PIN was not tried"
    )]
    PinLastTry {
        /// The token.
        token: String,
    },
    /// The token requires a new PIN.
    #[error("the PIN of {token} has expired")]
    PinExpired {
        /// The token.
        token: String,
    },
    /// The token does not accept this value as a new PIN.
    #[error("the token does not accept this PIN for its {whose}{}", in_bytes(*lengths))]
    PinUnsuitable {
        /// "user" or "security officer".
        whose: &'static str,
        /// The minimum and the maximum length of a PIN, in bytes, if the length of this PIN is the reason. A maximum of
        /// 0 means that there is no maximum.
        lengths: Option<(usize, usize)>,
    },
    /// A PIN could not be hashed for the record of refused PINs. The cause is a fault of kc, not the PIN.
    #[error("cannot hash the PIN")]
    PinHash,
    /// The token is initialized, but has no user PIN yet.
    #[error("{token} has no user PIN yet")]
    PinNotSet {
        /// The token.
        token: String,
    },
    /// The token lacks mechanisms that the operation needs.
    #[error("the token lacks {}\n{}", mechanisms.join(", "), table.to_string().trim_end())]
    Lacks {
        /// The names of the missing mechanisms.
        mechanisms: Vec<&'static str>,
        /// All mechanisms that nodes use, and which of them the token has.
        table: Capabilities,
    },
    /// A node cannot have this id, because earlier versions labelled roots of trust and provisioners with it.
    #[error(
        "a node on a token cannot be called {0}: earlier versions used this name for roots of trust and provisioners"
    )]
    ReservedId(String),
    /// The operation does not accept this label of an object. The label of a node's object has the form
    /// `kc:<node>:<instance>:<role>`.
    #[error("{0:?} is not a label of the form kc:<node>:<instance>:<role>")]
    NotALabel(String),
    /// The token has no object of this class with this label.
    #[error("the token has no {what} with the label {label}")]
    ObjectMissing {
        /// The class of the object: "private key", "public key" or "secret key".
        what: &'static str,
        /// The label of the object.
        label: String,
    },
    /// The SLH-DSA half of a key is neither on the token nor sealed in the configuration.
    #[error("the SLH-DSA key {label} is neither on the token nor sealed in the configuration")]
    SlhDsaMissing {
        /// The label that this half would have on the token.
        label: String,
    },
    /// The sealed SLH-DSA half of a key did not sign.
    #[error("the sealed SLH-DSA key {label} did not sign")]
    SlhDsaFailed {
        /// The label that this half would have on the token.
        label: String,
        /// The reason.
        source: KeyError,
    },
    /// The token has several objects of this class with this label, and nothing distinguishes them.
    #[error("the token has {count} objects of the class {what} with the label {label}")]
    ObjectAmbiguous {
        /// The class of the objects: "private key", "public key" or "secret key".
        what: &'static str,
        /// The label of the objects.
        label: String,
        /// The number of objects.
        count: usize,
    },
    /// The token already has an object with this label.
    #[error("the token already has an object with the label {label}")]
    ObjectExists {
        /// The label of the object.
        label: String,
    },
    /// The token already has keys of a node with this id. These keys may be in use.
    #[error("the token already has keys of a node with this id: {label}")]
    NodeExists {
        /// The label of one of those keys.
        label: String,
    },
    /// A new node cannot adopt keys on the token: there are no such keys, they belong to several nodes, they are in
    /// use, or an earlier version of kc created them.
    #[error("cannot adopt keys for node {node}: {problem}")]
    NotAdoptable {
        /// The node's id.
        node: String,
        /// The reason.
        problem: &'static str,
    },
    /// The replacement of the key that seals values ([`OpaqueRotation`](crate::OpaqueRotation)) was interrupted.
    #[error(
        "the replacement of the key that seals values is unfinished: the old key {label} is still on the token"
    )]
    RotationUnfinished {
        /// The label of the key that is being replaced.
        label: String,
    },
    /// A key could leave the token: the token does not report that the key is sensitive and non-extractable.
    #[error(
        "the key {label} could leave the token: the token does not report that it is {attribute}"
    )]
    Exposed {
        /// The label of the key.
        label: String,
        /// The property that the token does not report for the key: "sensitive" or "non-extractable".
        attribute: &'static str,
    },
    /// The halves of a key pair do not belong together, or an object has a wrong form.
    #[error("the object {label} cannot be used: {problem}")]
    BadObject {
        /// The label of the object.
        label: String,
        /// The reason.
        problem: &'static str,
    },
    /// The key on the token is not one of the keys that the node's configuration names.
    #[error("the key {found} on the token is not one of the node's keys, which are {pinned}")]
    KeyChanged {
        /// The fingerprint of the key on the token.
        found: String,
        /// The fingerprints in the configuration.
        pinned: String,
    },
    /// The token has no signing key of this type. `None` means that it has no signing key of any type that the node
    /// uses.
    #[error("the token has no signing key{}", of_type(*.0))]
    NoSigningKey(Option<KeyType>),
    /// The node whose keys are to be imported from its files has two signing keys of one type. A token holds only one
    /// of each type.
    #[error("the node has two signing keys of type {}, but a token holds only one of each type", .0.version())]
    TwoKeys(KeyType),
    /// A key failed its self-test: its signature does not verify, or it does not open what it sealed.
    #[error("the key {label} fails its self-test")]
    SelfTest {
        /// The label of the key.
        label: String,
    },
    /// A sealed value cannot be opened, because its authentication tag is wrong or its form is unknown.
    #[error("{what} does not open: it was altered, or another key sealed it")]
    Unauthentic {
        /// The kind of value.
        what: &'static str,
    },
    /// The token does not have the wrapping key of the step in the ratchet's file, which opens the file. The file or
    /// the token is older than the other, for example because one of them was restored from a backup.
    #[error("ratchet in {}: the wrapping key of step {index} is gone{}", path.display(), token_at(*.newest))]
    RolledBack {
        /// The ratchet's file.
        path: PathBuf,
        /// The step in the file.
        index: u64,
        /// The highest step for which the token has a key; `None` if the token has no key of this ratchet.
        newest: Option<u64>,
    },
    /// The token has the key for the step in the file, and also a key whose step differs from it by more than one. This
    /// second key must belong to another ratchet, because an interrupted step leaves only a key of a neighbouring step.
    #[error("ratchet in {}: the file is at step {index}, but the token also has a key of step {found}", path.display())]
    ForeignRatchet {
        /// The ratchet's file.
        path: PathBuf,
        /// The step in the file.
        index: u64,
        /// The step of the other key.
        found: u64,
    },
    /// The file does not hold a ratchet.
    #[error("ratchet in {}: the file is malformed", path.display())]
    MalformedRatchet {
        /// The ratchet's file.
        path: PathBuf,
    },
    /// A new ratchet would begin at a step that an earlier ratchet of this node may have used.
    #[error("ratchet in {}: a new ratchet cannot begin at step {index}, because the earlier ratchet has reached step {known}", path.display())]
    RatchetRepeats {
        /// The ratchet's file.
        path: PathBuf,
        /// The first index of the new ratchet.
        index: u64,
        /// The next step of the earlier ratchet, according to the file and the token.
        known: u64,
    },
    /// A new ratchet cannot be created, because the token already has a ratchet key of this node. The file
    /// that belongs to this key may be in another folder.
    #[error("ratchet in {}: the token already has a key of step {found}", path.display())]
    RatchetKeyLeft {
        /// The file for the new ratchet.
        path: PathBuf,
        /// The step of the key.
        found: u64,
    },
    /// The file of the ratchet already exists.
    #[error("ratchet in {}: the file already exists", path.display())]
    RatchetExists {
        /// The ratchet's file.
        path: PathBuf,
    },
    /// The ratchet has reached its last index.
    #[error("ratchet in {}: it has reached its last step", path.display())]
    RatchetExhausted {
        /// The ratchet's file.
        path: PathBuf,
    },
    /// Another process, or another part of this process, has the ratchet open.
    #[error("ratchet in {}: it is in use", path.display())]
    RatchetInUse {
        /// The ratchet's file.
        path: PathBuf,
    },
    /// The lock file was deleted or replaced while the ratchet was open or being opened. Another process may have
    /// opened the ratchet since then.
    #[error("ratchet in {}: its lock file was deleted or replaced while the node was open; another process may have opened the node since then", path.display())]
    RatchetLockLost {
        /// The ratchet's file.
        path: PathBuf,
    },
    /// A file on this host cannot be read, written or locked.
    #[error("cannot {action} {}", path.display())]
    File {
        /// The action that failed: "read", "write" or "lock".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The token or its PKCS#11 module did not answer within the time limit of [`Patience`](crate::Patience).
    #[error("the token does not answer")]
    Silent,
    /// [`Patience::end`](crate::Patience::end) ended the wait before the token answered.
    #[error("the wait for the token was ended before the token answered")]
    Ended,
    /// The operating system did not start a thread for the calls to the token.
    #[error("cannot start a thread to ask the token")]
    Thread(#[source] io::Error),
    /// The operating system yields no random numbers.
    #[error("cannot get random numbers from the operating system")]
    Random(#[source] rand::rngs::SysError),
    /// The token is gone: the connection was lost, and the call does not reconnect, or reconnecting once did not help.
    #[error("cannot {action}: the token is gone")]
    Gone {
        /// The action that failed.
        action: &'static str,
        /// The answer of the module.
        source: TokenFault,
    },
    /// A call of the PKCS#11 module failed for another reason.
    #[error("cannot {action}")]
    Token {
        /// The action that failed.
        action: &'static str,
        /// The answer of the module.
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

fn in_bytes(lengths: Option<(usize, usize)>) -> String {
    match lengths {
        None => String::new(),
        Some((min, 0)) => format!(": a PIN must have at least {min} bytes"),
        Some((min, max)) => format!(": a PIN must have {min} to {max} bytes"),
    }
}

fn of_type(key_type: Option<KeyType>) -> String {
    key_type.map_or_else(String::new, |key_type| {
        format!(" of type {}", key_type.version())
    })
}

fn token_at(newest: Option<u64>) -> String {
    newest.map_or_else(
        || ", and the token has no other key of this ratchet".to_owned(),
        |newest| format!("; the token is at step {newest}"),
    )
}

impl HsmError {
    /// Returns a function that turns an error of the module into a [`Token`](Self::Token) error. `action` is the action
    /// that failed.
    pub(crate) fn call(action: &'static str) -> impl Fn(cryptoki::error::Error) -> Self {
        move |source| Self::Token {
            action,
            source: source.into(),
        }
    }

    /// Returns whether the session, the login, a handle, the token or the initialization of the module is lost, so that
    /// reconnecting may help.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self, Self::Token { source, .. } if source.is_lost())
    }

    /// Turns a [`Token`](Self::Token) error into [`Gone`](Self::Gone). The caller does not reconnect, or reconnecting
    /// has failed.
    pub(crate) fn given_up(self) -> Self {
        match self {
            Self::Token { action, source } => Self::Gone { action, source },
            error => error,
        }
    }

    /// Turns the error into [`Gone`](Self::Gone) if [`is_lost`](Self::is_lost) holds for it. Returns other errors
    /// unchanged.
    pub(crate) fn given_up_if_lost(self) -> Self {
        if self.is_lost() {
            self.given_up()
        } else {
            self
        }
    }
}

/// The cause of a failed call of a PKCS#11 module. If the module answered the call, `Display` names the function and
/// the return value. Otherwise it shows the error of the `cryptoki` crate, for example if the module cannot be loaded.
pub struct TokenFault(cryptoki::error::Error);

impl TokenFault {
    /// Returns the PKCS#11 return value; `None` if the error comes from the `cryptoki` crate, not from the module.
    pub(crate) fn value(&self) -> Option<RvError> {
        match &self.0 {
            cryptoki::error::Error::Pkcs11(value, _) => Some(*value),
            _ => None,
        }
    }

    /// Returns whether the session, the login, a handle, the token or the initialization of the module is lost.
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
            // The `Display` of cryptoki would print a whole paragraph of the PKCS#11 standard.
            cryptoki::error::Error::Pkcs11(value, function) => {
                write!(f, "C_{function:?} returned {value:?}")
            }
            error => error.fmt(f),
        }
    }
}

impl Error for TokenFault {}

#[cfg(test)]
mod tests;
