//! Events of librdkafka: log lines, and errors that belong to no call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kc_core::backend::{BackendError, BackendErrorKind};
use kc_core::text::with_sources;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel as Level;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use crate::error::{code, of_code};
use crate::token;

/// The facility under which librdkafka logs the reasons of failed connections.
const FAILED_CONNECTION: &str = "FAIL";

/// The time for which a failure is used as the cause of later errors of calls. librdkafka retries about once a second,
/// and reports each failure.
const FAILURE_AGE: Duration = Duration::from_secs(60);

/// Runs a callback of librdkafka. A panic must not reach C code, where it would end the process.
pub(crate) fn guarded(callback: &str, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        // The logger itself may have panicked.
        let log = || tracing::error!(callback, "a callback of librdkafka panicked");
        let _ = catch_unwind(AssertUnwindSafe(log));
    }
}

/// The events of a client. librdkafka retries without end after every failure, so this value records the cause.
#[derive(Debug, Default)]
pub(crate) struct Events {
    seen: Mutex<Seen>,
    /// `true` if the caller named a group for this client; `false` if the client has the name of a group only because
    /// librdkafka requires one.
    has_group: bool,
}

#[derive(Debug, Default)]
struct Seen {
    /// The last failure that a retry does not overcome.
    failure: Option<Failure>,
    /// The reason of the last failed connection.
    reason: Option<String>,
    all_down: bool,
    missing_topic: bool,
}

#[derive(Debug)]
struct Failure {
    kind: BackendErrorKind,
    reason: String,
    at: Instant,
    told: bool,
}

impl Failure {
    /// Returns whether the failure keeps librdkafka from connecting to brokers at all.
    fn is_of_connection(&self) -> bool {
        matches!(
            self.kind,
            BackendErrorKind::Authentication | BackendErrorKind::Tls
        )
    }

    fn error(&self, context: &str) -> BackendError {
        BackendError::new(self.kind, context).with_source(self.reason.clone())
    }
}

impl Events {
    pub(crate) fn of_group(has_group: bool) -> Self {
        Self {
            has_group,
            ..Self::default()
        }
    }

    /// Returns the last failure that a retry does not overcome. Each failure is returned only once.
    pub(crate) fn failure(&self, context: &str) -> Option<BackendError> {
        self.with(|seen| {
            let failure = seen.failure.as_mut().filter(|failure| !failure.told)?;
            failure.told = true;
            Some(failure.error(context))
        })
    }

    /// Returns an error with the recorded cause, if `error` says only that no broker answered and a recent failure was
    /// recorded. Otherwise returns `error` itself.
    pub(crate) fn explain(&self, error: BackendError) -> BackendError {
        self.explain_at(error, Instant::now())
    }

    fn explain_at(&self, error: BackendError, now: Instant) -> BackendError {
        use BackendErrorKind::{Timeout, Unreachable};
        if !matches!(error.kind(), Timeout | Unreachable) {
            return error;
        }
        let is_new = |failure: &&mut Failure| now.duration_since(failure.at) < FAILURE_AGE;
        self.with(|seen| match seen.failure.as_mut().filter(is_new) {
            Some(failure) => {
                failure.told = true;
                failure.error(error.context())
            }
            None => error,
        })
    }

    /// Records that a broker answered.
    pub(crate) fn success(&self) {
        self.with(|seen| {
            let has_passed = |failure: &mut Failure| failure.told || failure.is_of_connection();
            seen.failure.take_if(has_passed);
            seen.all_down = false;
        });
    }

    /// Returns the reason of the last failed connection.
    pub(crate) fn reason(&self) -> Option<String> {
        self.with(|seen| seen.reason.clone())
    }

    /// Returns whether there was a time without a connection to any broker since the last call of this function and the
    /// last call of [`success`](Self::success).
    pub(crate) fn take_all_down(&self) -> bool {
        self.with(|seen| std::mem::take(&mut seen.all_down))
    }

    /// Returns whether, since the last call of this function, librdkafka reported that a topic does not exist.
    pub(crate) fn take_missing_topic(&self) -> bool {
        self.with(|seen| std::mem::take(&mut seen.missing_topic))
    }

