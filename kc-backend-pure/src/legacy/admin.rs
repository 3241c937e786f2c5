//! Metadata. This backend cannot create topics.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kc_core::backend::{Admin, BackendError, ClientSettings, TopicSpec, end_of, unsupported};
use tokio::time::Instant;

use super::NAME;
use super::client::Client;
use super::worker::Worker;

/// The maximum time to wait for a topic that the broker may create on request.
const CREATION_WAIT: Duration = Duration::from_secs(2);

/// The time between two lookups of a topic that is being created.
const CREATION_POLL: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct LegacyAdmin {
    worker: Worker,
}

impl LegacyAdmin {
    pub(super) async fn connect(settings: &Arc<ClientSettings>) -> Result<Self, BackendError> {
        let worker = Worker::connect(settings, "admin client").await?;
        Ok(Self { worker })
    }

    async fn count(&self, topic: &str, deadline: Duration) -> Result<Option<usize>, BackendError> {
        let context = format!("look for topic {topic}");
        let topics = self.worker.call(deadline, context, Client::topics).await?;
        Ok(topics
            .get(topic)
            .and_then(|partitions| usize::try_from(*partitions).ok()))
    }

    /// Requests the metadata of a topic by its name. The broker may then create the topic.
    async fn ask_to_create(&self, topic: &str, deadline: Duration) -> Result<(), BackendError> {
        let context = format!("request the metadata of topic {topic}");
        let topic = topic.to_owned();
        let asking = move |client: &mut Client| {
            client.with(|kafka| kafka.load_metadata(std::slice::from_ref(&topic)))
        };
        self.worker.call(deadline, context, asking).await
    }
}

#[async_trait]
impl Admin for LegacyAdmin {
    async fn partitions(
        &self,
        topic: &str,
        auto_create: bool,
        deadline: Duration,
    ) -> Result<Option<usize>, BackendError> {
        let end = end_of(Instant::now(), deadline);
        let left = || end.saturating_duration_since(Instant::now());
        let found = self.count(topic, deadline).await?;
        if found.is_some() || !auto_create {
            return Ok(found);
        }
        self.ask_to_create(topic, left()).await?;
        let until = end.min(Instant::now() + CREATION_WAIT);
        loop {
            let found = self.count(topic, left()).await?;
            if found.is_some() || Instant::now() >= until {
                return Ok(found);
            }
            tokio::time::sleep(CREATION_POLL).await;
        }
    }

    async fn topics(&self, deadline: Duration) -> Result<Vec<String>, BackendError> {
        let topics = self.worker.call(deadline, "list topics", Client::topics);
        Ok(topics.await?.into_keys().collect())
    }

    async fn create_topic(&self, spec: &TopicSpec, _: Duration) -> Result<(), BackendError> {
        let what = format!("create topic {}", spec.name);
        Err(unsupported(
            NAME,
            what,
            "use the backend pure or rdkafka, Kafka's own tools, or brokers that create topics on request",
        ))
    }

    async fn close(self: Box<Self>) {}
}
