use std::error::Error;
use std::fmt;

/// What kind of thing a store could not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// What is asked for is not there.
    Missing,
    /// Another process holds it.
    InUse,
    /// It is there and makes no sense: truncated, altered, or something else altogether.
    Malformed,
    /// The system or the token does not allow it.
    Permission,
    /// Reading or writing failed.
    Io,
    /// It does not answer.
    Timeout,
    /// A wrapped value does not open.
    Unauthentic,
    /// The ratchet has no step left.
    Exhausted,
    /// Anything else.
    Other,
}

/// A failure of a [`KeyStore`](super::KeyStore) or [`RatchetStore`](super::RatchetStore).
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    context: String,
    advice: Option<&'static str>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error of a kind, with what was being done and where ("read n1.crypto").
    #[must_use]
    pub fn new(kind: StoreErrorKind, context: impl Into<String>) -> Self {
        Self {
            kind,
            context: context.into(),
            advice: None,
            source: None,
        }
    }

    /// With what a person can do about it.
    #[must_use]
    pub fn with_advice(mut self, advice: &'static str) -> Self {
        self.advice = Some(advice);
        self
    }

    /// With the cause behind it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// What a person can do about it, if the store knows.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        self.advice
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            StoreErrorKind::Missing => "not there",
            StoreErrorKind::InUse => "in use by another process",
            StoreErrorKind::Malformed => "malformed",
            StoreErrorKind::Permission => "not permitted",
            StoreErrorKind::Io => "reading or writing failed",
            StoreErrorKind::Timeout => "no answer in time",
            StoreErrorKind::Unauthentic => "does not open",
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
