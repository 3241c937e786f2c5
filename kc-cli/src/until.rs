//! Waits that end at a signal, or when the time of the whole run is over.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use crate::stop::Stop;

/// How long a run may go on.
#[derive(Clone, Debug)]
pub(crate) struct Until {
    stop: Stop,
    deadline: Option<Instant>,
}

/// What ended a run from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A signal.
    Interrupted,
    /// The time is over.
    TimedOut,
}

impl Until {
    /// Until a signal, or for so long.
    pub(crate) fn new(stop: Stop, limit: Option<Duration>) -> Self {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        Self { stop, deadline }
    }

    /// Waits for `work`, unless the run ends before; `work` is dropped then.
    pub(crate) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Ended> {
        tokio::select! {
            biased;
            () = self.stop.requested() => Err(Ended::Interrupted),
            () = at(self.deadline) => Err(Ended::TimedOut),
            done = work => Ok(done),
        }
    }

    /// Waits for `work`, and for `grace` more if the run ends before: for what is better finished.
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
