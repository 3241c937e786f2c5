use std::error::Error as StdError;
use std::fmt;

use kc_actors::key_table::PrepareError;
use kc_actors::{ConsumeError, NodeError, OpenFailure, ProduceError, SealError};
use kc_core::backend::{BackendError, BackendErrorKind};
use kc_core::chain::ChainError;
use kc_core::text::with_sources;

use crate::advice::advice;

/// The reason why an operation failed: a [kind](Self::kind), a text, a [`source`](std::error::Error::source), and
/// often [advice](Self::advice).
///
/// `Debug` prints the text, the sources and the advice in readable form. A `main` function that returns `Result<(),
/// kc::Error>` therefore prints:
///
/// ```text
/// Error: send to readings: no broker answers: connection refused
/// advice: check that the broker runs, and check its address: ...
/// ```
pub struct Error {
    kind: ErrorKind,
    inner: Box<dyn StdError + Send + Sync>,
}

/// The kind of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The node was not found, or the given path does not name exactly one node.
    NotFound,
    /// A file of the node cannot be read or written, or another process has the node open.
    Files,
    /// A setting or an entry of the node's configuration is invalid. Invalid entries that describe the node's keys are
    /// [`Keys`](Self::Keys) errors.
    Configuration,
    /// The keys of the node cannot be used: their files, their token or the ratchet failed, or an entry of the
    /// configuration that describes the keys is invalid.
    Keys,
    /// The PIN of the token is unknown.
    PinNeeded,
    /// A certificate chain is invalid, or does not grant the right for the operation.
    Refused,
    /// The Kafka client or the broker failed.
    Kafka(BackendErrorKind),
    /// A Kafka key or value cannot be sealed.
    Seal,
    /// A Kafka key or value cannot be opened, or is not sealed.
    Open,
    /// The node or the client is closed.
    Closed,
    /// The node was not closed before the deadline. Timeouts of Kafka are [`Kafka`](Self::Kafka) errors, and timeouts
    /// of a token are [`Keys`](Self::Keys) errors.
    Timeout,
    /// Any other failure.
    Other,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, inner: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind,
            inner: inner.into(),
        }
    }

    /// Wraps an error of the application, for functions that return errors of kc and of the application.
    pub fn other(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(ErrorKind::Other, error)
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns advice on the failure, if there is any.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        advice(self.get_ref())
    }

    /// Returns whether another attempt can succeed without changes, for example because no broker answered this time,
    /// or because a data key may still arrive.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        let error = self.get_ref();
        let of_kafka = error.downcast_ref::<BackendError>();
        let of_record = error.downcast_ref::<OpenFailure>();
        of_kafka.is_some_and(BackendError::is_retriable)
            || of_record.is_some_and(OpenFailure::may_still_open)
    }

    /// Returns the error of the part that failed, for example a [`BackendError`] or an
    /// [`TokenError`](crate::maintenance::TokenError).
    #[must_use]
    pub fn get_ref(&self) -> &(dyn StdError + 'static) {
        &*self.inner
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&with_sources(self))?;
        match self.advice() {
            Some(advice) => write!(f, "\nadvice: {advice}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inner.source()
    }
}

impl From<BackendError> for Error {
    fn from(error: BackendError) -> Self {
        let kind = match error.kind() {
            BackendErrorKind::Closed => ErrorKind::Closed,
            kind => ErrorKind::Kafka(kind),
        };
        Self::new(kind, error)
    }
}

