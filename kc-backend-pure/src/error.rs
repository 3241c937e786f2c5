//! Mapping of krafka's errors.

use std::time::Duration;

use kc_core::backend::{BackendError, BackendErrorKind};
use krafka::KrafkaError;
use krafka::error::ErrorCode;

/// The time for which a call of krafka may continue after its deadline. At the deadline krafka returns an error of its
/// own, which is more precise than a timeout of this crate.
const GRACE: Duration = Duration::from_millis(250);

/// Waits for a call of krafka for at most `deadline`, plus a short grace period.
pub(crate) async fn bounded<T>(
    deadline: Duration,
    context: impl Fn() -> String,
    call: impl Future<Output = krafka::Result<T>>,
) -> Result<T, BackendError> {
    match tokio::time::timeout(deadline.saturating_add(GRACE), call).await {
        Ok(result) => result.map_err(|error| failed(context(), error)),
        Err(elapsed) => {
            Err(BackendError::new(BackendErrorKind::Timeout, context()).with_source(elapsed))
        }
    }
}

/// Maps an error of krafka; `context` names the operation that failed.
pub(crate) fn failed(context: impl Into<String>, error: KrafkaError) -> BackendError {
    let kind = kind(&error);
    let retriable = error.is_retriable();
    let mapped = BackendError::new(kind, context).with_source(error);
    match kind {
        BackendErrorKind::Rejected | BackendErrorKind::Other => mapped.retriable(retriable),
        _ => mapped,
    }
}

fn kind(error: &KrafkaError) -> BackendErrorKind {
    use BackendErrorKind as Kind;
    match error {
        KrafkaError::Network(source) if is_about_tls(&source.to_string()) => Kind::Tls,
        KrafkaError::Network(_) => Kind::Unreachable,
        KrafkaError::Auth { message, .. } if message.contains("TLS") => Kind::Tls,
        KrafkaError::Auth { .. } => Kind::Authentication,
        KrafkaError::Timeout { .. } | KrafkaError::DeliveryTimeout { .. } => Kind::Timeout,
        KrafkaError::UnknownTopic { .. } => Kind::UnknownTopic,
        KrafkaError::Config { message, .. } if message.starts_with("invalid partition") => {
            Kind::UnknownTopic
        }
        KrafkaError::Config { .. } => Kind::Configuration,
        KrafkaError::Closed { .. } => Kind::Closed,
        KrafkaError::Protocol { message, .. } if is_about_tls(message) => Kind::Tls,
        // krafka checks topic names before it sends them.
        KrafkaError::Protocol { message, .. } if message.starts_with("topic name") => {
            Kind::Rejected
        }
        KrafkaError::Protocol { kind, .. } => match kind {
            krafka::ProtocolErrorKind::UnknownApiVersion => Kind::Unsupported,
            krafka::ProtocolErrorKind::FrameTooLarge => Kind::RecordTooLarge,
            _ => Kind::Other,
        },
        KrafkaError::Broker { code, .. } => kind_of_code(*code),
        _ => Kind::Other,
    }
}

fn kind_of_code(code: ErrorCode) -> BackendErrorKind {
    use BackendErrorKind as Kind;
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => Kind::UnknownTopic,
        ErrorCode::TopicAlreadyExists => Kind::TopicExists,
        ErrorCode::RequestTimedOut => Kind::Timeout,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => Kind::RecordTooLarge,
        ErrorCode::InvalidTimestamp => Kind::InvalidTimestamp,
        ErrorCode::TopicAuthorizationFailed
        | ErrorCode::GroupAuthorizationFailed
        | ErrorCode::ClusterAuthorizationFailed
        | ErrorCode::TransactionalIdAuthorizationFailed => Kind::Authorization,
        ErrorCode::SaslAuthenticationFailed
        | ErrorCode::UnsupportedSaslMechanism
        | ErrorCode::IllegalSaslState => Kind::Authentication,
        ErrorCode::IllegalGeneration
        | ErrorCode::UnknownMemberId
        | ErrorCode::RebalanceInProgress
        | ErrorCode::FencedInstanceId
        | ErrorCode::FencedMemberEpoch
        | ErrorCode::StaleMemberEpoch => Kind::Rebalance,
        ErrorCode::UnsupportedVersion => Kind::Unsupported,
        ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator
        | ErrorCode::LeaderNotAvailable
        | ErrorCode::NotLeaderForPartition
        | ErrorCode::UnknownServerError => Kind::Other,
        _ => Kind::Rejected,
    }
}

/// Returns whether TLS caused the error. There are three cases: the peer closed the connection during the TLS
/// handshake, as a broker without TLS does; the client sent plaintext and the peer answered with a TLS alert, as a broker
/// with TLS does (krafka reads the first bytes of the alert, `15 03 03 00`, as the length 352518912 of a frame); or the peer sent an alert after the handshake, as a
/// broker does if the client has no certificate.
fn is_about_tls(message: &str) -> bool {
    let signs = ["tls handshake", "352518912", "received fatal alert"];
    signs.iter().any(|sign| message.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(code: ErrorCode) -> BackendError {
        failed("x", KrafkaError::broker(code, "y"))
    }

    #[test]
    fn what_can_pass_is_retriable() {
        for transient in [
            ErrorCode::CoordinatorLoadInProgress,
            ErrorCode::CoordinatorNotAvailable,
            ErrorCode::NotCoordinator,
            ErrorCode::NotLeaderForPartition,
            ErrorCode::NotEnoughReplicas,
            ErrorCode::RebalanceInProgress,
            ErrorCode::RequestTimedOut,
        ] {
            assert!(code(transient).is_retriable(), "{transient:?}");
            assert!(!code(transient).is_fatal(), "{transient:?}");
        }
        for lasting in [
            ErrorCode::PolicyViolation,
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::TopicAlreadyExists,
            ErrorCode::MessageTooLarge,
        ] {
            assert!(!code(lasting).is_retriable(), "{lasting:?}");
        }
    }

    #[test]
    fn what_a_person_must_change_is_fatal() {
        assert!(code(ErrorCode::TopicAuthorizationFailed).is_fatal());
        assert!(code(ErrorCode::SaslAuthenticationFailed).is_fatal());
        assert!(failed("x", KrafkaError::config("y")).is_fatal());
    }

    #[test]
    fn a_partition_that_is_not_there_is_missing_like_a_topic() {
        let message = "invalid partition given with record 3, which is not in the range [0, 2)";
        let error = failed("x", KrafkaError::config(message));
        assert_eq!(error.kind(), BackendErrorKind::UnknownTopic);
    }

    #[test]
    fn tls_against_plaintext_is_told_apart_from_an_outage() {
        let handshake = std::io::Error::new(
            std::io::ErrorKind::UnexpectedEof,
            "tls handshake eof".to_owned(),
        );
        let error = failed("x", KrafkaError::network(handshake));
        assert_eq!(error.kind(), BackendErrorKind::Tls);
        assert!(!error.is_retriable());

        let alert = "received fatal alert: BadCertificate";
        let alert = std::io::Error::new(std::io::ErrorKind::InvalidData, alert);
        let error = failed("x", KrafkaError::network(alert));
        assert_eq!(error.kind(), BackendErrorKind::Tls);

        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = failed("x", KrafkaError::network(refused));
        assert_eq!(error.kind(), BackendErrorKind::Unreachable);
        assert!(error.is_retriable());
    }
}
