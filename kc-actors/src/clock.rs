use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use kc_core::types::{Now, Timestamp};
use tokio::time::Instant;

/// What time it is, for actors: the system's clock, or one that a test turns. Tests turn the time of day alone; how long
/// something takes is measured by the monotonic clock.
#[derive(Clone)]
pub struct Clock {
    wall: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    started: Instant,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::new(|| {
            let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
            Timestamp::from_unix(since_epoch.unwrap_or_default())
        })
    }

    /// Any other.
    #[must_use]
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self {
            wall: Arc::new(now),
            started: Instant::now(),
        }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.wall)()
    }

    /// The time of day, and the time since this clock was made.
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
