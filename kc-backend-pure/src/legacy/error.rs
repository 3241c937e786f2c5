//! Mapping of the errors of the crate `kafka`.

use std::error::Error as _;
use std::io;

use kafka::error::{Error, KafkaCode};
use kc_core::backend::{BackendError, BackendErrorKind};

/// Maps an error of the crate; `context` names the operation that failed.
pub(super) fn failed(context: impl Into<String>, error: Error) -> BackendError {
    if let Some(known) = of_this_crate(&error) {
        return again(known, context);
    }
    let kind = kind(&error);
    let transient = is_transient(&error);
    let mapped = BackendError::new(kind, context).with_source(error);
    if transient {
        mapped.retriable(true)
    } else {
        mapped
    }
}

/// Returns the error of a check that this crate makes while the client connects.
fn of_this_crate(error: &Error) -> Option<&BackendError> {
    match error {
        Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// Copies an error for a further caller, and gives it another context.
pub(super) fn again(error: &BackendError, context: impl Into<String>) -> BackendError {
    let copy = BackendError::new(error.kind(), context).retriable(error.is_retriable());
    match error.source() {
        Some(source) => copy.with_source(source.to_string()),
        None => copy,
    }
}

/// Returns the broker's error code, if a broker sent one.
pub(super) fn code(error: &Error) -> Option<KafkaCode> {
    match error {
        Error::Kafka(code) => Some(*code),
        Error::TopicPartitionError { error_code, .. } => Some(*error_code),
        Error::ArcSelf(error) => code(error),
        _ => None,
    }
}

/// Returns whether the connection is unusable after this error.
pub(super) fn breaks_connection(error: &Error) -> bool {
    matches!(
        error,
        Error::Io(_)
            | Error::NoHostReachable
            | Error::UnexpectedEOF
            | Error::CodecError
            | Error::StringDecodeError
    )
}

/// Returns whether a retry may succeed, for example because a broker is starting or a partition gets a new leader.
pub(super) fn is_transient(error: &Error) -> bool {
    use KafkaCode as Code;
    matches!(
        code(error),
        Some(
            Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::RequestTimedOut
                | Code::BrokerNotAvailable
                | Code::ReplicaNotAvailable
                | Code::NetworkException
                | Code::GroupLoadInProgress
                | Code::GroupCoordinatorNotAvailable
                | Code::NotCoordinatorForGroup
                | Code::NotEnoughReplicas
                | Code::NotEnoughReplicasAfterAppend
        )
    )
}

fn kind(error: &Error) -> BackendErrorKind {
    use BackendErrorKind as Kind;
    match error {
        Error::Io(source) if is_timeout(source) => Kind::Timeout,
        Error::Io(_) | Error::NoHostReachable => Kind::Unreachable,
        Error::UnsupportedProtocol | Error::UnsupportedCompression => Kind::Unsupported,
        _ => code(error).map_or(Kind::Other, kind_of_code),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
    )
}

fn kind_of_code(code: KafkaCode) -> BackendErrorKind {
    use BackendErrorKind as Kind;
    use KafkaCode as Code;
    match code {
        Code::UnknownTopicOrPartition => Kind::UnknownTopic,
        Code::RequestTimedOut => Kind::Timeout,
        Code::MessageSizeTooLarge | Code::RecordListTooLarge => Kind::RecordTooLarge,
        Code::InvalidTimestamp => Kind::InvalidTimestamp,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed => Kind::Authorization,
        Code::UnsupportedSaslMechanism | Code::IllegalSaslState => Kind::Authentication,
        Code::UnsupportedVersion => Kind::Unsupported,
        Code::InvalidTopic
        | Code::OffsetMetadataTooLarge
        | Code::InvalidRequiredAcks
        | Code::InvalidGroupId
        | Code::InvalidCommitOffsetSize
        // Other clients use a group of this name, and their members share partitions.
        | Code::UnknownMemberId
        | Code::IllegalGeneration
        | Code::RebalanceInProgress => Kind::Rejected,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn of(code: KafkaCode) -> BackendError {
        failed("x", Error::Kafka(code))
    }

    #[test]
    fn what_can_pass_is_retriable() {
        for transient in [
            KafkaCode::GroupLoadInProgress,
            KafkaCode::GroupCoordinatorNotAvailable,
            KafkaCode::NotCoordinatorForGroup,
            KafkaCode::NotLeaderForPartition,
            KafkaCode::NotEnoughReplicas,
            KafkaCode::RequestTimedOut,
        ] {
            assert!(of(transient).is_retriable(), "{transient:?}");
            assert!(!of(transient).is_fatal(), "{transient:?}");
        }
        for lasting in [
            KafkaCode::UnknownTopicOrPartition,
            KafkaCode::MessageSizeTooLarge,
            KafkaCode::CorruptMessage,
            KafkaCode::UnknownMemberId,
        ] {
            assert!(!of(lasting).is_retriable(), "{lasting:?}");
        }
    }

    #[test]
    fn what_a_person_must_change_is_fatal() {
        assert!(of(KafkaCode::TopicAuthorizationFailed).is_fatal());
        assert!(of(KafkaCode::UnsupportedVersion).is_fatal());
        assert!(failed("x", Error::UnsupportedCompression).is_fatal());
    }

    #[test]
    fn a_broken_connection_is_unreachable_and_a_silent_one_a_timeout() {
        let refused = Error::Io(io::Error::from(io::ErrorKind::ConnectionRefused));
        assert!(breaks_connection(&refused));
        let error = failed("x", refused);
        assert_eq!(error.kind(), BackendErrorKind::Unreachable);
        assert!(error.is_retriable());

        let silent = Error::Io(io::Error::from(io::ErrorKind::WouldBlock));
        assert!(breaks_connection(&silent));
        assert_eq!(failed("x", silent).kind(), BackendErrorKind::Timeout);
    }

    #[test]
    fn a_code_is_found_wherever_it_is() {
        let missing = || Error::Kafka(KafkaCode::UnknownTopicOrPartition);
        let of_partition = Error::TopicPartitionError {
            topic_name: "x".to_owned(),
            partition_id: 0,
            error_code: KafkaCode::UnknownTopicOrPartition,
        };
        for error in [missing(), Error::ArcSelf(Arc::new(missing())), of_partition] {
            assert_eq!(failed("x", error).kind(), BackendErrorKind::UnknownTopic);
        }
    }

    #[test]
    fn the_same_error_again_says_the_same() {
        let first = of(KafkaCode::NotEnoughReplicas);
        let second = again(&first, "y");
        assert_eq!(second.kind(), first.kind());
        assert!(second.is_retriable());
        assert_eq!(second.context(), "y");
        let source = second.source().unwrap().to_string();
        assert!(source.contains("NotEnoughReplicas"), "{source}");
    }
}
