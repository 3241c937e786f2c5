use kc_core::backend::BackendError;
use kc_core::failure_log::{FailureLog, OUTAGE_INTERVAL};
use kc_core::text::with_sources;
use tokio::time::Instant;

use crate::events::{Events, NodeEvent, warn_of};

/// Reports that topics cannot be read, and that they can be read again. Each outage is one event. It is logged when it
/// begins, when its cause changes, and then once an hour.
#[derive(Debug)]
pub(crate) struct ReadOutage {
    /// The topics, as text.
    topics: String,
    events: Events,
    /// The time of the first failure of the current outage; `None` if there is no outage.
    since: Option<Instant>,
    failures: FailureLog<(), String>,
    /// The time at which this value was created. The times in `failures` are durations since then.
    start: Instant,
}

impl ReadOutage {
    pub(crate) fn new(topics: String, events: Events) -> Self {
        Self {
            topics,
            events,
            since: None,
            failures: FailureLog::new(OUTAGE_INTERVAL),
            start: Instant::now(),
        }
    }

    /// Reports a failed attempt to read.
    pub(crate) fn fails(&mut self, error: &BackendError) {
        let now = self.start.elapsed();
        if self.failures.fail((), error.to_string(), now).is_some() {
            warn_of(error, &self.topics, "consumer cannot read and tries again");
        } else {
            tracing::debug!(target: "kc::consumer", topics = self.topics, error = %with_sources(error), "consumer still cannot read");
        }
        if self.since.is_none() {
            self.since = Some(Instant::now());
            self.events.tell(NodeEvent::ConsumerFails {
                topics: self.topics.clone(),
                kind: error.kind(),
                reason: with_sources(error),
            });
        }
    }

    /// Reports a successful attempt to read. This ends the outage.
    pub(crate) fn works(&mut self) {
        if let Some(since) = self.since.take() {
            self.failures.succeed(&());
            let after = since.elapsed();
            tracing::info!(target: "kc::outage", topics = self.topics, ?after, "consumer reads again");
            self.events.tell(NodeEvent::ConsumerWorks {
                topics: self.topics.clone(),
                after,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use kc_core::backend::BackendErrorKind;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_outage_is_told_once_and_forgotten_when_it_ends() {
        let events = Events::default();
        let mut listener = events.listen();
        let mut outage = ReadOutage::new("t".to_owned(), events);
        let error = BackendError::new(BackendErrorKind::Unreachable, "read");
        outage.works();
        for _ in 0..2 {
            outage.fails(&error);
            outage.fails(&error);
            outage.works();
            // The next outage is logged at once.
            assert!(!outage.failures.succeed(&()));
            outage.works();
            let told = [listener.try_next(), listener.try_next()];
            let [Some(fails), Some(works)] = told else {
                panic!("{told:?}");
            };
            assert!(matches!(fails, NodeEvent::ConsumerFails { .. }));
            assert!(matches!(works, NodeEvent::ConsumerWorks { .. }));
        }
        assert!(listener.try_next().is_none());
    }
}
