use std::collections::BTreeMap;
use std::time::Duration;

use kc_core::backend::{Admin, BackendError};
use kc_core::failure_log::{FailureLog, OUTAGE_INTERVAL};
use kc_core::types::SideTopic;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::attempts::retry_delay;
use super::reader::Order;
use super::{ControlTopic, GatewayParts};
use crate::events::warn_of;

/// Deadline for listing the topics.
const DEADLINE: Duration = Duration::from_secs(10);

/// Maximum number of root topics whose requests a controller reads. The limit is needed because other clients may
/// create any number of topics. A root topic whose requests are already read keeps its place when more root topics are
/// found.
const MAX_SUBSCRIPTION_TOPICS: usize = 4096;

/// Searches for root topics until the gateway is closed. After each search, sends the reader an order with the `.subs`
/// topics of all root topics that were found. The reader does not subscribe by a pattern, because not every Kafka
/// client supports patterns.
pub(super) async fn run(parts: GatewayParts, orders: mpsc::WeakSender<Order>, interval: Duration) {
    let mut admin = None;
    let mut found = BTreeMap::new();
    let mut failures = FailureLog::new(OUTAGE_INTERVAL);
    loop {
        let mut wait = interval;
        let now = parts.clock.both().mono;
        match list(&parts, &mut admin).await {
            Ok(topics) => {
                failures.succeed(&Failed::ToList);
                let listed = topics
                    .into_iter()
                    .filter_map(|name| subscriptions(&parts, name));
                let left_out = renew(&mut found, listed.collect());
                if left_out == 0 {
                    failures.succeed(&Failed::ToReadAll);
                } else if failures
                    .fail(Failed::ToReadAll, String::new(), now)
                    .is_some()
                {
                    tracing::warn!(
                        target: "kc::gateway",
                        left_out,
                        "too many topics with requests to controllers: some of them are not read"
                    );
                }
                let Some(orders) = orders.upgrade() else {
                    return;
                };
                if orders
                    .send(Order::Subscriptions(found.clone()))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            Err(error) => {
                wait = retry_delay(&error, interval);
                if failures
                    .fail(Failed::ToList, error.to_string(), now)
                    .is_some()
                {
                    warn_of(&error, "all topics", "topics cannot be listed");
                }
            }
        }
        if orders.upgrade().is_none() {
            return;
        }
        sleep(wait).await;
    }
}

/// The step of a discovery that failed.
#[derive(PartialEq, Eq, Hash)]
enum Failed {
    ToList,
    ToReadAll,
}

/// Removes the topics from `found` that are not in `listed`, and adds the new topics in `listed` up to the limit.
/// Returns the number of new topics that were not added.
fn renew(
    found: &mut BTreeMap<String, ControlTopic>,
    mut listed: BTreeMap<String, ControlTopic>,
) -> usize {
    found.retain(|name, _| listed.remove(name).is_some());
    let room = MAX_SUBSCRIPTION_TOPICS - found.len();
    let left_out = listed.len().saturating_sub(room);
    found.extend(listed.into_iter().take(room));
    left_out
}

fn subscriptions(parts: &GatewayParts, name: String) -> Option<(String, ControlTopic)> {
    match parts.scheme.parse_side_topic(&name)? {
        (root_topic, SideTopic::Subscriptions) if !root_topic.as_str().is_empty() => Some((
            name,
            ControlTopic::Side(root_topic, SideTopic::Subscriptions),
        )),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(names: impl IntoIterator<Item = usize>) -> BTreeMap<String, ControlTopic> {
        let topic = |name: usize| {
            let name = name.to_string();
            let topic = ControlTopic::Side(name.as_str().into(), SideTopic::Subscriptions);
            (name, topic)
        };
        names.into_iter().map(topic).collect()
    }

    #[test]
    fn what_was_found_stays_and_what_vanished_makes_room() {
        let mut found = topics(500..501);
        assert_eq!(renew(&mut found, topics(0..MAX_SUBSCRIPTION_TOPICS + 7)), 7);
        assert_eq!(found.len(), MAX_SUBSCRIPTION_TOPICS);
        assert!(found.contains_key("500"));
        assert_eq!(renew(&mut found, topics([3, 500, 9999])), 0);
        assert_eq!(found, topics([3, 500, 9999]));
    }
}
