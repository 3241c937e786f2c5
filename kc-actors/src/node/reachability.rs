//! Asks regularly whether a broker answers. The clients of a node try again by themselves during an outage, and some
//! Kafka clients report no error meanwhile.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use kc_core::backend::{Admin, Backend, BackendError};
use kc_core::text::with_sources;
use tokio::time::{Instant, sleep, timeout};

use crate::events::{Events, NodeEvent};

/// Time between two questions while brokers answer.
const INTERVAL: Duration = Duration::from_secs(5);

/// Time between two questions during an outage.
const OUTAGE_INTERVAL: Duration = Duration::from_secs(1);

/// Time that a broker has for an answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// Reports when brokers no longer answer, and when they answer again. Does not report brokers that have never answered.
/// `topic` is the topic about which brokers are asked; it need not exist.
pub(super) async fn watch(backend: Arc<dyn Backend>, topic: String, events: Events) {
    let mut admin = None;
    let mut answered = false;
    let mut lost = None;
    let mut last = Instant::now();
    loop {
        let reached = match timeout(DEADLINE, ask(&*backend, &mut admin, &topic)).await {
            Ok(asked) => asked.map_err(|error| reason(&error)),
            Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
        };
        match reached {
            Ok(()) => {
                answered = true;
                last = Instant::now();
                if let Some(since) = lost.take() {
                    let after = last.duration_since(since);
                    tracing::info!(target: "kc::outage", ?after, "brokers answer again");
                    events.tell(NodeEvent::BrokersBack { after });
                }
            }
            Err(reason) => {
                admin = None;
                if answered && lost.is_none() {
                    lost = Some(last);
                    tracing::warn!(target: "kc::outage", reason, "no broker answers any more; the node tries again");
                    events.tell(NodeEvent::BrokersLost { reason });
                }
            }
        }
        sleep(if lost.is_some() {
            OUTAGE_INTERVAL
        } else {
            INTERVAL
        })
        .await;
    }
}

/// Returns the reason without the question, which is not what the user wants to know.
fn reason(error: &BackendError) -> String {
    let source = error.source();
    source.map_or_else(|| error.kind().to_string(), with_sources)
}

/// Returns an error if no broker answers. A broker that refuses to answer the question answers, too.
async fn ask(
    backend: &dyn Backend,
    admin: &mut Option<Box<dyn Admin>>,
    topic: &str,
) -> Result<(), BackendError> {
    let connected = match admin {
        Some(admin) => admin,
        None => admin.insert(backend.admin().await?),
    };
    match connected.partitions(topic, false, DEADLINE).await {
        Err(error) if error.is_outage() => Err(error),
        _ => Ok(()),
    }
}
