//! Hints that `kc consume` prints while no records arrive.

use std::time::Duration;

use kc::core::text::counted;
use kc::core::types::TopicScheme;
use tokio::time::Instant;

use crate::topic::requested_on;
use crate::ui::Ui;

/// The time without records before the hint that the group may be at the end.
const AT_END: Duration = Duration::from_secs(5);
/// The time that records wait for data keys before the hint that no producer answers.
const SILENCE: Duration = Duration::from_secs(10);

/// Explains once why `--from-beginning` may give no records: the topic is empty, or the group has committed positions.
#[derive(Debug)]
pub(super) struct AtEnd {
    since: Instant,
    /// True until the hint is printed or a record arrives.
    wanted: bool,
}

impl AtEnd {
    pub(super) fn new(from_beginning: bool) -> Self {
        Self {
            since: Instant::now(),
            wanted: from_beginning,
        }
    }

    /// Records the result of a poll. Prints the hint if no record has arrived for the time [`AT_END`].
    pub(super) fn observe(&mut self, nothing: bool, topic: &str, ui: Ui) {
        self.wanted &= nothing;
        if self.wanted && self.since.elapsed() >= AT_END {
            self.say(topic, ui);
        }
    }

    /// Prints the hint at the end of a run that was too short for [`observe`](Self::observe), if no record has arrived.
    pub(super) fn end(mut self, topic: &str, ui: Ui) {
        if self.wanted {
            self.say(topic, ui);
        }
    }

    fn say(&mut self, topic: &str, ui: Ui) {
        self.wanted = false;
        ui.note(format!(
            "no records: {topic} is empty, or the group has read it to the end. --from-beginning has no effect on \
             partitions for which the group has a committed position; --group with a new name reads from the first \
             record"
        ));
    }
}

/// Reports that records wait for data keys and no producer has answered. Reports this again only after a record was
/// opened, or after no record waited.
#[derive(Debug)]
pub(super) struct Silence {
    explanation: String,
    since: Option<Instant>,
    reported: bool,
}

impl Silence {
    /// `topic` is the name of a topic, or a regular expression that begins with `^`.
    pub(super) fn new(topic: &str, scheme: &TopicScheme) -> Self {
        let explanation = if topic.starts_with('^') {
            "Check that the producer is running, or `kc node serve` with the producer's node"
                .to_owned()
        } else {
            let root_topic = scheme.root_of(topic);
            let side_topics = requested_on(scheme, &root_topic);
            let mut explanation = format!(
                "The keys are requested on {side_topics}, because the root topic of {topic} is {root_topic}. Check that the \
                 producer is running, or `kc node serve` with the producer's node"
            );
            // Otherwise the original was named.
            if topic.starts_with(root_topic.as_str()) {
                explanation += &format!(
                    ". If {topic} is a copy of a topic with another root topic, name the original: --root-topic \
                     {topic}=ROOT"
                );
            }
            explanation
        };
        Self {
            explanation,
            since: None,
            reported: false,
        }
    }

    /// Returns what to do and, for a single topic, the side topics of the requests.
    pub(super) fn explanation(&self) -> &str {
        &self.explanation
    }

    pub(super) fn observe(&mut self, waiting: usize, nothing_opened: bool, topic: &str, ui: Ui) {
        if waiting == 0 || !nothing_opened {
            (self.since, self.reported) = (None, false);
            return;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if !self.reported && since.elapsed() >= SILENCE {
            self.reported = true;
            let explanation = &self.explanation;
            ui.say(format!(
                "no producer has answered yet, and {} of {topic} cannot be opened without data keys. {explanation}",
                counted(waiting, "record")
            ));
        }
    }
}
