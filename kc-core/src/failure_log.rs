//! Limits on the logging of failures. A failure is logged when it begins, and then at intervals with a count, so that
//! neither a long outage nor a sender of invalid records can fill the log.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// The minimum time between two log messages about refusals by the same check on the same topic.
pub const REFUSAL_INTERVAL: Duration = Duration::from_secs(60);
/// The minimum time between two log messages about a failure that continues with the same cause.
pub const OUTAGE_INTERVAL: Duration = Duration::from_secs(3600);
/// The maximum number of failures that are counted separately. Further failures are counted together.
pub const MAX_FAILURES: usize = 1024;

/// Counts failures by the thing that failed (the key `K`) and the cause (`C`), and decides which of them to log.
///
/// A failure with a new cause is logged at once. While the failure continues, it is logged at most once in each
/// interval. When a key succeeds, all failures of this key are forgotten. Failures beyond [`MAX_FAILURES`] are counted
/// together, and are together logged at most once in each interval.
#[derive(Clone, Debug)]
pub struct FailureLog<K, C = ()> {
    interval: Duration,
    failures: HashMap<(K, C), Logged>,
    /// The failures beyond [`MAX_FAILURES`], counted together.
    overflow: Logged,
}

#[derive(Clone, Copy, Debug, Default)]
struct Logged {
    last: Option<Duration>,
    since: u64,
}

impl<K: Eq + Hash, C: Eq + Hash> FailureLog<K, C> {
    /// Creates a log without failures. A failure that continues is logged at most once in each `interval`.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            failures: HashMap::new(),
            overflow: Logged::default(),
        }
    }

    /// Records a failure. `now` is the time of a monotonic clock.
    ///
    /// If the failure should be logged now, returns the number of times that it has happened since it was last
    /// logged, this time included. Otherwise returns `None`.
    pub fn fail(&mut self, key: K, cause: C, now: Duration) -> Option<u64> {
        let failure = (key, cause);
        let interval = self.interval;
        if self.failures.len() >= MAX_FAILURES && !self.failures.contains_key(&failure) {
            self.failures
                .retain(|_, logged| logged.since > 0 || !logged.is_due(interval, now));
        }
        let has_room = self.failures.len() < MAX_FAILURES;
        let logged = match self.failures.get_mut(&failure) {
            Some(logged) => logged,
            None if has_room => self.failures.entry(failure).or_default(),
            None => &mut self.overflow,
        };
        logged.since += 1;
        if !logged.is_due(interval, now) {
            return None;
        }
        logged.last = Some(now);
        Some(std::mem::take(&mut logged.since))
    }

    /// Records a success, and forgets the failures of `key`: its next failure is logged at once. Returns whether there
    /// were failures of `key`. Failures beyond [`MAX_FAILURES`] are not found, because they are counted together.
    pub fn succeed(&mut self, key: &K) -> bool {
        let before = self.failures.len();
        self.failures.retain(|(failed, _), _| failed != key);
        self.failures.len() < before
    }
}

impl Logged {
    fn is_due(self, interval: Duration, now: Duration) -> bool {
        self.last
            .is_none_or(|last| now.saturating_sub(last) >= interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_failure_is_logged_at_once_then_once_in_an_interval_with_a_count() {
        let mut log = FailureLog::new(REFUSAL_INTERVAL);
        assert_eq!(log.fail("a", 1, at(0)), Some(1));
        assert_eq!(log.fail("a", 1, at(1)), None);
        assert_eq!(log.fail("b", 1, at(1)), Some(1));
        assert_eq!(log.fail("a", 2, at(2)), Some(1));
        assert_eq!(log.fail("a", 1, at(59)), None);
        assert_eq!(log.fail("a", 1, at(60)), Some(3));
    }

    #[test]
    fn each_cause_is_logged_once_until_a_success() {
        let mut log = FailureLog::new(OUTAGE_INTERVAL);
        assert!(!log.succeed(&"a"));
        let logged = [1, 1, 2, 1, 2].map(|cause| log.fail("a", cause, at(0)));
        assert_eq!(logged, [Some(1), None, Some(1), None, None]);
        assert_eq!(log.fail("b", 1, at(0)), Some(1));
        assert!(log.succeed(&"a"));
        assert_eq!(log.fail("a", 2, at(1)), Some(1));
        assert_eq!(log.fail("b", 1, at(1)), None);
    }

    #[test]
    fn the_memory_is_bounded_and_the_rest_is_counted_together() {
        let mut log = FailureLog::new(REFUSAL_INTERVAL);
        let reports = (0..100_000).filter_map(|key| log.fail(key, (), at(0)));
        assert_eq!(reports.count(), MAX_FAILURES + 1);
        assert_eq!(log.failures.len(), MAX_FAILURES);
        // Old failures are forgotten for new ones.
        assert_eq!(log.fail(100_000, (), at(61)), Some(1));
    }
}
