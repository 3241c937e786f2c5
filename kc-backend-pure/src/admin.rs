//! Metadata and topic management.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use kc_core::backend::{
    Admin, BackendError, BackendErrorKind, ClientSettings, Operation, Retention, TopicSpec, end_of,
    finite,
};
use kc_core::text::with_sources;
use krafka::Kafka;
use krafka::admin::{
    AdminClient, ConfigResource, CreatePartitionsOptions, CreateTopicsOptions,
    DescribeConfigsOptions, DescribeConsumerGroupsOptions, DescribeTopicsOptions,
    ListTopicsOptions, NewTopic,
};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::connection::connect;
use crate::error::{bounded, failed};
use crate::lookup::{self, is_legal};

/// The maximum time to wait for a topic that the broker may create on request.
const CREATION_WAIT: Duration = Duration::from_secs(2);

/// The maximum time to wait until a broker lists a new topic. Kafka's controller confirms a topic before the brokers
/// know it.
const VISIBLE_WAIT: Duration = Duration::from_secs(10);

/// The time between two lookups of a topic that is being created.
const CREATION_POLL: Duration = Duration::from_millis(50);

pub(crate) struct PureAdmin {
    settings: Arc<ClientSettings>,
    admin: AdminClient,
    /// A connection whose metadata requests let brokers create topics. It is established when it is needed for the
    /// first time.
    creating: OnceCell<Kafka>,
}

impl PureAdmin {
    pub(crate) async fn connect(settings: Arc<ClientSettings>) -> Result<Self, BackendError> {
        let kafka = connect(&settings, "admin client", false).await?;
        Ok(Self {
            settings,
            admin: kafka.admin(),
            creating: OnceCell::new(),
        })
    }

    async fn count(&self, topic: &str, deadline: Duration) -> Result<Option<usize>, BackendError> {
        let found = lookup::existing(&self.admin, [topic], deadline).await?;
        Ok(found
            .get(topic)
            .and_then(|partitions| usize::try_from(*partitions).ok()))
    }

    /// Requests the metadata of a topic in a way that lets the broker create it.
    async fn ask_to_create(&self, topic: &str, end: Instant) -> Result<(), BackendError> {
        let context = || format!("request the metadata of topic {topic}");
        let connecting = self
            .creating
            .get_or_try_init(|| connect(&self.settings, "admin client", true));
        let connected = tokio::time::timeout_at(end, connecting).await;
        let kafka = connected.map_err(|elapsed| {
            BackendError::new(BackendErrorKind::Timeout, context()).with_source(elapsed)
        })??;
        let asking = async {
            let consumer = kafka.consumer_without_group().build().await?;
            consumer.fetch_metadata(Some(topic)).await
        };
        let left = end.saturating_duration_since(Instant::now());
        bounded(left, context, asking).await.map(drop)
    }

    /// Waits until a broker lists a topic, but at most for `wait` and until `end`. Returns the number of partitions of
    /// the topic, or `None` if no broker lists the topic in time.
    async fn appearance(
        &self,
        topic: &str,
        wait: Duration,
        end: Instant,
    ) -> Result<Option<usize>, BackendError> {
        let until = end.min(Instant::now() + wait);
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let found = self.count(topic, left).await?;
            if found.is_some() || Instant::now() >= until {
                return Ok(found);
            }
            tokio::time::sleep(CREATION_POLL).await;
        }
    }
}

#[async_trait]
impl Admin for PureAdmin {
    async fn partitions(
        &self,
        topic: &str,
        auto_create: bool,
        deadline: Duration,
    ) -> Result<Option<usize>, BackendError> {
        let end = end_of(Instant::now(), deadline);
        let found = self.count(topic, deadline).await?;
        if found.is_some() || !auto_create {
            return Ok(found);
        }
        self.ask_to_create(topic, end).await?;
        self.appearance(topic, CREATION_WAIT, end).await
    }

    async fn topics(&self, deadline: Duration) -> Result<Vec<String>, BackendError> {
        let options = ListTopicsOptions::default().timeout(finite(deadline));
        let context = || format!("list topics at {}", self.settings.bootstrap_servers);
        let listed = bounded(deadline, context, self.admin.list_topics(options)).await?;
        Ok(listed.into_iter().filter(|name| is_legal(name)).collect())
    }

