//! Asks regularly whether a broker answers. The clients of a node try again by themselves during an outage, and some
//! Kafka clients report no error meanwhile.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use kc_core::backend::{Admin, Backend, BackendError, BackendErrorKind};
use kc_core::text::with_sources;
use tokio::time::{Instant, sleep, timeout};

use crate::events::{Events, NodeEvent};

/// Time between two questions while brokers answer.
const INTERVAL: Duration = Duration::from_secs(5);

/// Time between two questions during an outage.
const OUTAGE_INTERVAL: Duration = Duration::from_secs(1);

/// Time that a broker has for an answer.
const DEADLINE: Duration = Duration::from_secs(3);

/// Maximum time to connect, before the first question and after each question without an answer.
const CONNECT_DEADLINE: Duration = Duration::from_secs(15);

/// Sends [`NodeEvent::BrokersLost`] when two questions in a row get no answer, and [`NodeEvent::BrokersBack`] when
/// brokers answer again. A node does this itself; call it for a Kafka client that belongs to no node. Each question is
/// about `topic`, which need not exist.
///
/// The future never ends. Cancel safe.
pub async fn watch_brokers(backend: Arc<dyn Backend>, topic: String, events: Events) -> Infallible {
    let mut admin = None;
    let mut answered = false;
    let mut failures = 0_u32;
    let mut lost = None;
    let mut last = Instant::now();
    loop {
        match ask(&*backend, &mut admin, &topic).await {
            Ok(()) => {
                answered = true;
                failures = 0;
                last = Instant::now();
                if let Some(since) = lost.take() {
                    let after = last.duration_since(since);
                    tracing::info!(target: "kc::outage", ?after, "brokers answer again");
                    events.tell(NodeEvent::BrokersBack { after });
                }
            }
            Err(error) => {
                admin = None;
                failures = failures.saturating_add(1);
                if failures > 1 && lost.is_none() {
                    let reason = reason(&error);
                    lost = Some(last);
                    tracing::warn!(target: "kc::outage", reason, answered, "no broker answers; kc tries again");
                    events.tell(NodeEvent::BrokersLost { reason, answered });
                }
            }
        }
        sleep(if failures > 0 {
            OUTAGE_INTERVAL
        } else {
            INTERVAL
        })
        .await;
    }
}

/// Returns the cause of `error` without its context. The context names only the question, which does not help users.
fn reason(error: &BackendError) -> String {
    let source = error.source();
    source.map_or_else(|| error.kind().to_string(), with_sources)
}

/// Returns an error if no broker answers. A refusal of the client or of the question also counts as an answer.
async fn ask(
    backend: &dyn Backend,
    admin: &mut Option<Box<dyn Admin>>,
    topic: &str,
) -> Result<(), BackendError> {
    let late = |_| BackendError::new(BackendErrorKind::Timeout, "ask whether a broker answers");
    let connected = match admin {
        Some(admin) => admin,
        None => match timeout(CONNECT_DEADLINE, backend.admin())
            .await
            .map_err(late)?
        {
            Ok(connected) => admin.insert(connected),
            Err(error) if error.is_outage() => return Err(error),
            Err(_) => return Ok(()),
        },
    };
    let asking = connected.partitions(topic, false, DEADLINE);
    match timeout(2 * DEADLINE, asking).await.map_err(late)? {
        Err(error) if error.is_outage() => Err(error),
        _ => Ok(()),
    }
}
