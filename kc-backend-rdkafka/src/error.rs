//! Mapping of librdkafka's errors.

use kc_core::backend::{BackendError, BackendErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// Maps an error of librdkafka; `context` names the operation that failed.
pub(crate) fn failed(context: impl Into<String>, error: KafkaError) -> BackendError {
    let mapped = match code(&error) {
        Some(code) => of_code(context, code),
        None => BackendError::new(kind(&error), context),
    };
    mapped.with_source(error)
}

/// Maps an error code.
pub(crate) fn of_code(context: impl Into<String>, code: Code) -> BackendError {
    use BackendErrorKind::{Other, Rejected};
    let kind = kind_of_code(code);
    let error = BackendError::new(kind, context);
    match (kind, code) {
        (_, Code::InvalidRecord) => error.with_advice(
            "the broker refused this record or another record of the same batch, for example for its timestamp: compare the \
             clocks of this computer and of the broker",
        ),
        (Other | Rejected, _) => error.retriable(can_pass(code)),
        _ => error,
    }
}

/// Returns the error code of librdkafka or of the broker, if there is one.
pub(crate) fn code(error: &KafkaError) -> Option<Code> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        _ => error.rdkafka_error_code(),
    }
}

/// Returns whether the error means that the group's coordinator is unknown or not ready.
pub(crate) fn awaits_coordinator(error: &KafkaError) -> bool {
    matches!(
        code(error),
        Some(
            Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::WaitingForCoordinator
        )
    )
}

fn kind(error: &KafkaError) -> BackendErrorKind {
    match error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => {
            BackendErrorKind::Configuration
        }
        // librdkafka refuses an invalid topic name or number of partitions before it sends a request.
        KafkaError::AdminOpCreation(_) | KafkaError::Nul(_) => BackendErrorKind::Rejected,
        KafkaError::Canceled => BackendErrorKind::Closed,
        _ => BackendErrorKind::Other,
    }
}

fn kind_of_code(code: Code) -> BackendErrorKind {
    use BackendErrorKind as Kind;
    match code {
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::NetworkException
        | Code::WaitingForCoordinator => Kind::Unreachable,
        Code::RequestTimedOut
        | Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::TimedOutQueue => Kind::Timeout,
        Code::UnknownTopicOrPartition
        | Code::UnknownTopicId
        | Code::UnknownTopic
        | Code::UnknownPartition => Kind::UnknownTopic,
        Code::TopicAlreadyExists => Kind::TopicExists,
        Code::InvalidTimestamp => Kind::InvalidTimestamp,
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => Kind::RecordTooLarge,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed => Kind::Authorization,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState => Kind::Authentication,
        Code::SSL => Kind::Tls,
        Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::RebalanceInProgress
        | Code::FencedInstanceId
        | Code::FencedMemberEpoch
        | Code::StaleMemberEpoch
        | Code::AssignmentLost
        | Code::PollExceeded => Kind::Rebalance,
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::NotImplemented => {
            Kind::Unsupported
        }
        // After a fatal error the client accepts no more calls.
        Code::BrokerDestroy | Code::PurgeQueue | Code::PurgeInflight | Code::Fatal => Kind::Closed,
        _ if is_of_broker(code) && !can_pass(code) => Kind::Rejected,
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => Kind::Rejected,
        _ => Kind::Other,
    }
}

/// Returns whether the error code was sent by a broker. Other codes are errors of librdkafka itself.
fn is_of_broker(code: Code) -> bool {
    code as i32 > 0
}

fn can_pass(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::NotController
            | Code::KafkaStorageError
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::UnstableOffsetCommit
            | Code::ThrottlingQuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: Code) -> BackendError {
        failed("x", KafkaError::MetadataFetch(code))
    }

    #[test]
    fn what_can_pass_is_retriable() {
        for transient in [
            Code::AllBrokersDown,
            Code::CoordinatorLoadInProgress,
            Code::CoordinatorNotAvailable,
            Code::NotCoordinator,
            Code::NotLeaderForPartition,
            Code::NotEnoughReplicas,
            Code::OperationTimedOut,
            Code::RebalanceInProgress,
        ] {
            assert!(error(transient).is_retriable(), "{transient:?}");
            assert!(!error(transient).is_fatal(), "{transient:?}");
        }
        for lasting in [
            Code::InvalidTopic,
            Code::MessageSizeTooLarge,
            Code::PolicyViolation,
            Code::TopicAlreadyExists,
            Code::UnknownTopicOrPartition,
        ] {
            assert!(!error(lasting).is_retriable(), "{lasting:?}");
            assert!(!error(lasting).is_fatal(), "{lasting:?}");
        }
    }

    #[test]
    fn what_a_person_must_change_is_fatal() {
        for code in [
            Code::Authentication,
            Code::SSL,
            Code::TopicAuthorizationFailed,
            Code::UnsupportedSASLMechanism,
        ] {
            assert!(error(code).is_fatal(), "{code:?}");
        }
    }

    #[test]
    fn refusals_of_the_broker_are_told_from_failures_of_the_client() {
        assert_eq!(
            error(Code::PolicyViolation).kind(),
            BackendErrorKind::Rejected
        );
        assert_eq!(
            error(Code::InvalidTimestamp).kind(),
            BackendErrorKind::InvalidTimestamp
        );
        assert_eq!(error(Code::BadMessage).kind(), BackendErrorKind::Other);
        assert_eq!(error(Code::Fatal).kind(), BackendErrorKind::Closed);
        let of_admin = failed("x", KafkaError::AdminOp(Code::InvalidTopic));
        assert_eq!(of_admin.kind(), BackendErrorKind::Rejected);
    }
}
