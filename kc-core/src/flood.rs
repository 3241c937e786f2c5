//! A limit on reports about the same subject, so that a sender of records cannot fill a log.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// The minimum time between two reports about the same subject.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);
/// The maximum number of subjects that one [`FloodLimit`] remembers; any more are counted together. Test:
/// `what_is_remembered_is_bounded_and_the_rest_is_counted_together`.
const MAX_REPORTED: usize = 1024;

/// Counts events by subject and decides when to report them: at once, then at most once in [`REPORT_INTERVAL`].
#[derive(Clone, Debug)]
pub(crate) struct FloodLimit<K> {
    reported: HashMap<K, Reported>,
    /// Events of the subjects that exceed [`MAX_REPORTED`].
    overflow: Reported,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reported {
    last: Option<Duration>,
    since: u64,
}

impl<K> Default for FloodLimit<K> {
    fn default() -> Self {
        Self {
            reported: HashMap::new(),
            overflow: Reported::default(),
        }
    }
}

impl<K: Eq + Hash> FloodLimit<K> {
    /// Counts an event of the subject `what` at `now`, by the monotonic clock.
    ///
    /// Returns `None` if it should not be reported now; otherwise the number of events since the last report,
    /// including this one.
    pub(crate) fn count(&mut self, what: K, now: Duration) -> Option<u64> {
        if self.reported.len() >= MAX_REPORTED && !self.reported.contains_key(&what) {
            self.reported
                .retain(|_, reported| reported.since > 0 || !reported.is_due(now));
        }
        let has_room = self.reported.len() < MAX_REPORTED;
        let reported = match self.reported.get_mut(&what) {
            Some(reported) => reported,
            None if has_room => self.reported.entry(what).or_default(),
            None => &mut self.overflow,
        };
        reported.since += 1;
        if !reported.is_due(now) {
            return None;
        }
        reported.last = Some(now);
        Some(std::mem::take(&mut reported.since))
    }
}

impl Reported {
    fn is_due(self, now: Duration) -> bool {
        self.last
            .is_none_or(|last| now.saturating_sub(last) >= REPORT_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn each_thing_is_reported_at_once_then_once_a_minute_with_a_count() {
        let mut limit = FloodLimit::default();
        assert_eq!(limit.count("a", at(0)), Some(1));
        assert_eq!(limit.count("a", at(1)), None);
        assert_eq!(limit.count("b", at(1)), Some(1));
        assert_eq!(limit.count("a", at(59)), None);
        assert_eq!(limit.count("a", at(60)), Some(3));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_rest_is_counted_together() {
        let mut limit = FloodLimit::default();
        let reports = (0..100_000).filter_map(|what| limit.count(what, at(0)));
        assert_eq!(reports.count(), MAX_REPORTED + 1);
        assert_eq!(limit.reported.len(), MAX_REPORTED);
        // Subjects without recent events make room.
        assert_eq!(limit.count(100_000, at(61)), Some(1));
    }
}
