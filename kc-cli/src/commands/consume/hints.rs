//! Hints while no records come.

use std::time::Duration;

use tokio::time::Instant;

use crate::ui::Ui;

/// How long nothing may come before the hint.
const AT_END: Duration = Duration::from_secs(5);
/// How long records may wait for their keys without a word.
const SILENCE: Duration = Duration::from_secs(10);

/// Explains once why `--from-beginning` gives no records: it counts only where the group has no committed position.
#[derive(Debug)]
pub(super) struct AtEnd {
    since: Instant,
    /// Whether there is something to explain.
    wanted: bool,
}

impl AtEnd {
    pub(super) fn new(from_beginning: bool) -> Self {
        Self {
            since: Instant::now(),
            wanted: from_beginning,
        }
    }

    /// Takes note of a poll that gave nothing or something.
    pub(super) fn observe(&mut self, nothing: bool, topic: &str, ui: Ui) {
        self.wanted &= nothing;
        if self.wanted && self.since.elapsed() >= AT_END {
            self.say(topic, ui);
        }
    }

    /// Gives the hint at the end of a run that was shorter.
    pub(super) fn end(mut self, topic: &str, ui: Ui) {
        if self.wanted {
            self.say(topic, ui);
        }
    }

    fn say(&mut self, topic: &str, ui: Ui) {
        self.wanted = false;
        ui.note(format!(
            "no records: {topic} is empty, or the group has read to its end; --from-beginning counts only where \
             the group has no committed position, so --group with a new name reads from the first record"
        ));
    }
}

/// Says once when records wait for keys and no producer has answered.
#[derive(Debug, Default)]
pub(super) struct Silence {
    since: Option<Instant>,
    told: bool,
}

impl Silence {
    pub(super) fn observe(&mut self, waiting: usize, nothing_opened: bool, topic: &str, ui: Ui) {
        if waiting == 0 || !nothing_opened {
            *self = Self::default();
            return;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if !self.told && since.elapsed() >= SILENCE {
            self.told = true;
            ui.say(format!(
                "nobody has answered yet: {waiting} records of {topic} wait for their keys; is the producer \
                 running, or `kc node serve` on its node?"
            ));
        }
    }
}
