//! Advice on errors, in the same words for the library and for the program.

use std::error::Error as StdError;

use kc_actors::key_table::PrepareError;
use kc_actors::ratchet::RatchetError;
use kc_actors::{ConsumeError, NodeError, Reason};
use kc_core::backend::{BackendError, BackendErrorKind};
use kc_core::store::{StoreError, StoreErrorKind};

const NOT_TOGETHER: &str =
    "the .config and .crypto files do not belong together: restore both from the same backup";

pub(crate) fn advice(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    if let Some(error) = error.downcast_ref::<BackendError>() {
        return on_kafka(error);
    }
    if let Some(error) = error.downcast_ref::<NodeError>() {
        return on_node(error);
    }
    if let Some(error) = error.downcast_ref::<PrepareError>() {
        return on_prepare(error);
    }
    if let Some(error) = error.downcast_ref::<ConsumeError>() {
        return on_consume(error);
    }
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return on_store(error);
    }
    #[cfg(feature = "file")]
    return files::advice(error);
    #[cfg(not(feature = "file"))]
    None
}

fn on_consume(error: &ConsumeError) -> Option<&'static str> {
    let failure = match error {
        ConsumeError::Backend(error) | ConsumeError::DeadLetter { error, .. } => {
            return on_kafka(error);
        }
        ConsumeError::Foreign { failure, .. } => failure,
        _ => return None,
    };
    Some(match Reason::of(failure)? {
        Reason::Expired => {
            "renew the chain: `kc chain issue`. With --undecryptable expired=hold the consumer waits for a new chain"
        }
        Reason::NotAuthorized => {
            "the node needs a chain that grants the topic: `kc chain issue --topics`. With --undecryptable \
             not-authorized=hold the consumer waits for such a chain"
        }
        _ => {
            "--undecryptable foreign=skip leaves out records that are not sealed; the policies deliver and \
             dead-letter:TOPIC keep them, and other reasons have policies, too (in the library: \
             ConsumerBuilder::undecryptable)"
        }
    })
}

fn on_node(error: &NodeError) -> Option<&'static str> {
    match error {
        #[cfg(feature = "file")]
        NodeError::Config(error) => Some(files::on_config(error)),
        NodeError::Store(error) => on_store(error),
        NodeError::RetainedKeys(behind) => Some(behind.advice().unwrap_or(NOT_TOGETHER)),
        NodeError::RetainedKeysFormat(_) => Some(NOT_TOGETHER),
        _ => None,
    }
}

fn on_prepare(error: &PrepareError) -> Option<&'static str> {
    match error {
        PrepareError::Ratchet(RatchetError::Ratchet(behind) | RatchetError::Archive(behind)) => {
            on_store(behind)
        }
        PrepareError::Ratchet(RatchetError::NoRatchet) => Some(
            "the node's .config has no entry `ratchet`: restore the entry from a backup, or provision the node again \
             as a producer with --force",
        ),
        _ => None,
    }
}

fn on_store(error: &StoreError) -> Option<&'static str> {
    if let Some(advice) = error.advice() {
        return Some(advice);
    }
    #[cfg(feature = "file")]
    if let Some(advice) = files::behind(error) {
        return Some(advice);
    }
    match error.kind() {
        StoreErrorKind::Malformed | StoreErrorKind::Unauthentic => Some(
            "the file is damaged, or belongs to another node: restore it from a backup, or provision the node again with --force",
        ),
        StoreErrorKind::Exhausted => Some("provision the node again with --force"),
        _ => None,
    }
}

fn on_kafka(error: &BackendError) -> Option<&'static str> {
    use BackendErrorKind as Kind;
    if let Some(advice) = error.advice() {
        return Some(advice);
    }
    Some(match error.kind() {
        Kind::Unreachable | Kind::Timeout => {
            "check that the broker runs, and check its address: -b HOST:PORT, or bootstrap_servers in the node's \
             .config; `kc broker` starts a broker to try things out"
        }
        Kind::AdvertisedAddress => {
            "correct `advertised.listeners` of the broker: clients connect to the addresses in it, so this computer \
             must be able to resolve and reach them"
        }
        Kind::UnknownTopic => "create the topic: kc topics create TOPIC -b HOST:PORT",
        Kind::Tls => {
            "ssl_cafile must name a file with the certificate of the broker's certificate authority; for a broker \
             without TLS, use --security-protocol PLAINTEXT"
        }
        Kind::Authentication => "check the user name, the password and the client certificate",
        Kind::Authorization => {
            "ask the administrator of the broker to give this user the right for the operation"
        }
        Kind::RecordTooLarge => {
            "raise the limit of kc with -X max_request_size=BYTES, and the limit of the topic with its setting \
             max.message.bytes"
        }
        Kind::InvalidTimestamp => {
            "compare the clocks of this computer and of the broker. The topic's settings message.timestamp.before.max.ms \
             and message.timestamp.after.max.ms limit the difference"
        }
        Kind::Configuration if error.context().contains("bootstrap_servers") => {
            "name the broker: -b HOST:PORT"
        }
        Kind::Configuration => {
            "correct the setting in -X, in the environment or in the node's .config"
        }
        Kind::Unsupported => {
            "select another Kafka client with --backend, or with `backend` in the node's .config"
        }
        Kind::Rebalance => {
            "no record is lost: records that were acknowledged after the last commit are delivered again"
        }
        _ => return None,
    })
}

