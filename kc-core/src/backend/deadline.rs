use std::ops::Add;
use std::time::Duration;

/// As good as for ever, and an instant that clocks can still tell.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);

/// A wait that clients can count with: one without end, such as [`Duration::MAX`], is about thirty years.
#[must_use]
pub fn finite(wait: Duration) -> Duration {
    wait.min(FAR)
}

/// The instant at which a [`finite`] wait that begins `now` ends.
#[must_use]
pub fn end_of<I: Add<Duration, Output = I>>(now: I, wait: Duration) -> I {
    now + finite(wait)
}
