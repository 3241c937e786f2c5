use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// The kind of a Kafka client's failure. The kinds are the same for all client libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BackendErrorKind {
    /// No broker answered at any of the addresses.
    Unreachable,
    /// A bootstrap server answered, but the addresses that the brokers advertise to clients cannot be reached; see
    /// [`AdvertisedBroker`](super::AdvertisedBroker).
    AdvertisedAddress,
    /// The deadline passed.
    Timeout,
    /// The topic or partition does not exist, and was not created.
    UnknownTopic,
    /// The topic already exists.
    TopicExists,
    /// The broker does not accept the user name, the password, the SASL mechanism or the client certificate.
    Authentication,
    /// The broker denies this user the operation.
    Authorization,
    /// The TLS handshake failed, for example because the authority that certified the broker is not trusted, the
    /// certificate is for another host name, or the broker does not use TLS on this port.
    Tls,
    /// The record is larger than the broker accepts, or than the client's `max_request_size` allows.
    RecordTooLarge,
    /// The broker refuses the timestamp of the record: it differs too much from the time of the broker.
    InvalidTimestamp,
    /// The broker refuses the request for another reason, such as a full disk or a policy.
    Rejected,
    /// The client lost its membership in the consumer group. It joins again with the next poll.
    Rebalance,
    /// The partition is not assigned to this member of the group.
    NotAssigned,
    /// The settings are invalid for this backend.
    Configuration,
    /// The backend does not support the operation; see [`Capabilities`](super::Capabilities).
    Unsupported,
    /// The client was already closed.
    Closed,
    /// Any other failure.
    Other,
}

/// A failure of a Kafka client. The source is the error of the client library, if there is one. Clones of the failure
/// share the source.
#[derive(Clone, Debug)]
pub struct BackendError {
    kind: BackendErrorKind,
    context: String,
    retriable: bool,
    advice: Option<&'static str>,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl BackendError {
    /// Creates an error of a kind. `context` names the operation and its target ("send to topic x at
    /// 127.0.0.1:9092").
    #[must_use]
    pub fn new(kind: BackendErrorKind, context: impl Into<String>) -> Self {
        use BackendErrorKind::{AdvertisedAddress, Rebalance, Timeout, Unreachable};
        Self {
            kind,
            context: context.into(),
            retriable: matches!(kind, Unreachable | AdvertisedAddress | Timeout | Rebalance),
            advice: None,
            source: None,
        }
    }

    /// Adds the error of the client library as the source.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Adds advice on this failure, which replaces general advice on the kind.
    #[must_use]
    pub fn with_advice(mut self, advice: &'static str) -> Self {
        self.advice = Some(advice);
        self
    }

    /// Sets whether another attempt can succeed. By default, this depends on the kind: it is true for `Unreachable`,
    /// `AdvertisedAddress`, `Timeout` and `Rebalance`.
    #[must_use]
    pub fn retriable(mut self, retriable: bool) -> Self {
        self.retriable = retriable;
        self
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> BackendErrorKind {
        self.kind
    }

    /// Returns the operation that failed.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.context
    }

    /// Returns the advice on this failure, if it was [set](Self::with_advice).
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        self.advice
    }

    /// Returns whether another attempt without changes can succeed.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        self.retriable
    }

    /// Returns whether a client should stop its attempts to create a topic after this error, because the topic already
    /// exists, or because the broker or the backend will never let this client create the topic. In the second case,
    /// the client can use the topic only if the topic exists or another client creates it.
    #[must_use]
    pub fn leaves_topic_to_others(&self) -> bool {
        use BackendErrorKind::{Authorization, Rejected, TopicExists, Unsupported};
        match self.kind {
            TopicExists => true,
            Authorization | Rejected | Unsupported => !self.retriable,
            _ => false,
        }
    }

    /// Returns whether the error means that no broker answered in time. Other operations then usually fail in the same
    /// way.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        use BackendErrorKind::{AdvertisedAddress, Timeout, Unreachable};
        matches!(self.kind, Unreachable | AdvertisedAddress | Timeout)
    }

    /// Returns whether only an operator can help, by a change of the settings, the rights or the broker.
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
            Self::AdvertisedAddress => "no broker answers at the address that it advertises",
            Self::Timeout => "timed out",
            Self::UnknownTopic => "the topic does not exist",
            Self::TopicExists => "the topic already exists",
            Self::Authentication => "authentication failed",
            Self::Authorization => "not allowed by the broker",
            Self::Tls => "TLS failed",
            Self::RecordTooLarge => "the record is too large",
            Self::InvalidTimestamp => "the broker refuses the timestamp of the record",
            Self::Rejected => "refused by the broker",
            Self::Rebalance => "membership in the consumer group was lost",
            Self::NotAssigned => "the partition is not assigned to this consumer",
            Self::Configuration => "invalid settings",
            Self::Unsupported => "not supported",
            Self::Closed => "the client is already closed",
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
