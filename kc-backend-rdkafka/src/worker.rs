//! Threads that call librdkafka. Its calls block.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kc_core::backend::{BackendError, BackendErrorKind};
use kc_core::text::with_sources;
use tokio::sync::oneshot;

/// The time for which a call may continue after its deadline. At the deadline librdkafka returns an error of its own,
/// which is more precise than a timeout of this crate.
const GRACE: Duration = Duration::from_millis(250);

/// The time for which a poll may continue after its time limit. A slow broker may need longer than the limit for an
/// answer. Without this additional time, no poll would return records from such a broker.
const SLOWNESS: Duration = Duration::from_secs(5);

/// The maximum time for which a thread waits in one call of librdkafka. Between such calls, the thread looks up new
/// topics, and checks whether the caller still waits.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// A thread that owns a native client and its state, and runs jobs one after the other. When the worker is dropped, the
/// thread completes its jobs and destroys the client.
pub(crate) struct Worker<S> {
    jobs: mpsc::Sender<Job<S>>,
    ended: oneshot::Receiver<()>,
}

impl<S: 'static> Worker<S> {
    /// Starts a thread, which creates its state with `make`.
    ///
    /// # Errors
    /// Returns the error of `make`, or [`BackendErrorKind::Other`] if the thread does not start.
    pub(crate) async fn start(
        name: &str,
        make: impl FnOnce() -> Result<S, BackendError> + Send + 'static,
    ) -> Result<Self, BackendError> {
        let (jobs, queue) = mpsc::channel::<Job<S>>();
        let (end, ended) = oneshot::channel();
        let (started, starting) = oneshot::channel();
        let run = move || {
            let mut state = match make() {
                Ok(state) => state,
                Err(error) => {
                    // The caller may have stopped waiting.
                    let _ = started.send(Err(error));
                    return;
                }
            };
            if started.send(Ok(())).is_ok() {
                queue.into_iter().for_each(|job| job(&mut state));
            }
            drop(state);
            let _ = end.send(());
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(run)
            .map_err(|error| not_started().with_source(error))?;
        starting
            .await
            .map_err(|error| not_started().with_source(error))??;
        Ok(Self { jobs, ended })
    }

    /// Runs a job and waits for its result for at most `deadline`, plus a short grace period. The thread completes the
    /// job even if the caller has stopped waiting.
    ///
    /// # Errors
    /// Returns [`BackendErrorKind::Timeout`] if the job takes longer, and [`BackendErrorKind::Closed`] if the thread
    /// has ended.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        deadline: Duration,
        context: &str,
        job: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, BackendError> {
        self.wait(deadline, context, |state, _| job(state)).await
    }

    /// Runs a poll and waits for it. The function that `poll` receives returns whether the caller still waits. If the
    /// poll does not end in time, the result is `Ok`, as for a poll without records.
    ///
    /// # Errors
    /// Returns the error of the poll, or [`BackendErrorKind::Closed`] if the thread has ended.
    pub(crate) async fn poll(
        &self,
        wait: Duration,
        context: &str,
        poll: impl FnOnce(&mut S, &dyn Fn() -> bool) -> Result<(), BackendError> + Send + 'static,
    ) -> Result<(), BackendError> {
        let deadline = wait.saturating_add(SLOWNESS);
        match self.wait(deadline, context, poll).await {
            Ok(polled) => polled,
            Err(error) if error.kind() == BackendErrorKind::Timeout => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn wait<T: Send + 'static>(
        &self,
        deadline: Duration,
        context: &str,
        job: impl FnOnce(&mut S, &dyn Fn() -> bool) -> T + Send + 'static,
    ) -> Result<T, BackendError> {
        let (reply, answer) = oneshot::channel();
        let job = move |state: &mut S| {
            let value = job(state, &|| !reply.is_closed());
            // The caller may have stopped waiting.
            let _ = reply.send(value);
        };
        if self.jobs.send(Box::new(job)).is_err() {
            return Err(closed(context));
        }
        match tokio::time::timeout(deadline.saturating_add(GRACE), answer).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(_)) => Err(closed(context)),
            Err(elapsed) => Err(late(context).with_source(elapsed)),
        }
    }

    /// Lets the thread destroy the client, and waits at most `deadline` until the thread has ended.
    pub(crate) async fn end(self, deadline: Duration) {
        drop(self.jobs);
        if tokio::time::timeout(deadline, self.ended).await.is_err() {
            tracing::debug!("client is still closing in the background");
        }
    }
}

/// Runs a blocking call and waits for its result for at most `deadline`, plus a short grace period.
pub(crate) async fn blocking<T: Send + 'static>(
    deadline: Duration,
    context: &str,
    call: impl FnOnce() -> Result<T, BackendError> + Send + 'static,
) -> Result<T, BackendError> {
    let call = tokio::task::spawn_blocking(call);
    match tokio::time::timeout(deadline.saturating_add(GRACE), call).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(closed(context).with_source(error)),
        Err(elapsed) => Err(late(context).with_source(elapsed)),
    }
}

/// Drops a native client on a new thread, because dropping it may block.
pub(crate) fn retire<T: Send + 'static>(client: T) {
    let retiring = thread::Builder::new().name("kc retire".to_owned());
    // If no thread starts, the client is dropped here.
    if let Err(error) = retiring.spawn(move || drop(client)) {
        tracing::debug!(error = %with_sources(&error), "thread to drop a client cannot be started");
    }
}

fn closed(context: &str) -> BackendError {
    BackendError::new(BackendErrorKind::Closed, context)
}

fn not_started() -> BackendError {
    BackendError::new(BackendErrorKind::Other, "start the client's thread")
}

fn late(context: &str) -> BackendError {
    BackendError::new(BackendErrorKind::Timeout, context)
}