    async fn create_topic(&self, spec: &TopicSpec, deadline: Duration) -> Result<(), BackendError> {
        let end = end_of(Instant::now(), deadline);
        let context = || format!("create topic {}", spec.name);
        let replication = spec.replication.unwrap_or(-1);
        let mut topic = NewTopic::new(&spec.name, spec.partitions, replication)
            .map_err(|error| failed(context(), error))?;
        for (name, value) in spec.cleanup.settings() {
            topic = topic.with_config(*name, *value);
        }
        let options = CreateTopicsOptions::default().timeout(finite(deadline));
        let call = self.admin.create_topics([topic], options);
        match bounded(deadline, context, call).await?.remove(&spec.name) {
            Some(result) => result.map_err(|error| failed(context(), error))?,
            None => return Err(BackendError::new(BackendErrorKind::Other, context())),
        }
        if let Err(error) = self.appearance(&spec.name, VISIBLE_WAIT, end).await {
            tracing::debug!(topic = spec.name, error = %with_sources(&error), "lookup of the new topic failed");
        }
        Ok(())
    }

    async fn add_partitions(
        &self,
        topic: &str,
        count: i32,
        deadline: Duration,
    ) -> Result<(), BackendError> {
        let context = || format!("add partitions to topic {topic}");
        let options = CreatePartitionsOptions::default().timeout(finite(deadline));
        let call = self.admin.create_partitions([(topic, count)], options);
        match bounded(deadline, context, call).await?.remove(topic) {
            Some(result) => result.map_err(|error| failed(context(), error)),
            None => Err(BackendError::new(BackendErrorKind::Other, context())),
        }
    }

    async fn allowed_on_topic(
        &self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<Vec<Operation>>, BackendError> {
        let context = || format!("look for topic {topic}");
        let options = DescribeTopicsOptions::default().timeout(finite(deadline));
        let call = self.admin.describe_topics([topic], options);
        match bounded(deadline, context, call).await?.remove(topic) {
            Some(Ok(described)) => Ok(described.authorized_operations.map(operations)),
            Some(Err(error)) => match failed(context(), error) {
                error if error.kind() == BackendErrorKind::Authorization => Ok(Some(Vec::new())),
                // The topic does not exist, or the client may not describe it.
                error if error.kind() == BackendErrorKind::UnknownTopic => Ok(None),
                error => Err(error),
            },
            None => Ok(None),
        }
    }

    async fn allowed_on_group(
        &self,
        group: &str,
        deadline: Duration,
    ) -> Result<Option<Vec<Operation>>, BackendError> {
        let context = || format!("look for group {group}");
        let options = DescribeConsumerGroupsOptions::default()
            .timeout(finite(deadline))
            .include_authorized_operations(true);
        let call = self.admin.describe_consumer_groups([group], options);
        match bounded(deadline, context, call).await?.remove(group) {
            Some(Ok(described)) => Ok(described.authorized_operations.map(operations)),
            Some(Err(error)) => match failed(context(), error) {
                error if error.kind() == BackendErrorKind::Authorization => Ok(Some(Vec::new())),
                // A group without members and positions may not exist.
                error if !error.is_retriable() => Ok(None),
                error => Err(error),
            },
            None => Ok(None),
        }
    }

    async fn retention(
        &self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<Retention>, BackendError> {
        let context = || format!("look for the retention of topic {topic}");
        let resource = ConfigResource::topic(topic);
        let names = ["cleanup.policy", "retention.ms"];
        let options = DescribeConfigsOptions::default()
            .timeout(finite(deadline))
            .config_names(names.map(str::to_owned).to_vec());
        let call = self.admin.describe_configs([resource.clone()], options);
        let entries = match bounded(deadline, context, call).await?.remove(&resource) {
            Some(Ok(entries)) => entries,
            Some(Err(error)) => match failed(context(), error) {
                error if error.kind() == BackendErrorKind::UnknownTopic => return Ok(None),
                // The broker does not know this request.
                error if error.kind() == BackendErrorKind::Unsupported => return Ok(None),
                error => return Err(error),
            },
            None => return Ok(None),
        };
        let [policy, time] = names.map(|name| {
            let entry = entries.iter().find(|entry| entry.name == name);
            entry.and_then(|entry| entry.value.as_deref())
        });
        let found = policy.zip(time);
        Ok(found.and_then(|(policy, time)| Retention::of(policy, time)))
    }

    async fn close(self: Box<Self>) {
        if let Err(error) = self.admin.close().await {
            tracing::debug!(error = %with_sources(&error), "admin client did not close");
        }
    }
}

/// Returns the operations of Kafka's bit field (KIP-430), in which the number of a bit is the number of an operation.
fn operations(bits: i32) -> Vec<Operation> {
    const NUMBERS: [(i32, Operation); 3] = [
        (3, Operation::Read),
        (4, Operation::Write),
        (5, Operation::Create),
    ];
    let allowed = NUMBERS
        .into_iter()
        .filter(|(number, _)| bits >> number & 1 == 1);
    allowed.map(|(_, operation)| operation).collect()
}

impl fmt::Debug for PureAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PureAdmin")
            .field("bootstrap_servers", &self.settings.bootstrap_servers)
            .finish_non_exhaustive()
    }
}
