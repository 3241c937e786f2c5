use std::time::Duration;

use kc_core::backend::BackendError;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::actors::retry;

/// Attempts at something that all who need it may share, such as a connection: one is made at a time, and
/// whoever waited for one that failed shares its failure instead of making another. Where only a person can
/// help, those who ask within the next minute share it, too.
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
    /// Makes an attempt when it is its turn.
    ///
    /// # Errors
    /// Those of `attempt`, or of the one that was waited for.
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
    /// Whether it is the answer to who asked then.
    fn holds(&self, asked: Instant) -> bool {
        self.at + retry::delay(&self.error, Duration::ZERO) > asked
    }
}
