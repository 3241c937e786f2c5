use std::error::Error;
use std::fmt;

/// The kind of a store's failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The requested data does not exist.
    Missing,
    /// Another process, or another part of this process, uses the data, or may use it because a lock was lost.
    InUse,
    /// The data is not in the expected form, because it is truncated, altered, or something else.
    Malformed,
    /// The operating system or the token denies the access.
    Permission,
    /// Reading or writing failed.
    Io,
    /// The store did not answer in time.
    Timeout,
    /// A sealed value does not open: it was altered, or sealed with another key.
    Unauthentic,
    /// The ratchet has no step left.
    Exhausted,
    /// Any other failure.
    Other,
}

/// A failure of a store: a [`KeyStore`](super::KeyStore), a [`RatchetStore`](super::RatchetStore) or an archive.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    context: String,
    advice: Option<&'static str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// Creates an error of the given kind. `context` names the operation and its object ("read n1.crypto").
    #[must_use]
    pub fn new(kind: StoreErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            advice: None,
            source: None,
        }
    }

    /// Adds advice for the operator.
    #[must_use]
    pub fn with_advice(mut self, advice: &'static str) -> Self {
        self.advice = Some(advice);
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Returns the advice for the operator, if there is any.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        self.advice
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            StoreErrorKind::Missing => "not found",
            StoreErrorKind::InUse => "in use, or a lock was lost",
            StoreErrorKind::Malformed => "malformed",
            StoreErrorKind::Permission => "not permitted",
            StoreErrorKind::Io => "reading or writing failed",
            StoreErrorKind::Timeout => "no answer in time",
            StoreErrorKind::Unauthentic => "a sealed value does not open with this key",
            StoreErrorKind::Exhausted => "no ratchet step left",
            StoreErrorKind::Other => "failed",
        };
        write!(f, "{}: {kind}", self.context)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
