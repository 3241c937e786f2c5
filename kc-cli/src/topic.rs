//! Checks of the names of data topics, and the wait for a topic.

use std::time::Duration;

use kc::core::types::{ManagementTopics, RootTopic, SideTopic, TopicScheme, is_topic_name};
use kc::keystore_file::{SearchPlaces, find_node, read_config};
use kc::{Backend, BackendError};
use tokio::time::{sleep, timeout};

use crate::error::{CliError, Exit};
use crate::status::node_settings;

/// The time to wait for a topic that the broker does not know.
const TOPIC_DEADLINE: Duration = Duration::from_secs(10);
/// The time between two requests that ask the broker for the topic.
const LOOK_DELAY: Duration = Duration::from_millis(250);

/// Checks that a name is valid for a data topic: it has the form of a topic name, and it is not the name of a side
/// topic or management topic.
pub(crate) fn require_data_topic(
    topic: &str,
    scheme: &TopicScheme,
    management: &ManagementTopics,
) -> Result<(), CliError> {
    if !is_topic_name(topic) {
        return Err(CliError::usage(format!("invalid topic name {topic:?}"))
            .advise(
                "a name has 1 to 249 ASCII letters, digits, dots, underscores and hyphens, and is neither . nor ..",
            ));
    }
    if let Some((root, _)) = scheme.parse_side_topic(topic) {
        return Err(CliError::usage(format!(
            "{topic} is a side topic of {root}: side topics carry the key exchange, not messages"
        ))
        .advise("choose a topic whose name does not end with the suffix of a side topic"));
    }
    if management.names().contains(&topic) {
        return Err(CliError::usage(format!(
            "{topic} is a management topic: management topics carry chains and list entries, not messages"
        ))
        .advise(
            "choose another topic: management topics are reserved for `kc trust`, `kc chain publish` and chain servers",
        ));
    }
    Ok(())
}

/// Checks that a name is valid for a data topic. The settings of `node` give the names of side topics and management
/// topics.
pub(crate) fn require_data_topic_of(node: &str, topic: &str) -> Result<(), CliError> {
    scheme_for_data_topic(node, topic).map(drop)
}

/// Returns the naming scheme of `node`, if a name is valid for a data topic.
fn scheme_for_data_topic(node: &str, topic: &str) -> Result<TopicScheme, CliError> {
    let files = find_node(node, &SearchPlaces::from_environment())?;
    let settings = node_settings(&files, &read_config(&files)?)?;
    let scheme = settings.scheme();
    require_data_topic(topic, &scheme, &settings.management_topics())?;
    Ok(scheme)
}

/// Checks that a name is valid for a topic to which a node sends records: it is a data topic, and not one of parked
/// records. The settings of `node` give the names.
pub(crate) fn require_topic_to_send_to(node: &str, topic: &str) -> Result<(), CliError> {
    match scheme_for_data_topic(node, topic)?.parse_parked_topic(topic) {
        Some(root) => Err(CliError::usage(format!(
            "{topic} is the topic for parked records of {root}: only consumers write to it"
        ))
        .advise("choose another topic: see the policy park of `kc consume --undecryptable`")),
        None => Ok(()),
    }
}

/// Returns the names of the side topics on which a node requests the data keys of a root topic, for messages.
pub(crate) fn requested_on(scheme: &TopicScheme, root_topic: &RootTopic) -> String {
    let [requests, subscriptions] = [SideTopic::Requests, SideTopic::Subscriptions]
        .map(|side| scheme.side_topic(root_topic, side));
    format!("{requests} and {subscriptions}")
}

/// A topic that the broker knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) partitions: usize,
    /// Whether the topic appeared only during the wait.
    pub(crate) later: bool,
}

/// Waits until the broker knows a topic. With `auto_create`, all requests after the first allow the broker to create
/// the topic; kc does not create it itself.
///
/// # Errors
/// [`Exit::Broker`] if the broker does not know the topic after 10 s, or cannot be reached.
pub(crate) async fn await_topic(
    backend: &dyn Backend,
    servers: &str,
    topic: &str,
    auto_create: bool,
) -> Result<Found, CliError> {
    let admin = backend.admin().await?;
    let looking = async {
        let partitions = admin.partitions(topic, false, TOPIC_DEADLINE).await?;
        if let Some(partitions) = partitions {
            let later = false;
            return Ok::<_, BackendError>(Found { partitions, later });
        }
        loop {
            let partitions = admin.partitions(topic, auto_create, TOPIC_DEADLINE).await?;
            if let Some(partitions) = partitions {
                let later = true;
                return Ok(Found { partitions, later });
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
        .advise(format!(
            "create the topic: kc topics create {topic} -b {servers}"
        ))),
    }
}
