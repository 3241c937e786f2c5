use kc_core::backend::BackendError;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Attempts at something that all who need it may share, such as a connection: one is made at a time, and
/// whoever waited for one that failed shares its failure instead of making another.
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
        if let Some(failure) = last.as_ref().filter(|failure| failure.at > asked) {
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
