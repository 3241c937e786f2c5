//! Faults: errors, or a wrong address, that a test of a client makes the broker return.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use kafka_protocol::error::ResponseError;

/// A kind of request that [`Faults`] can make fail. Clients send these requests to use a consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CoordinatorRequest {
    /// `FindCoordinator` (API key 10).
    FindCoordinator,
    /// `JoinGroup` (API key 11).
    JoinGroup,
    /// `OffsetCommit` (API key 8).
    OffsetCommit,
    /// `OffsetFetch` (API key 9).
    OffsetFetch,
}

/// An error of a group coordinator that is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CoordinatorError {
    /// `COORDINATOR_LOAD_IN_PROGRESS` (14).
    LoadInProgress,
    /// `COORDINATOR_NOT_AVAILABLE` (15): the topic `__consumer_offsets` does not exist yet.
    NotAvailable,
    /// `NOT_COORDINATOR` (16).
    NotCoordinator,
}

impl CoordinatorError {
    /// Returns the error code of the Kafka protocol.
    #[must_use]
    pub fn code(self) -> i16 {
        self.response().code()
    }

    pub(crate) fn response(self) -> ResponseError {
        match self {
            Self::LoadInProgress => ResponseError::CoordinatorLoadInProgress,
            Self::NotAvailable => ResponseError::CoordinatorNotAvailable,
            Self::NotCoordinator => ResponseError::NotCoordinator,
        }
    }
}

/// A handle to the faults of a running broker. All clones change the same broker.
///
/// A new broker has no faults: it answers like an Apache Kafka broker that has been running for a while. This includes
/// `MEMBER_ID_REQUIRED` for the first join of a member.
///
/// ```
/// use kc_broker::{CoordinatorError, CoordinatorRequest};
///
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// let broker = kc_broker::Broker::builder().start().await?;
/// let faults = broker.faults();
/// faults.fail_next(CoordinatorRequest::OffsetFetch, CoordinatorError::NotCoordinator, 3);
/// assert_eq!(faults.remaining(CoordinatorRequest::OffsetFetch), 3);
/// # Ok::<_, kc_broker::BrokerError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<Mutex<Switches>>);

#[derive(Debug)]
struct Switches {
    failing: HashMap<CoordinatorRequest, (CoordinatorError, u32)>,
    member_id_required: bool,
    advertised: Option<(String, u16)>,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            failing: HashMap::new(),
            member_id_required: true,
            advertised: None,
        }
    }
}

impl Faults {
    /// Makes the next `count` requests of this kind fail with `error`, no matter which clients send them. If this
    /// method was called before for the same kind of request, the new error and count replace the previous ones.
    pub fn fail_next(&self, request: CoordinatorRequest, error: CoordinatorError, count: u32) {
        self.with(|s| s.failing.insert(request, (error, count)));
    }

    /// Makes the broker behave like a newly installed one: the next `count` requests of each kind
    /// ([`CoordinatorRequest`]) fail with `error`.
    pub fn answer_like_new(&self, error: CoordinatorError, count: u32) {
        for request in [
            CoordinatorRequest::FindCoordinator,
            CoordinatorRequest::JoinGroup,
            CoordinatorRequest::OffsetCommit,
            CoordinatorRequest::OffsetFetch,
        ] {
            self.fail_next(request, error, count);
        }
    }

    /// Returns the number of requests of this kind that will still fail.
    #[must_use]
    pub fn remaining(&self, request: CoordinatorRequest) -> u32 {
        self.with(|s| s.failing.get(&request).map_or(0, |(_, left)| *left))
    }

    /// Sets whether the broker answers the first `JoinGroup` (version 4 and later) of a member without an instance id
    /// with `MEMBER_ID_REQUIRED` (79) and an id with which the member must join again, as Apache Kafka does. Default:
    /// true.
    pub fn require_member_id(&self, required: bool) {
        self.with(|s| s.member_id_required = required);
    }

    /// Makes the broker give clients `host` and `port` as its address, as a broker does whose setting
    /// `advertised.listeners` is wrong. By default, the broker gives each client the address at which this client
    /// reached it.
    pub fn advertise(&self, host: impl Into<String>, port: u16) {
        self.with(|s| s.advertised = Some((host.into(), port)));
    }

    /// Ends all faults, and restores the defaults of a new broker.
    pub fn clear(&self) {
        self.with(|s| *s = Switches::default());
    }

    pub(crate) fn member_id_required(&self) -> bool {
        self.with(|s| s.member_id_required)
    }

    /// Returns the host and the port that the broker gives to a client that reached it at `reached`.
    pub(crate) fn advertised(&self, reached: SocketAddr) -> (String, u16) {
        let fault = self.with(|s| s.advertised.clone());
        fault.unwrap_or_else(|| (reached.ip().to_string(), reached.port()))
    }

    /// Counts a request. Returns the error if the request must fail.
    pub(crate) fn take(&self, request: CoordinatorRequest) -> Option<ResponseError> {
        self.with(|s| {
            let (error, left) = s.failing.get_mut(&request)?;
            *left = left.checked_sub(1)?;
            Some(error.response())
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Switches) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_ends_after_its_count() {
        let faults = Faults::default();
        faults.fail_next(
            CoordinatorRequest::JoinGroup,
            CoordinatorError::NotAvailable,
            2,
        );
        let error = Some(ResponseError::CoordinatorNotAvailable);
        assert_eq!(faults.take(CoordinatorRequest::OffsetFetch), None);
        assert_eq!(faults.take(CoordinatorRequest::JoinGroup), error);
        assert_eq!(faults.remaining(CoordinatorRequest::JoinGroup), 1);
        assert_eq!(faults.take(CoordinatorRequest::JoinGroup), error);
        assert_eq!(faults.take(CoordinatorRequest::JoinGroup), None);
    }

    #[test]
    fn codes_are_those_of_the_protocol() {
        assert_eq!(CoordinatorError::LoadInProgress.code(), 14);
        assert_eq!(CoordinatorError::NotAvailable.code(), 15);
        assert_eq!(CoordinatorError::NotCoordinator.code(), 16);
    }

    #[test]
    fn clear_restores_the_defaults() {
        let faults = Faults::default();
        faults.require_member_id(false);
        faults.answer_like_new(CoordinatorError::LoadInProgress, 9);
        faults.clear();
        assert!(faults.member_id_required());
        assert_eq!(faults.remaining(CoordinatorRequest::FindCoordinator), 0);
    }
}