    fn observe(&self, code: Code, reason: &str) {
        if code == Code::GroupAuthorizationFailed && !self.has_group {
            return;
        }
        let error = meaning(code, reason);
        self.with(|seen| match error.kind() {
            _ if code == Code::AllBrokersDown => seen.all_down = true,
            BackendErrorKind::UnknownTopic => seen.missing_topic = true,
            BackendErrorKind::Unreachable | BackendErrorKind::Timeout => {
                seen.reason = Some(reason.to_owned());
            }
            _ if error.is_retriable() => {}
            kind => {
                seen.failure = Some(Failure {
                    kind,
                    reason: reason.to_owned(),
                    at: Instant::now(),
                    told: false,
                });
            }
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut Seen) -> T) -> T {
        f(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the error that belongs to a code and a reason of librdkafka. The code alone is not always precise.
fn meaning(code: Code, reason: &str) -> BackendError {
    let kind = match code {
        // The connection broke during authentication, so this says nothing about the password.
        Code::Authentication if reason.contains("handshake failed: Local:") => {
            BackendErrorKind::Unreachable
        }
        // A TLS alert that arrived after this side had completed the handshake, such as "certificate required".
        Code::BrokerTransportFailure if reason.contains("SSL routines") => BackendErrorKind::Tls,
        _ => return of_code("", code),
    };
    BackendError::new(kind, "")
}

impl ClientContext for Events {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    /// Reads the token from the file that [`config`](crate::config) has set.
    fn generate_oauth_token(
        &self,
        path: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        token::read(path.unwrap_or_default())
            .inspect_err(|error| {
                let reason = with_sources(error);
                self.with(|seen| {
                    seen.failure = Some(Failure {
                        kind: BackendErrorKind::Authentication,
                        reason,
                        at: Instant::now(),
                        told: false,
                    });
                });
            })
            .map_err(Into::into)
    }

    fn log(&self, level: Level, facility: &str, message: &str) {
        guarded("log", || self.logged(level, facility, message));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        guarded("error", || {
            self.observe(code(&error).unwrap_or(Code::Fail), reason);
            tracing::debug!(target: "librdkafka", error = %with_sources(&error), reason);
        });
    }
}

impl Events {
    fn logged(&self, level: Level, facility: &str, message: &str) {
        // Lines begin with the name of the thread: "[thrd:app]: ".
        let message = message.split_once("]: ").map_or(message, |(_, rest)| rest);
        if facility == FAILED_CONNECTION {
            self.with(|seen| seen.reason = Some(message.to_owned()));
        }
        match level {
            // librdkafka warns about settings that only producers use in a consumer, and the other way round.
            _ if facility == "CONFWARN" => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
            Level::Emerg | Level::Alert | Level::Critical | Level::Error | Level::Warning => {
                tracing::warn!(target: "librdkafka", facility, "{message}");
            }
            Level::Notice | Level::Info => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
            Level::Debug => tracing::trace!(target: "librdkafka", facility, "{message}"),
        }
    }
}

impl ConsumerContext for Events {}

/// The time to wait for each event while events are served. A poll that does not wait at all would serve only one
/// event, and would not report whether there was an event.
const SERVING: Duration = Duration::from_millis(1);

/// Serves the events of a consumer that reads nothing.
pub(crate) fn serve<C: ConsumerContext>(consumer: &BaseConsumer<C>) {
    while consumer.poll(SERVING).is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(code: Code, reason: &str) -> Events {
        let events = Events::default();
        events.error(KafkaError::Global(code), reason);
        events
    }

    #[test]
    fn a_failure_is_told_once_and_explains_until_something_succeeds() {
        let events = seen(Code::Authentication, "invalid credentials");
        let told = events.failure("poll").unwrap();
        assert_eq!(told.kind(), BackendErrorKind::Authentication);
        assert!(events.failure("poll").is_none());

        let timeout = || BackendError::new(BackendErrorKind::Timeout, "send");
        let explained = events.explain(timeout());
        assert_eq!(explained.kind(), BackendErrorKind::Authentication);
        assert_eq!(explained.context(), "send");
        events.success();
        assert_eq!(events.explain(timeout()).kind(), BackendErrorKind::Timeout);
    }

    #[test]
    fn an_old_failure_explains_nothing() {
        let events = seen(Code::TopicAuthorizationFailed, "not allowed");
        let timeout = || BackendError::new(BackendErrorKind::Timeout, "poll");
        let explained = |age| events.explain_at(timeout(), Instant::now() + age).kind();
        assert_eq!(explained(FAILURE_AGE), BackendErrorKind::Timeout);
        assert_eq!(explained(FAILURE_AGE / 2), BackendErrorKind::Authorization);
    }

    #[test]
    fn a_panic_ends_in_the_callback() {
        guarded("test", || panic!("of a subscriber"));
    }

    #[test]
    fn a_connection_that_breaks_while_authenticating_is_no_wrong_password() {
        let reason = "SASL PLAIN mechanism handshake failed: Local: Broker transport failure: \
                      broker's supported mechanisms: (n/a)";
        let events = seen(Code::Authentication, reason);
        assert!(events.failure("connect").is_none());
        assert_eq!(events.reason().as_deref(), Some(reason));
    }

    #[test]
    fn a_group_that_is_forbidden_matters_to_those_that_have_one() {
        let forbidden = || KafkaError::Global(Code::GroupAuthorizationFailed);
        for has_group in [true, false] {
            let events = Events::of_group(has_group);
            events.error(forbidden(), "FindCoordinator response error");
            assert_eq!(events.failure("poll").is_some(), has_group);
        }
    }

    #[test]
    fn an_alert_after_the_handshake_is_of_tls() {
        let reason =
            "Receive failed: error:0A00045C:SSL routines::tlsv13 alert certificate required";
        let failure = seen(Code::BrokerTransportFailure, reason).failure("connect");
        assert_eq!(failure.unwrap().kind(), BackendErrorKind::Tls);
    }

    #[test]
    fn what_passes_is_no_failure() {
        for code in [
            Code::BrokerTransportFailure,
            Code::AllBrokersDown,
            Code::CoordinatorNotAvailable,
            Code::PollExceeded,
            Code::UnknownTopicOrPartition,
        ] {
            assert!(seen(code, "x").failure("poll").is_none(), "{code:?}");
        }
    }
}
