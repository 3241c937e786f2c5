use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// What kind of thing went wrong, whichever client it went wrong in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendErrorKind {
    /// No broker answers at any of the addresses.
    Unreachable,
    /// The deadline passed first.
    Timeout,
    /// The topic or partition does not exist, and was not created.
    UnknownTopic,
    /// The topic exists already.
    TopicExists,
    /// User name, password or certificate is wrong.
    Authentication,
    /// The broker forbids it to this user.
    Authorization,
    /// The TLS handshake failed: unknown authority, wrong host name, or no TLS on the other side.
    Tls,
    /// The record is larger than the broker takes.
    RecordTooLarge,
    /// The broker refuses for a reason of its own, such as a full disk or a policy.
    Rejected,
    /// Membership in the consumer group was lost; polling again joins anew.
    Rebalance,
    /// The settings make no sense to this backend.
    Configuration,
    /// This backend cannot do it; see [`Capabilities`](super::Capabilities).
    Unsupported,
    /// It was closed before.
    Closed,
    /// Anything else.
    Other,
}

/// Something a Kafka client could not do. Clones share the client's own error.
#[derive(Clone, Debug)]
pub struct BackendError {
    kind: BackendErrorKind,
    context: String,
    retriable: bool,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl BackendError {
    /// An error of a kind, with what was being done and to whom ("send to topic x at 127.0.0.1:9092").
    #[must_use]
    pub fn new(kind: BackendErrorKind, context: impl Into<String>) -> Self {
        use BackendErrorKind::{Rebalance, Timeout, Unreachable};
        Self {
            kind,
            context: context.into(),
            retriable: matches!(kind, Unreachable | Timeout | Rebalance),
            source: None,
        }
    }

    /// With the client's own error behind it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// With another answer to whether trying again can help than the kind suggests.
    #[must_use]
    pub fn retriable(mut self, retriable: bool) -> Self {
        self.retriable = retriable;
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> BackendErrorKind {
        self.kind
    }

    /// What was being done.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.context
    }

    /// Whether trying again, unchanged, can help.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        self.retriable
    }

    /// Whether a topic that could not be created may be used all the same, if it is there: it exists, or creating
    /// it is not for this client, now or later.
    #[must_use]
    pub fn leaves_topic_to_others(&self) -> bool {
        use BackendErrorKind::{Authorization, Rejected, TopicExists, Unsupported};
        match self.kind {
            TopicExists => true,
            Authorization | Rejected | Unsupported => !self.retriable,
            _ => false,
        }
    }

    /// Whether only a person can help: settings, rights or the broker must change.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        use BackendErrorKind::{Authentication, Authorization, Configuration, Tls, Unsupported};
        matches!(
            self.kind,
            Authentication | Authorization | Configuration | Tls | Unsupported
        )
    }
}

impl fmt::Display for BackendErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "no broker answers",
            Self::Timeout => "timed out",
            Self::UnknownTopic => "the topic does not exist",
            Self::TopicExists => "the topic exists already",
            Self::Authentication => "authentication failed",
            Self::Authorization => "not allowed by the broker",
            Self::Tls => "TLS failed",
            Self::RecordTooLarge => "the record is too large for the broker",
            Self::Rejected => "refused by the broker",
            Self::Rebalance => "membership in the consumer group was lost",
            Self::Configuration => "invalid settings",
            Self::Unsupported => "not supported by this backend",
            Self::Closed => "already closed",
            Self::Other => "failed",
        })
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.context, self.kind)
    }
}

impl Error for BackendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_exists_or_that_others_create_may_be_used() {
        use BackendErrorKind::{
            Authorization, Rejected, Timeout, TopicExists, Unreachable, Unsupported,
        };
        let error = |kind| BackendError::new(kind, "create topic chains");
        for kind in [TopicExists, Authorization, Rejected, Unsupported] {
            assert!(error(kind).leaves_topic_to_others(), "{kind}");
        }
        for kind in [Timeout, Unreachable] {
            assert!(!error(kind).leaves_topic_to_others(), "{kind}");
        }
        assert!(!error(Rejected).retriable(true).leaves_topic_to_others());
    }
}
