//! What is polled, and a poll that ends.

use std::time::Duration;

use kc_core::backend::{BackendError, ClientSettings};
use krafka::consumer::{Consumer, ConsumerRecord, IsolationLevel};

use crate::error::failed;

/// How much longer than asked a poll may take. It waits for brokers that do not answer, and must not be
/// cut off while one is only slow, or it would never get through.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn isolation(settings: &ClientSettings) -> IsolationLevel {
    if settings.read_committed {
        IsolationLevel::ReadCommitted
    } else {
        IsolationLevel::ReadUncommitted
    }
}

/// Polls; nothing within the time is no records. (krafka's poll loses nothing when it is dropped.)
pub(crate) async fn poll(
    consumer: &Consumer,
    wait: Duration,
    context: &str,
) -> Result<Vec<ConsumerRecord>, BackendError> {
    match tokio::time::timeout(wait.saturating_add(GRACE), consumer.poll(wait)).await {
        Ok(result) => result.map_err(|error| failed(context, error)),
        Err(_) => Ok(Vec::new()),
    }
}