#[cfg(feature = "file")]
mod files {
    use std::error::Error;

    use kc_core::store::config::ConfigStoreError;
    use kc_core::store::{NodeSecretsError, StoreError};
    use kc_keystore_file::{EntryError, FileError, FindError, LOCK_LOST_ADVICE, SettingsError};

    use crate::token_error::TokenError;

    pub(super) fn advice(error: &(dyn Error + 'static)) -> Option<&'static str> {
        if let Some(error) = error.downcast_ref::<FileError>() {
            return on_file(error);
        }
        if let Some(error) = error.downcast_ref::<ConfigStoreError>() {
            return Some(on_config(error));
        }
        if let Some(error) = error.downcast_ref::<TokenError>() {
            return Some(on_token(error));
        }
        #[cfg(feature = "hsm")]
        if let Some(error) = error.downcast_ref::<kc_keystore_hsm::HsmError>() {
            return Some(error.advice());
        }
        if let Some(FindError::NotFound { .. }) = error.downcast_ref() {
            return Some(
                "`kc provision ROLE --node ID` creates a node, `kc node list` shows the existing nodes; KC_HOME names \
                 the folder of your nodes",
            );
        }
        if error.is::<FindError>() {
            return Some("name the node by the path of its .config file");
        }
        if error.is::<SettingsError>() {
            return Some("correct the setting at the place that the error names");
        }
        let of_keys = error.is::<EntryError>() || error.is::<NodeSecretsError>();
        of_keys.then_some("correct the node's .config file")
    }

    fn on_token(error: &TokenError) -> &'static str {
        match error {
            TokenError::PinNeeded { .. } => {
                "add pin-source=file:/PATH to the URI of the token to name a file with the PIN, or set the environment \
                 variable KC_HSM_PIN"
            }
            TokenError::NoTokens => "build kc with the feature `hsm`",
            TokenError::TokenKeyMissing { .. } => {
                "the entry says which keys the token must have: restore the .config file from a backup, or provision the node \
                 again with --force"
            }
            TokenError::Moving { .. } | TokenError::MovingElsewhere { .. } => {
                "to finish the move, run `kc hsm import` with that token; to undo it and keep the node in files, run \
                 `kc hsm undo-import`; until one of them succeeds, the ratchet takes no step, because it may already \
                 be on the token"
            }
            TokenError::NotMoving => "`kc hsm import` moves a node onto a token",
            TokenError::NotOnToken => {
                "check that this is the right node; `kc hsm import` moves a node from its files onto a token"
            }
            TokenError::NoRatchet => {
                "only a node whose .config has an entry `ratchet` that names the token has a ratchet there: check that \
                 this is the right node"
            }
            TokenError::OnTokenAlready => {
                "check that this is the right node: there is nothing to move or to undo; `kc hsm list` shows the keys on a \
                 token"
            }
            TokenError::UsedOnToken { .. } => {
                "the .config file is older than the end of the move: put back the newer file, which names the token; if it \
                 is lost, `kc provision --force --keystore` makes a new node with this id, and keeps the old keys"
            }
            TokenError::TokenKeys { .. } => "correct the node's .config file",
        }
    }

    pub(super) fn on_config(error: &ConfigStoreError) -> &'static str {
        let of_file = match error {
            ConfigStoreError::Storage(source) => source.downcast_ref().and_then(on_file),
            _ => None,
        };
        of_file.unwrap_or(match error {
            ConfigStoreError::Config { .. } => "correct the .config file at that place",
            _ => "the .config file must be readable, and must contain UTF-8 text",
        })
    }

    /// Returns the advice on a file error among the sources of `error`.
    pub(super) fn behind(error: &StoreError) -> Option<&'static str> {
        let mut behind = error.source();
        while let Some(error) = behind {
            if let Some(advice) = error.downcast_ref().and_then(on_file) {
                return Some(advice);
            }
            behind = error.source();
        }
        None
    }

    fn on_file(error: &FileError) -> Option<&'static str> {
        Some(match error {
            FileError::Missing { .. } => {
                "restore the missing file from a backup, or provision the node again with --force: the .config file \
                 of a node names its keys (.crypto) and, if it has a ratchet, its ratchet (.seed)"
            }
            FileError::Permission { .. } => {
                "run kc as the user that owns the node's files; if their folder is read-only, name a folder that kc can \
                 write in the entry `state_dir` of the .config file (a ratchet must be in such a folder, too)"
            }
            FileError::InUse { .. } => {
                "only one process may have a node open: stop the other process, or provision a second node; \
                 `kc node status` shows the state of the running node"
            }
            FileError::LockLost { .. } => LOCK_LOST_ADVICE,
            FileError::Exists { .. } => {
                "--force replaces the node; late consumers then cannot open records that were sealed with its old keys"
            }
            FileError::TooLarge { .. } | FileError::NotAFile { .. } => {
                "the file does not belong to a node: check the path"
            }
            FileError::Link { .. } => {
                "kc would overwrite the file that the link points to: remove the link, and find out which program created it"
            }
            FileError::BadNodeId { .. } => "a node id must be a plain file name, such as sensors-1",
            _ => return None,
        })
    }
}
