//! Which failures are logged: each when it begins, then at intervals, with a count. Whoever may write to a topic must not
//! fill a log, and an outage must not either.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// How often the refusals of one check on one topic are logged at most.
pub const REFUSAL_INTERVAL: Duration = Duration::from_secs(60);
/// How often a failure that lasts is logged: as a reminder.
pub const OUTAGE_INTERVAL: Duration = Duration::from_secs(3600);
/// The number of failures that are remembered; beyond, further ones are counted together with the others.
pub const MAX_FAILURES: usize = 1024;

/// Counts failures by what failed (`K`) and why (`C`), and decides which of them to log: a failure with a new cause at
/// once, one that lasts at most once in an interval. A success ends all failures of its key.
#[derive(Clone, Debug)]
pub struct FailureLog<K, C = ()> {
    interval: Duration,
    failures: HashMap<(K, C), Logged>,
    /// The failures for which there was no room.
    overflow: Logged,
}

#[derive(Clone, Copy, Debug, Default)]
struct Logged {
    last: Option<Duration>,
    since: u64,
}

impl<K: Eq + Hash, C: Eq + Hash> FailureLog<K, C> {
    /// Returns a log that repeats a failure once in an interval.
    #[must_use]
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            failures: HashMap::new(),
            overflow: Logged::default(),
        }
    }

    /// Records a failure at `now` by a monotonic clock. Returns how often it has happened since it was last logged, this
    /// time included, if it should be logged now.
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

    /// Records a success: the next failure of `key` is logged at once. Returns whether `key` had failed before.
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
        // Old failures make room.
        assert_eq!(log.fail(100_000, (), at(61)), Some(1));
    }
}