impl From<NodeError> for Error {
    fn from(error: NodeError) -> Self {
        let kind = match &error {
            NodeError::Config(_) | NodeError::Value(_) | NodeError::Entry { .. } => {
                ErrorKind::Configuration
            }
            NodeError::Store(_) | NodeError::RetainedKeys(_) | NodeError::RetainedKeysFormat(_) => {
                ErrorKind::Keys
            }
            NodeError::NotGranted(_) => ErrorKind::Refused,
            NodeError::Closed => ErrorKind::Closed,
            _ => ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl From<PrepareError> for Error {
    fn from(error: PrepareError) -> Self {
        let kind = match &error {
            PrepareError::Closed(_) => ErrorKind::Closed,
            _ => ErrorKind::Keys,
        };
        Self::new(kind, error)
    }
}

impl From<SealError> for Error {
    fn from(error: SealError) -> Self {
        let kind = match &error {
            SealError::Closed => ErrorKind::Closed,
            _ => ErrorKind::Seal,
        };
        Self::new(kind, error)
    }
}

impl From<OpenFailure> for Error {
    fn from(error: OpenFailure) -> Self {
        let kind = match &error {
            OpenFailure::Closed => ErrorKind::Closed,
            _ => ErrorKind::Open,
        };
        Self::new(kind, error)
    }
}

impl From<ProduceError> for Error {
    fn from(error: ProduceError) -> Self {
        match error {
            ProduceError::Backend(error) => error.into(),
            ProduceError::Prepare(error) => error.into(),
            ProduceError::Seal(error) => error.into(),
            error => Self::new(ErrorKind::Other, error),
        }
    }
}

impl From<ConsumeError> for Error {
    fn from(error: ConsumeError) -> Self {
        let kind = match error {
            ConsumeError::Backend(error) => return error.into(),
            ConsumeError::Closed => ErrorKind::Closed,
            ConsumeError::Foreign { .. } => ErrorKind::Open,
            ConsumeError::DeadLetter { ref error, .. } => ErrorKind::Kafka(error.kind()),
            _ => ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl From<ChainError> for Error {
    fn from(error: ChainError) -> Self {
        Self::new(ErrorKind::Refused, error)
    }
}

#[cfg(feature = "file")]
mod of_files {
    use kc_core::store::config::{ConfigError, ConfigStoreError};
    use kc_core::store::{NodeSecretsError, StoreError};
    use kc_keystore_file::{EntryError, FileError, FindError, SettingsError};

    use super::{Error, ErrorKind};
    use crate::token_error::TokenError;

    macro_rules! kinds {
        ($($error:ty => $kind:ident),* $(,)?) => {$(
            impl From<$error> for Error {
                fn from(error: $error) -> Self {
                    Self::new(ErrorKind::$kind, error)
                }
            }
        )*};
    }

    kinds! {
        FindError => NotFound,
        FileError => Files,
        ConfigError => Configuration,
        ConfigStoreError => Configuration,
        SettingsError => Configuration,
        EntryError => Keys,
        NodeSecretsError => Keys,
        StoreError => Keys,
    }

    #[cfg(feature = "hsm")]
    kinds!(kc_keystore_hsm::HsmError => Keys);

    impl From<TokenError> for Error {
        fn from(error: TokenError) -> Self {
            let kind = match error {
                TokenError::PinNeeded { .. } => ErrorKind::PinNeeded,
                _ => ErrorKind::Keys,
            };
            Self::new(kind, error)
        }
    }
}

#[cfg(test)]
mod tests {
    use kc_core::types::KeyId;

    use super::*;

    #[test]
    fn what_another_attempt_can_change_is_retriable() {
        let kafka = |kind| Error::from(BackendError::new(kind, "send to t"));
        assert!(kafka(BackendErrorKind::Unreachable).is_retriable());
        assert!(!kafka(BackendErrorKind::Authorization).is_retriable());
        let (id, why) = (KeyId::Short(1), kc_actors::Awaiting::NotYet);
        let awaiting = OpenFailure::AwaitingKey { id, why };
        assert!(Error::from(awaiting).is_retriable());
        assert!(!Error::from(OpenFailure::Closed).is_retriable());
    }

    #[test]
    fn debug_is_for_people() {
        let behind = std::io::Error::other("connection refused");
        let error =
            BackendError::new(BackendErrorKind::Unreachable, "send to t").with_source(behind);
        let error = Error::from(error);
        assert_eq!(error.to_string(), "send to t: no broker answers");
        let shown = format!("{error:?}");
        let (text, advice) = shown.split_once('\n').unwrap();
        assert_eq!(text, "send to t: no broker answers: connection refused");
        assert!(
            advice.starts_with("advice: check that the broker runs"),
            "{advice}"
        );
        assert_eq!(
            error.kind(),
            ErrorKind::Kafka(BackendErrorKind::Unreachable)
        );
    }
}
