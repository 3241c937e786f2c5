//! Side topics to be read.

use std::time::Duration;

use super::tasks::{Step, Task};
use super::{Exchange, MAX_TICKETS, retry_delay};
use crate::exchange::event::ExchangeEvent;
use crate::exchange::jobs::{Failure, Job, Output};
use crate::types::{Now, RootTopic, SideTopic};

/// How long to wait before a topic that cannot be read is tried again.
const READ_RETRY_DELAY: Duration = Duration::from_secs(2);

/// Whether a side topic is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    /// Not yet; to be tried then.
    Due(Duration),
    /// It is being tried.
    Beginning,
    Begun,
}

impl Exchange {
    pub(super) fn read(&mut self, root_topic: RootTopic, side: SideTopic, now: Now) {
        let reading = self.readings.entry((root_topic, side));
        reading.or_insert(Reading::Due(now.mono));
    }

    pub(super) fn begin_reading(&mut self, now: Now) -> bool {
        let is_due = |reading: &Reading| matches!(reading, Reading::Due(due) if *due <= now.mono);
        let mut readings = self.readings.iter_mut();
        let Some(((root_topic, side), reading)) = readings.find(|(_, reading)| is_due(reading))
        else {
            return false;
        };
        if self.tasks.len() + self.unsigned.len() >= MAX_TICKETS {
            return false;
        }
        *reading = Reading::Beginning;
        let (root_topic, side) = (root_topic.clone(), *side);
        let task = Task::new(&root_topic, None, self.trust, Step::BeginReading(side));
        self.run(task, Job::Read(root_topic, side), now);
        true
    }

    pub(super) fn begun_reading(
        &mut self,
        root_topic: RootTopic,
        side: SideTopic,
        result: Result<Output, Failure>,
        now: Now,
    ) {
        let reading = match result {
            Ok(_) => Reading::Begun,
            Err(failure) => {
                let error = failure.into_backend();
                let delay = retry_delay(error.as_ref(), READ_RETRY_DELAY);
                let root_topic = root_topic.clone();
                self.report(ExchangeEvent::NotRead {
                    root_topic,
                    side,
                    error,
                });
                Reading::Due(now.mono + delay)
            }
        };
        self.readings.insert((root_topic, side), reading);
    }
}
