use std::collections::HashSet;
use std::time::Duration;

use kc_core::backend::{Admin, BackendError};
use kc_core::types::SideTopic;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::GatewayParts;
use super::reader::NewWatch;
use crate::actors::retry::{Told, delay};
use crate::messages::ControlTopic;

/// How long listing the topics may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Has the requests to controllers of all root topics read, and looks for new ones until the gateway is
/// closed. No client can be relied on to subscribe to what matches a pattern.
pub(super) async fn run(
    parts: GatewayParts,
    watches: mpsc::WeakSender<NewWatch>,
    interval: Duration,
) {
    let mut admin = None;
    let mut found = HashSet::new();
    let mut told = Told::default();
    loop {
        let mut wait = interval;
        match list(&parts, &mut admin).await {
            Ok(topics) => {
                told.works(&());
                for name in topics {
                    let Some(topic) = subscriptions(&parts, &name) else {
                        continue;
                    };
                    let Some(watches) = watches.upgrade() else {
                        return;
                    };
                    if found.insert(name.clone()) {
                        tracing::info!(target: "kc::gateway", topic = name, "found");
                        let watch = NewWatch {
                            name,
                            topic,
                            done: None,
                        };
                        if watches.send(watch).await.is_err() {
                            return;
                        }
                    }
                }
            }
            Err(error) => {
                wait = delay(&error, interval);
                if told.fails((), &error) {
                    tracing::warn!(target: "kc::gateway", %error, "topics cannot be listed");
                }
            }
        }
        if watches.upgrade().is_none() {
            return;
        }
        sleep(wait).await;
    }
}

fn subscriptions(parts: &GatewayParts, name: &str) -> Option<ControlTopic> {
    match parts.scheme.parse_side_topic(name)? {
        (root, SideTopic::Subscriptions) if !root.as_str().is_empty() => {
            Some(ControlTopic::Side(root, SideTopic::Subscriptions))
        }
        _ => None,
    }
}

async fn list(
    parts: &GatewayParts,
    admin: &mut Option<Box<dyn Admin>>,
) -> Result<Vec<String>, BackendError> {
    let connected = match admin.take() {
        Some(admin) => admin,
        None => parts.backend.admin().await?,
    };
    let topics = connected.topics(DEADLINE).await;
    if topics.is_ok() {
        *admin = Some(connected);
    }
    topics
}
