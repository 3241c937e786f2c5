//! Updates that are sent to a management topic.

use std::time::Duration;

use kc::core::backend::{Admin, OutgoingRecord, Producer, TopicSpec};
use kc::core::keys::VerifyingKey;
use kc::core::types::ManagementTopic;
use kc::{BackendError, BackendErrorKind};
use tokio::time::timeout;

use crate::args::Connection;
use crate::error::CliError;

/// The time limit of a call to the broker.
const DEADLINE: Duration = Duration::from_secs(30);

/// A message about a signing key. The Kafka key of its record is the byte form of the signing key, so that compaction
/// keeps one message for each signing key.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) key: VerifyingKey,
    pub(crate) message: Vec<u8>,
}

/// Sends updates to a management topic, and waits until the broker has acknowledged the updates. Before this, creates
/// the topic if it does not exist. If the broker or the backend refuses to create the topic, sends the updates
/// nevertheless. Returns the name of the topic.
pub(crate) async fn publish(
    connection: &Connection,
    topic: ManagementTopic,
    updates: &[Update],
) -> Result<String, CliError> {
    let topic = connection.management.name(topic).to_owned();
    let admin = connection.backend.admin().await?;
    let created = create(admin.as_ref(), &topic).await;
    admin.close().await;
    created?;
    let producer = connection.backend.producer().await?;
    let sent = timeout(DEADLINE, send(producer.as_ref(), &topic, updates)).await;
    let sent = sent.unwrap_or_else(|_| Err(late(&topic).into()));
    let closed = producer.close(DEADLINE).await;
    sent?;
    closed?;
    Ok(topic)
}

async fn create(admin: &dyn Admin, topic: &str) -> Result<(), CliError> {
    match admin
        .create_topic(&TopicSpec::control(topic), DEADLINE)
        .await
    {
        Err(error) if !error.leaves_topic_to_others() => Err(error.into()),
        _ => Ok(()),
    }
}

async fn send(producer: &dyn Producer, topic: &str, updates: &[Update]) -> Result<(), CliError> {
    for Update { key, message } in updates {
        let record = OutgoingRecord {
            topic: topic.to_owned(),
            partition: Some(0),
            key: Some(key.to_bytes()),
            value: Some(message.clone()),
            headers: Vec::new(),
        };
        producer.enqueue(record).await?.await?;
    }
    Ok(())
}

fn late(topic: &str) -> BackendError {
    BackendError::new(BackendErrorKind::Timeout, format!("send to {topic}"))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    /// An admin client that refuses to create topics, with this kind of error.
    #[derive(Debug)]
    struct Refusing(BackendErrorKind);

    #[async_trait]
    impl Admin for Refusing {
        async fn partitions(
            &self,
            _: &str,
            _: bool,
            _: Duration,
        ) -> Result<Option<usize>, BackendError> {
            Ok(None)
        }

        async fn topics(&self, _: Duration) -> Result<Vec<String>, BackendError> {
            Ok(Vec::new())
        }

        async fn create_topic(&self, _: &TopicSpec, _: Duration) -> Result<(), BackendError> {
            Err(BackendError::new(self.0, "create"))
        }

        async fn close(self: Box<Self>) {}
    }

    #[tokio::test]
    async fn a_backend_that_creates_no_topics_may_send_to_them() {
        let refusing = Refusing(BackendErrorKind::Unsupported);
        create(&refusing, "chains").await.unwrap();
        let unreachable = Refusing(BackendErrorKind::Unreachable);
        create(&unreachable, "chains").await.unwrap_err();
    }
}
