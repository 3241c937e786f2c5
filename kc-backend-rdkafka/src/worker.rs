//! librdkafka's calls block; here they do it on threads of their own.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use kc_core::backend::{BackendError, BackendErrorKind};
use tokio::sync::oneshot;

/// How much longer than its deadline a call of librdkafka's may take before it is given up. Its own error at the
/// deadline says more.
const GRACE: Duration = Duration::from_millis(250);

/// How much longer than asked a poll may take. It waits for brokers that do not answer, and must not be cut off
/// while one is only slow, or it would never get through.
const SLOWNESS: Duration = Duration::from_secs(5);

/// How long a thread waits in librdkafka before it looks up: for topics that have appeared, and whether it is still
/// waited for.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// A thread that owns a native client and what belongs to it, and does one thing after the other with it. When
/// the worker is dropped, the thread ends what it does, and destroys the client.
pub(crate) struct Worker<S> {
    jobs: mpsc::Sender<Job<S>>,
    ended: oneshot::Receiver<()>,
}

impl<S: 'static> Worker<S> {
    /// Makes the state in the new thread.
    ///
    /// # Errors
    /// As `make`.
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
                    // Nobody waits for it any more: nobody is told.
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
            .map_err(|error| closed("start a thread").with_source(error))?;
        starting
            .await
            .map_err(|error| closed("start a thread").with_source(error))??;
        Ok(Self { jobs, ended })
    }

    /// Does a job and waits for what comes of it, but not longer than `deadline` and a little. It is done anyway.
    ///
    /// # Errors
    /// `Timeout`, or `Closed` if the thread has ended.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        deadline: Duration,
        context: &str,
        job: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, BackendError> {
        self.wait(deadline, context, |state, _| job(state)).await
    }

    /// Waits for a poll, which is told, when it asks, whether it is still waited for. One that is late has brought
    /// nothing yet.
    ///
    /// # Errors
    /// As the poll, or `Closed` if the thread has ended.
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
            // Nobody waits for it any more: nobody is told.
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

    /// Destroys the client; waits for that, but not longer than `deadline`.
    pub(crate) async fn end(self, deadline: Duration) {
        drop(self.jobs);
        if tokio::time::timeout(deadline, self.ended).await.is_err() {
            tracing::debug!("a client takes its time to close");
        }
    }
}

/// Does something that blocks, and waits for it, but not longer than `deadline` and a little.
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

/// Drops a native client in a thread of its own: destroying one can take a while.
pub(crate) fn retire<T: Send + 'static>(client: T) {
    let retiring = thread::Builder::new().name("kc retire".to_owned());
    // Without a thread it is dropped here.
    if let Err(error) = retiring.spawn(move || drop(client)) {
        tracing::debug!(%error, "no thread to drop a client in");
    }
}

fn closed(context: &str) -> BackendError {
    BackendError::new(BackendErrorKind::Closed, context)
}

fn late(context: &str) -> BackendError {
    BackendError::new(BackendErrorKind::Timeout, context)
}
