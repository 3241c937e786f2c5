//! A thread that calls the client, so that no caller blocks.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use kafka::error::Result;
use kc_core::backend::{BackendError, BackendErrorKind, ClientSettings};
use kc_core::text::with_sources;
use tokio::sync::oneshot;

use super::client::Client;
use super::error::failed;

/// The time for which a call may continue after its deadline. At the deadline the call returns an error of its own,
/// which is more precise than a timeout.
const GRACE: Duration = Duration::from_millis(250);

type Job = Box<dyn FnOnce(&mut Client) + Send>;

/// Receives the result of a call. The channel closes without a result if the worker's thread has ended.
pub(super) type Answer<T> = oneshot::Receiver<Result<T>>;

/// A thread that makes calls, one after the other.
pub(super) struct Worker {
    role: &'static str,
    settings: Arc<ClientSettings>,
    thread: Mutex<Thread>,
}

struct Thread {
    jobs: mpsc::Sender<Job>,
    busy_since: Arc<Mutex<Option<Instant>>>,
}

impl Worker {
    /// Starts the thread and connects. The text of an error contains `role`, the name of the client that connects.
    pub(super) async fn connect(
        settings: &Arc<ClientSettings>,
        role: &'static str,
    ) -> std::result::Result<Self, BackendError> {
        let context = || format!("connect {role} to {}", settings.bootstrap_servers);
        let thread = Thread::spawn(Arc::clone(settings), role).map_err(|error| {
            BackendError::new(BackendErrorKind::Other, context()).with_source(error)
        })?;
        let worker = Self {
            role,
            settings: Arc::clone(settings),
            thread: Mutex::new(thread),
        };
        let answer = worker.start(Client::connect);
        let connected = wait(settings.request_timeout, context(), answer).await;
        connected.map_err(|error| match error.kind() {
            BackendErrorKind::Timeout => {
                BackendError::new(BackendErrorKind::Unreachable, context()).with_source(error)
            }
            _ => error,
        })?;
        Ok(worker)
    }

    pub(super) fn settings(&self) -> &ClientSettings {
        &self.settings
    }

    /// Makes a call and waits for its result. If the caller stops waiting before the call begins, the call is not made.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        deadline: Duration,
        what: impl fmt::Display,
        call: impl FnOnce(&mut Client) -> Result<T> + Send + 'static,
    ) -> std::result::Result<T, BackendError> {
        let answer = self.start(call);
        wait(deadline, self.context(what), answer).await
    }

    /// Starts a call. The caller can wait for the result later.
    pub(super) fn start<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Client) -> Result<T> + Send + 'static,
    ) -> Answer<T> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |client| {
            if !reply.is_closed() {
                // The caller may have stopped waiting in the meantime.
                let _ = reply.send(call(client));
            }
        });
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        // The crate waits for an answer for up to two minutes. Replace a thread that waits longer than the request
        // timeout. The old thread ends by itself later.
        if thread.is_stuck(self.settings.request_timeout) {
            match Thread::spawn(Arc::clone(&self.settings), self.role) {
                Ok(another) => *thread = another,
                Err(error) => {
                    tracing::warn!(error = %with_sources(&error), "new thread to replace a blocked thread cannot be started")
                }
            }
        }
        // If the thread has ended, the channel of the answer closes.
        let _ = thread.jobs.send(job);
        answer
    }

    /// Returns the description of the action `what` for errors: the action and the bootstrap servers.
    pub(super) fn context(&self, what: impl fmt::Display) -> String {
        format!("{what} at {}", self.settings.bootstrap_servers)
    }
}

async fn wait<T>(
    deadline: Duration,
    context: String,
    answer: Answer<T>,
) -> std::result::Result<T, BackendError> {
    match tokio::time::timeout(deadline.saturating_add(GRACE), answer).await {
        Ok(Ok(result)) => result.map_err(|error| failed(context, error)),
        Ok(Err(ended)) => {
            Err(BackendError::new(BackendErrorKind::Closed, context).with_source(ended))
        }
        Err(elapsed) => {
            Err(BackendError::new(BackendErrorKind::Timeout, context).with_source(elapsed))
        }
    }
}

impl Thread {
    /// Starts the thread. When the returned value is dropped, the thread completes the jobs that it has received, and
    /// ends.
    fn spawn(settings: Arc<ClientSettings>, role: &str) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let busy_since = Arc::new(Mutex::new(None));
        let busy = Arc::clone(&busy_since);
        let name = format!("kc-legacy {role}");
        thread::Builder::new().name(name).spawn(move || {
            let mut client = Client::new(settings);
            for job in inbox {
                set(&busy, Some(Instant::now()));
                job(&mut client);
                set(&busy, None);
            }
        })?;
        Ok(Self { jobs, busy_since })
    }

    fn is_stuck(&self, longest: Duration) -> bool {
        let since = self.busy_since.lock();
        let since = since.unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| since.elapsed() > longest)
    }
}

fn set(busy: &Mutex<Option<Instant>>, since: Option<Instant>) {
    *busy.lock().unwrap_or_else(PoisonError::into_inner) = since;
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}
