use std::time::Duration;

use kc_core::backend::BackendError;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Time to wait after a failure that only an operator can correct. Frequent attempts with a wrong password could lock
/// the account at the broker.
const FATAL_DELAY: Duration = Duration::from_secs(60);

/// Returns the time to wait before the next attempt: `usual`, or longer if only an operator can correct the failure.
pub(crate) fn retry_delay(error: &BackendError, usual: Duration) -> Duration {
    if error.is_fatal() {
        FATAL_DELAY.max(usual)
    } else {
        usual
    }
}

/// Attempts that several callers share, for example to connect. Only one attempt runs at a time. Callers that waited
/// for a failed attempt get its error and start no attempt of their own. If only an operator can correct the failure,
/// callers within the next minute get the same error.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    last: Mutex<Option<Failure>>,
}

#[derive(Debug)]
struct Failure {
    at: Instant,
    error: BackendError,
}

impl Attempts {
    /// Runs `attempt` when no other attempt is running.
    ///
    /// # Errors
    /// Returns the error of `attempt`, the error of the attempt that this caller waited for, or the error of an attempt
    /// in the last minute that failed for a reason that only an operator can correct.
    pub(super) async fn share<T>(
        &self,
        attempt: impl Future<Output = Result<T, BackendError>>,
    ) -> Result<T, BackendError> {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some(failure) = last.as_ref().filter(|failure| failure.holds(asked)) {
            return Err(failure.error.clone());
        }
        let result = attempt.await;
        let failure = |error: &BackendError| Failure {
            at: Instant::now(),
            error: error.clone(),
        };
        *last = result.as_ref().err().map(failure);
        result
    }
}

impl Failure {
    /// Returns whether a caller that asked at `asked` gets the error of this failure, without an attempt of its own.
    fn holds(&self, asked: Instant) -> bool {
        self.at + retry_delay(&self.error, Duration::ZERO) > asked
    }
}
