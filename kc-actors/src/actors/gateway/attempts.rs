use std::time::Duration;

use kc_core::backend::BackendError;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long to wait where only a person can help: a password that is tried again and again locks an account.
const FATAL_DELAY: Duration = Duration::from_secs(60);

/// Returns how long to wait before trying again: `usual`, or longer where only a person can help.
pub(crate) fn retry_delay(error: &BackendError, usual: Duration) -> Duration {
    if error.is_fatal() {
        FATAL_DELAY.max(usual)
    } else {
        usual
    }
}

/// Shared attempts at something, such as a connection: one is made at a time, and callers that waited for one that
/// failed share its failure instead of making another. Where only a person can help, callers within the next minute
/// share it, too.
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
    /// Makes an attempt, one caller at a time.
    ///
    /// # Errors
    /// The error of `attempt`, or of the attempt that was waited for.
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
    /// Returns whether this failure also answers a caller that asked at `asked`.
    fn holds(&self, asked: Instant) -> bool {
        self.at + retry_delay(&self.error, Duration::ZERO) > asked
    }
}
