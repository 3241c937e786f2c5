//! Reports when the brokers stop acknowledging the records of a producer, and when they acknowledge records again.

use std::sync::{Arc, Weak};
use std::time::Duration;

use kc_core::backend::Progress;
use kc_core::text::with_sources;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Inner;
use crate::events::{Events, NodeEvent};

/// Time between two looks at the progress of a producer.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Time for which queued records may wait without an acknowledgement, before the producer asks whether brokers answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time for which queued records may wait without an acknowledgement although brokers answer, before an outage is
/// reported. This time is longer than the usual election of a leader, and than the usual `linger_ms`.
const PATIENCE_WITH_BROKERS: Duration = Duration::from_secs(30);

/// Deadline of the question whether brokers answer.
const ASK_DEADLINE: Duration = Duration::from_secs(3);

/// Topic of the question whether brokers answer. It need not exist.
const ASKED: &str = "chains";

/// Starts a task that reports the outages of a producer until the producer is closed or dropped.
pub(super) fn watch(producer: &Arc<Inner>, events: Events) {
    let producer = Arc::downgrade(producer);
    tokio::spawn(async move { run(producer, events).await });
}

async fn run(producer: Weak<Inner>, events: Events) {
    let mut ticks = interval(LOOK_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch::new(Instant::now());
    loop {
        ticks.tick().await;
        let Some(producer) = producer.upgrade() else {
            return;
        };
        let Some(progress) = producer.progress() else {
            return;
        };
        match watch.observe(progress, Instant::now()) {
            Observed::Progress => {}
            Observed::Recovery { after } => {
                tracing::info!(target: "kc::outage", ?after, "brokers acknowledge records again");
                events.tell(NodeEvent::ProducerWorks { after });
            }
            Observed::Silence { since } => {
                let asked = producer.admin.partitions(ASKED, false, ASK_DEADLINE).await;
                let reason = match asked {
                    Err(error) if error.is_outage() => with_sources(&error),
                    _ if since.elapsed() < PATIENCE_WITH_BROKERS => continue,
                    _ => "brokers answer, but acknowledge no record".to_owned(),
                };
                watch.outage = Some(since);
                let queued = progress.queued;
                tracing::warn!(target: "kc::outage", queued, reason, "brokers acknowledge no records; producer tries again");
                events.tell(NodeEvent::ProducerFails { queued, reason });
            }
        }
    }
}

/// Detects the outages of a producer by its progress.
struct Watch {
    acknowledged: u64,
    /// The last time at which no record was queued or a record was acknowledged.
    last: Instant,
    /// The start of the outage that was reported.
    outage: Option<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
enum Observed {
    Progress,
    /// Records have been queued since this time, and none was acknowledged. The outage has not been reported.
    Silence {
        since: Instant,
    },
    /// An outage has ended; `after` is its duration.
    Recovery {
        after: Duration,
    },
}

impl Watch {
    fn new(now: Instant) -> Self {
        Self {
            acknowledged: 0,
            last: now,
            outage: None,
        }
    }

    fn observe(&mut self, progress: Progress, now: Instant) -> Observed {
        let is_acknowledged = progress.acknowledged > self.acknowledged;
        self.acknowledged = progress.acknowledged;
        if is_acknowledged || progress.queued == 0 {
            self.last = now;
        }
        match self.outage {
            Some(since) if is_acknowledged => {
                self.outage = None;
                let after = now.duration_since(since);
                Observed::Recovery { after }
            }
            None if now.duration_since(self.last) >= PATIENCE => {
                Observed::Silence { since: self.last }
            }
            _ => Observed::Progress,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(queued: u64, acknowledged: u64) -> Progress {
        Progress {
            queued,
            acknowledged,
        }
    }

    #[test]
    fn an_outage_begins_with_silence_and_ends_with_an_acknowledgement() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut watch = Watch::new(start);
        assert_eq!(watch.observe(progress(0, 7), at(60)), Observed::Progress);
        assert_eq!(watch.observe(progress(3, 7), at(61)), Observed::Progress);
        let silence = Observed::Silence { since: at(60) };
        assert_eq!(watch.observe(progress(3, 7), at(65)), silence);
        assert_eq!(watch.observe(progress(4, 7), at(66)), silence);
        watch.outage = Some(at(60));
        assert_eq!(watch.observe(progress(5, 7), at(70)), Observed::Progress);
        // All queued records have failed. That is no sign of a broker.
        assert_eq!(watch.observe(progress(0, 7), at(80)), Observed::Progress);
        let after = Duration::from_secs(30);
        let recovery = Observed::Recovery { after };
        assert_eq!(watch.observe(progress(1, 8), at(90)), recovery);
        assert_eq!(watch.observe(progress(1, 8), at(94)), Observed::Progress);
    }

    #[test]
    fn steady_progress_is_no_outage_however_long_the_queue() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        for secs in 1..100 {
            let now = start + Duration::from_secs(secs);
            let observed = watch.observe(progress(10_000, secs), now);
            assert_eq!(observed, Observed::Progress);
        }
    }
}
