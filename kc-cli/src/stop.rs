//! Waits that end at a signal, or at the time limit of the whole run.

use std::pin::pin;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::error::{CliError, Exit};

/// The request to stop: the first SIGINT, SIGTERM or SIGHUP. The second signal ends the program at once. If SIGHUP was
/// ignored when the program started, as under `nohup`, it stays ignored.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<bool>);

impl Stop {
    pub(crate) fn on_signals() -> Result<Self, CliError> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| CliError::failure(format!("cannot listen for signals: {error}")))
        };
        let mut interrupt = listen(SignalKind::interrupt())?;
        let mut terminate = listen(SignalKind::terminate())?;
        let mut hangup = match hangup_is_ignored() {
            true => None,
            false => Some(listen(SignalKind::hangup())?),
        };
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            let mut next = async || {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    Some(_) = async { hangup.as_mut()?.recv().await } => {}
                }
            };
            next().await;
            let _ = stop.send(true);
            next().await;
            std::process::exit(Exit::Interrupted.code().into());
        });
        Ok(Self(stopped))
    }

    /// Returns a request to stop that no signal makes.
    pub(crate) fn never() -> Self {
        Self(watch::channel(false).1)
    }

    /// Waits until a signal asks the program to stop.
    pub(crate) async fn requested(&mut self) {
        if self.0.wait_for(|stopped| *stopped).await.is_err() {
            // The task that listens for signals has ended, so no signal comes.
            std::future::pending::<()>().await;
        }
    }
}

/// Returns whether SIGHUP was ignored when the program started. Only Linux reports this; on other systems the result is
/// false.
fn hangup_is_ignored() -> bool {
    const SIGHUP: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (SIGHUP - 1)) != 0)
}

/// The end of a run: a signal or a deadline.
#[derive(Clone, Debug)]
pub(crate) struct Until {
    stop: Stop,
    deadline: Option<Instant>,
}

/// The cause that ended a run from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A signal.
    Interrupted,
    /// The time limit was reached.
    TimedOut,
}

impl Until {
    /// Returns the end of a run that stops at a signal, or after `limit`.
    pub(crate) fn new(stop: Stop, limit: Option<Duration>) -> Self {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        Self { stop, deadline }
    }

    /// Waits for `work`. If the run ends first, drops `work` and returns the cause.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Ended> {
        tokio::select! {
            biased;
            () = self.stop.requested() => Err(Ended::Interrupted),
            () = at(self.deadline) => Err(Ended::TimedOut),
            done = work => Ok(done),
        }
    }

    /// Waits for `work`. If the run ends first, waits up to `grace` longer, so that `work` can finish. If `work` is not
    /// complete then, drops `work` and returns the cause that ended the run.
    pub(crate) async fn or_after<T>(
        &mut self,
        grace: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, Ended> {
        let mut work = pin!(work);
        match self.or(&mut work).await {
            Err(ended) => timeout(grace, work).await.map_err(|_| ended),
            done => done,
        }
    }
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
