use std::time::{Duration, Instant};

use kc::core::types::KeyId;
use kc::{EventListener, NodeEvent};

/// Tells what a node does, as it does it.
pub(super) struct Watch {
    who: &'static str,
    began: Instant,
    events: EventListener,
}

impl Watch {
    pub(super) fn new(who: &'static str, began: Instant, events: EventListener) -> Self {
        Self { who, began, events }
    }

    /// Tells events until `last` says that one was the last.
    pub(super) async fn until(mut self, last: impl Fn(&NodeEvent) -> bool) {
        while let Some(event) = self.events.next().await {
            self.tell(&event);
            if last(&event) {
                return;
            }
        }
    }

    /// Tells the first event that `is_it` says is meant, and no other.
    pub(super) async fn only(mut self, is_it: impl Fn(&NodeEvent) -> bool) {
        while let Some(event) = self.events.next().await {
            if is_it(&event) {
                return self.tell(&event);
            }
        }
    }

    fn tell(&self, event: &NodeEvent) {
        if let Some(text) = in_words(event) {
            step(self.began, self.who, &text);
        }
    }
}

/// Prints one step of the story.
pub(super) fn step(began: Instant, who: &str, text: &str) {
    let at: Duration = began.elapsed();
    println!("  {:>7.3} s  {who:<9} {text}", at.as_secs_f64());
}

fn in_words(event: &NodeEvent) -> Option<String> {
    Some(match event {
        NodeEvent::Requested {
            root_topic, ids, ..
        } => format!(
            "lacks key {}; asks for it on {root_topic}.reqs and {root_topic}.subs, with its chain of certificates",
            short(ids)
        ),
        NodeEvent::Answered { root_topic, .. } => format!(
            "verified the chain back to its own root of trust; handed the key over on {root_topic}.keys, encrypted"
        ),
        NodeEvent::Received { after, .. } => {
            format!(
                "has the key, {:.0} ms after asking",
                after.as_secs_f64() * 1000.0
            )
        }
        NodeEvent::Refused { check, reason, .. } => {
            format!("refused a request: {reason} (check {check})")
        }
        NodeEvent::Unanswered { .. } => "no answer for 20 s: it cannot read".to_owned(),
        NodeEvent::NoValidChain { reason } => format!("has no valid chain: {reason}"),
        _ => return None,
    })
}

fn short(ids: &[KeyId]) -> String {
    let id = ids.first().map(ToString::to_string).unwrap_or_default();
    id.chars().take(12).collect::<String>() + "..."
}
