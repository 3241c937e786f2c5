//! The events of the demonstration's nodes, in words.

use std::time::Instant;

use kc::core::types::KeyId;
use kc::{EventListener, NodeEvent};

use crate::ui::Ui;

/// Prints the events of a node as they happen.
pub(super) struct Watch {
    who: &'static str,
    began: Instant,
    events: EventListener,
    ui: Ui,
}

impl Watch {
    pub(super) fn new(who: &'static str, began: Instant, events: EventListener, ui: Ui) -> Self {
        Self {
            who,
            began,
            events,
            ui,
        }
    }

    /// Prints events, up to and including the first one for which `last` returns true.
    pub(super) async fn until(mut self, last: impl Fn(&NodeEvent) -> bool) {
        while let Some(event) = self.events.next().await {
            self.print(&event);
            if last(&event) {
                return;
            }
        }
    }

    /// Prints only the first event for which `is_it` returns true.
    pub(super) async fn only(mut self, is_it: impl Fn(&NodeEvent) -> bool) {
        while let Some(event) = self.events.next().await {
            if is_it(&event) {
                return self.print(&event);
            }
        }
    }

    fn print(&self, event: &NodeEvent) {
        if let Some(text) = in_words(event) {
            step(self.ui, self.began, self.who, &text);
        }
    }
}

/// Prints one step of the demonstration. An error is ignored, because printing the results will fail with the same
/// error.
pub(super) fn step(ui: Ui, began: Instant, who: &str, text: &str) {
    let at = began.elapsed().as_secs_f64();
    let _ = ui.result(format!("  {at:>7.3} s  {who:<9} {text}"));
}

fn in_words(event: &NodeEvent) -> Option<String> {
    Some(match event {
        NodeEvent::Requested {
            root_topic, ids, ..
        } => format!(
            "needs data key {}; requests it on {root_topic}.reqs and {root_topic}.subs, with its certificate chain",
            short(ids)
        ),
        NodeEvent::Answered { root_topic, .. } => format!(
            "verified this chain under its own root of trust; sent the data key on {root_topic}.keys, encrypted"
        ),
        NodeEvent::Received { after, .. } => {
            format!(
                "received the data key {:.0} ms after the request",
                after.as_secs_f64() * 1000.0
            )
        }
        NodeEvent::Kept { id, .. } => {
            format!(
                "keeps data key {}, because a message proves it",
                short(&[*id])
            )
        }
        NodeEvent::Refused { check, reason, .. } => {
            format!("refused a request: {reason} (check {check})")
        }
        NodeEvent::Unanswered { .. } => {
            "got no answer to its requests, so it cannot read the messages".to_owned()
        }
        NodeEvent::NoValidChain { reason } => format!("has no valid certificate chain: {reason}"),
        _ => return None,
    })
}

fn short(ids: &[KeyId]) -> String {
    let id = ids.first().map(ToString::to_string).unwrap_or_default();
    id.chars().take(12).collect::<String>() + "..."
}
