use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kc_core::types::{Now, Timestamp};
use tokio::time::Instant;

/// The clock of actors: the system clock, or a clock that a test sets. A test can set only the wall-clock time.
/// Durations always come from the monotonic clock.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    started: Instant,
}

impl Clock {
    /// Returns the system clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| {
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
            Timestamp::from_unix(since_epoch.unwrap_or_default())
        })
    }

    /// Returns a clock whose wall-clock time is the result of `now`.
    #[must_use]
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            wall: Arc::new(now),
            started: Instant::now(),
        }
    }

    /// Returns the wall-clock time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.wall)()
    }

    /// Returns the wall-clock time, and the time since this clock was created.
    #[must_use]
    pub fn both(&self) -> Now {
        Now {
            wall: self.now(),
            mono: self.started.elapsed(),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}
