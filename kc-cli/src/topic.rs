//! Waiting for a topic.

use std::time::Duration;

use kc::{Backend, BackendError};
use tokio::time::{sleep, timeout};

use crate::error::{CliError, Exit};

/// How long to look for a topic that the broker does not know.
const TOPIC_DEADLINE: Duration = Duration::from_secs(10);
/// How often to look.
const LOOK_DELAY: Duration = Duration::from_millis(250);

/// Whether a topic was there when it was first looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was.
    AtOnce,
    /// It came to be meanwhile.
    Later,
}

/// Waits until the broker knows a topic. We create none, but with `auto_create` asking may make the
/// broker do so.
pub(crate) async fn await_topic(
    backend: &dyn Backend,
    servers: &str,
    topic: &str,
    auto_create: bool,
) -> Result<Found, CliError> {
    let admin = backend.admin().await?;
    let looking = async {
        let partitions = admin.partitions(topic, false, TOPIC_DEADLINE).await?;
        if partitions.is_some() {
            return Ok::<_, BackendError>(Found::AtOnce);
        }
        loop {
            let partitions = admin.partitions(topic, auto_create, TOPIC_DEADLINE).await?;
            if partitions.is_some() {
                return Ok(Found::Later);
            }
            sleep(LOOK_DELAY).await;
        }
    };
    let found = timeout(TOPIC_DEADLINE, looking).await;
    admin.close().await;
    match found {
        Ok(found) => Ok(found?),
        Err(_) => Err(CliError::new(
            Exit::Broker,
            format!(
                "the broker at {servers} does not know topic {topic} after {} s",
                TOPIC_DEADLINE.as_secs()
            ),
        )
        .advise(format!("create it: kc topics create {topic} -b {servers}"))),
    }
}
