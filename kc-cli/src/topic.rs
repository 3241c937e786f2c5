//! The names of data topics, and waiting for a topic.

use std::time::Duration;

use kc::core::types::{ManagementTopics, TopicScheme, is_topic_name};
use kc::keystore_file::{SearchPlaces, find_node, read_config};
use kc::{Backend, BackendError};
use tokio::time::{sleep, timeout};

use crate::error::{CliError, Exit};
use crate::status::node_settings;

/// How long to look for a topic that the broker does not know.
const TOPIC_DEADLINE: Duration = Duration::from_secs(10);
/// How often to look.
const LOOK_DELAY: Duration = Duration::from_millis(250);

/// Refuses a name that no data topic can have: a side topic carries keys, a management topic carries chains and lists.
pub(crate) fn require_data_topic(
    topic: &str,
    scheme: &TopicScheme,
    management: &ManagementTopics,
) -> Result<(), CliError> {
    if !is_topic_name(topic) {
        return Err(
            CliError::usage(format!("{topic:?} is not the name of a topic")).advise(
                "names have up to 249 ASCII letters, digits, dots, underscores and hyphens",
            ),
        );
    }
    if let Some((root, _)) = scheme.parse_side_topic(topic) {
        return Err(CliError::usage(format!(
            "{topic} is a side topic of {root}: it carries keys, and no data"
        ))
        .advise("choose a topic whose name has no suffix of side topics"));
    }
    if management.names().contains(&topic) {
        return Err(CliError::usage(format!(
            "{topic} is a management topic: it carries chains or lists of keys, and no data"
        ))
        .advise(
            "choose another topic; `kc trust` and `kc chain publish` write to management topics",
        ));
    }
    Ok(())
}

/// As [`require_data_topic`], with the names that a node's settings give to side and management topics.
pub(crate) fn require_data_topic_of(node: &str, topic: &str) -> Result<(), CliError> {
    let files = find_node(node, &SearchPlaces::from_environment())?;
    let settings = node_settings(&files, &read_config(&files.config())?)?;
    require_data_topic(topic, &settings.scheme(), &settings.management_topics())
}

/// Whether a topic was there when it was first looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It was.
    AtOnce,
    /// It was created while it was looked for.
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
