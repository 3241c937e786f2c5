//! Lookup of existing topics and their offsets.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Once;
use std::time::Duration;

use kc_core::backend::{BackendError, BackendErrorKind, Subscription, Watermarks, finite};
use kc_core::types::is_topic_name;
use krafka::KrafkaError;
use krafka::admin::{
    AdminClient, DescribeTopicsOptions, ListOffsetsOptions, ListTopicsOptions, ListedOffset,
    OffsetSpec,
};
use krafka::consumer::TopicPartition;
use krafka::error::ErrorCode;

use crate::error::{bounded, failed};

/// The maximum time of each request with which a poll looks up topics or start positions.
pub(crate) const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// Returns those of `topics` that exist, each with its number of partitions.
pub(crate) async fn existing(
    admin: &AdminClient,
    topics: impl IntoIterator<Item = &str>,
    deadline: Duration,
) -> Result<HashMap<String, i32>, BackendError> {
    let topics: Vec<&str> = topics.into_iter().collect();
    if topics.is_empty() {
        return Ok(HashMap::new());
    }
    let context = || format!("look for topics {}", topics.join(", "));
    let options = DescribeTopicsOptions::default().timeout(finite(deadline));
    let call = admin.describe_topics(topics.iter().copied(), options);
    let mut found = HashMap::new();
    for (topic, described) in bounded(deadline, context, call).await? {
        match described {
            Ok(described) => {
                let partitions = i32::try_from(described.partitions.len()).unwrap_or(i32::MAX);
                if partitions > 0 {
                    found.insert(topic, partitions);
                }
            }
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(failed(format!("look for topic {topic}"), error)),
        }
    }
    Ok(found)
}

/// Returns the names of all topics. Also updates the metadata that `admin` shares with the other clients of its
/// connection; [`existing`] does not update them.
pub(crate) async fn all(
    admin: &AdminClient,
    deadline: Duration,
) -> Result<Vec<String>, BackendError> {
    let options = ListTopicsOptions::default().timeout(finite(deadline));
    let listing = admin.list_topics(options);
    bounded(deadline, || "list topics".to_owned(), listing).await
}

/// Returns whether a topic name that a broker lists is valid. Logs the first invalid name.
pub(crate) fn is_legal(topic: &str) -> bool {
    static LOGGED: Once = Once::new();
    let is_legal = is_topic_name(topic);
    if !is_legal {
        LOGGED.call_once(|| {
            tracing::warn!(
                ?topic,
                "broker lists an invalid topic name; the topic is ignored"
            );
        });
    }
    is_legal
}

/// Returns the topics of a subscription that exist and are not in `subscribed`, each with its number of partitions.
pub(crate) async fn missing_from(
    subscribed: &BTreeMap<String, i32>,
    subscription: &Subscription,
    admin: &AdminClient,
    deadline: Duration,
) -> Result<HashMap<String, i32>, BackendError> {
    let mut wanted: BTreeSet<String> = subscription.names().clone();
    if subscription.is_open() {
        let listed = all(admin, deadline).await?;
        let wants = |topic: &String| is_legal(topic) && subscription.wants(topic);
        wanted.extend(listed.into_iter().filter(wants));
    }
    let missing = wanted
        .iter()
        .filter(|topic| !subscribed.contains_key(*topic));
    existing(admin, missing.map(String::as_str), deadline).await
}

/// Returns the first offset and the end offset of each partition (see [`Watermarks`]). All of the partitions must
/// exist.
pub(crate) async fn watermarks(
    admin: &AdminClient,
    partitions: &[TopicPartition],
    deadline: Duration,
) -> Result<HashMap<TopicPartition, Watermarks>, BackendError> {
    if partitions.is_empty() {
        return Ok(HashMap::new());
    }
    let (mut lows, highs) = tokio::join!(
        offsets(admin, partitions, OffsetSpec::Earliest, deadline),
        offsets(admin, partitions, OffsetSpec::Latest, deadline),
    );
    let mut found = HashMap::new();
    for (partition, high) in highs? {
        let context = || format!("list offsets of topic {}", partition.topic);
        let low = match &mut lows {
            Ok(lows) => lows.remove(&partition),
            Err(_) => return lows.map(|_| HashMap::new()),
        };
        let low = low.ok_or_else(|| BackendError::new(BackendErrorKind::Other, context()))?;
        found.insert(partition, Watermarks { low, high });
    }
    Ok(found)
}

async fn offsets(
    admin: &AdminClient,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
    deadline: Duration,
) -> Result<HashMap<TopicPartition, i64>, BackendError> {
    let context = |partition: Option<&TopicPartition>| match partition {
        Some(partition) => format!("list offsets of topic {}", partition.topic),
        None => "list offsets".to_owned(),
    };
    let specs = partitions
        .iter()
        .cloned()
        .map(|partition| (partition, spec));
    let options = ListOffsetsOptions::default().timeout(finite(deadline));
    let call = admin.list_offsets(specs, options);
    bounded(deadline, || context(partitions.first()), call)
        .await?
        .into_iter()
        .map(|(partition, listed)| match listed {
            Ok(ListedOffset { offset, .. }) => Ok((partition, offset)),
            Err(error) => Err(failed(context(Some(&partition)), error)),
        })
        .collect()
}

/// Returns whether the error means that the topic does not exist or has no leader yet.
fn is_missing(error: &KrafkaError) -> bool {
    matches!(
        error,
        KrafkaError::UnknownTopic { .. }
            | KrafkaError::Broker {
                code: ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::UnknownTopicId
                    | ErrorCode::LeaderNotAvailable,
                ..
            }
    )
}
