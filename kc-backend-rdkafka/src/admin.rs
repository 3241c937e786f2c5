//! Metadata and topic management.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kc_core::backend::{
    Admin, BackendError, BackendErrorKind, ClientSettings, Retention, Sasl, TopicSpec, end_of,
    unsupported,
};
use kc_core::text::with_sources;
use rdkafka::admin::{
    AdminClient, AdminOptions, ConfigResource, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication, TopicResult,
};
use rdkafka::error::KafkaResult;
use tokio::runtime::Handle;

use crate::config::{self, Role};
use crate::error::{failed, of_code};
use crate::events::Events;
use crate::lookup::{Lookup, left};
use crate::record::check_name;
use crate::worker::{Worker, blocking, retire};

/// The maximum time to wait for a topic that the broker may create on request.
const CREATION_WAIT: Duration = Duration::from_secs(2);

/// The maximum time to wait until a broker lists a new topic. Kafka's controller confirms a topic before the brokers
/// know it.
const VISIBLE_WAIT: Duration = Duration::from_secs(10);

/// The first and the maximum time between two lookups of a topic that is being created. The time is doubled after each one.
const CREATION_POLL: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(80));

/// The time after which a broker that knows no configuration of a topic is asked again. It may know a new topic later than
/// the broker that lists it.
const LAG: Duration = Duration::from_millis(500);

/// The maximum time to close a client.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct RdkafkaAdmin {
    settings: Arc<ClientSettings>,
    worker: Worker<Lookup>,
}

impl RdkafkaAdmin {
    pub(crate) async fn connect(settings: Arc<ClientSettings>) -> Result<Self, BackendError> {
        let worker = connect(&settings, Role::Admin).await?;
        Ok(Self { settings, worker })
    }

    /// Requests the configuration of a topic. Returns `None` if the broker does not know this request, and a configuration
    /// without entries if the broker refuses to return it, for whatever reason: the crate `rdkafka` does not pass the
    /// reason on.
    async fn configuration(
        &self,
        topic: &str,
        end: Instant,
    ) -> Result<Option<ConfigResource>, BackendError> {
        let context = retention_of(topic);
        let (settings, runtime) = (Arc::clone(&self.settings), Handle::current());
        let describe = {
            let (context, topic) = (context.clone(), topic.to_owned());
            move || describe(&settings, &runtime, &context, &topic, left(end))
        };
        match blocking(left(end), &context, describe).await {
            Ok(described) => Ok(Some(described)),
            Err(error) if error.kind() == BackendErrorKind::Unsupported => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Requests the metadata of a topic in a way that lets the broker create it.
    async fn ask_to_create(&self, topic: &str, end: Instant) -> Result<(), BackendError> {
        let creator = connect(&self.settings, Role::Creator).await?;
        count(&creator, topic, end).await.map(drop)
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
        let (mut pause, longest) = CREATION_POLL;
        loop {
            let found = count(&self.worker, topic, end).await?;
            if found.is_some() || Instant::now() >= until {
                return Ok(found);
            }
            tokio::time::sleep(pause).await;
            pause = longest.min(2 * pause);
        }
    }
}

async fn connect(
    settings: &Arc<ClientSettings>,
    role: Role<'static>,
) -> Result<Worker<Lookup>, BackendError> {
    let settings = Arc::clone(settings);
    let make = move || Lookup::connect(&settings, role);
    Worker::start("kc admin", make).await
}

/// Returns the number of a topic's partitions, or `None` if the topic does not exist.
async fn count(
    worker: &Worker<Lookup>,
    topic: &str,
    end: Instant,
) -> Result<Option<usize>, BackendError> {
    let context = format!("look for topic {topic}");
    let topic = topic.to_owned();
    let job = move |lookup: &mut Lookup| lookup.count(&topic, end);
    worker.call(left(end), &context, job).await?
}

#[async_trait]
impl Admin for RdkafkaAdmin {
    async fn partitions(
        &self,
        topic: &str,
        auto_create: bool,
        deadline: Duration,
    ) -> Result<Option<usize>, BackendError> {
        let end = end_of(Instant::now(), deadline);
        let found = count(&self.worker, topic, end).await?;
        if found.is_some() || !auto_create {
            return Ok(found);
        }
        self.ask_to_create(topic, end).await?;
        self.appearance(topic, CREATION_WAIT, end).await
    }

    async fn topics(&self, deadline: Duration) -> Result<Vec<String>, BackendError> {
        let end = end_of(Instant::now(), deadline);
        let context = format!("list topics at {}", self.settings.bootstrap_servers);
        let job = {
            let context = context.clone();
            move |lookup: &mut Lookup| lookup.topics(&context, end)
        };
        let topics = self.worker.call(deadline, &context, job).await??;
        Ok(topics.into_iter().collect())
    }

    async fn create_topic(&self, spec: &TopicSpec, deadline: Duration) -> Result<(), BackendError> {
        let end = end_of(Instant::now(), deadline);
        let context = format!("create topic {}", spec.name);
        let (settings, runtime) = (Arc::clone(&self.settings), Handle::current());
        let create = {
            let (context, spec) = (context.clone(), spec.clone());
            move || create(&settings, &runtime, &context, &spec, deadline)
        };
        blocking(deadline, &context, create).await?;
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
        let context = format!("add partitions to topic {topic}");
        let (settings, runtime) = (Arc::clone(&self.settings), Handle::current());
        let add = {
            let (context, topic) = (context.clone(), topic.to_owned());
            move || add(&settings, &runtime, &context, (&topic, count), deadline)
        };
        blocking(deadline, &context, add).await
    }

    async fn retention(
        &self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<Retention>, BackendError> {
        if !can_administer(&self.settings) {
            return Ok(None);
        }
        let end = end_of(Instant::now(), deadline);
        for lag in [LAG, Duration::ZERO] {
            let Some(described) = self.configuration(topic, end).await? else {
                return Ok(None);
            };
            if !described.entries.is_empty() {
                let value = |name| described.get(name)?.value.as_deref();
                let found = value("cleanup.policy").zip(value("retention.ms"));
                return Ok(found.and_then(|(policy, time)| Retention::of(policy, time)));
            }
            if count(&self.worker, topic, end).await?.is_none() {
                return Ok(None);
            }
            tokio::time::sleep(lag.min(left(end))).await;
        }
        // The topic exists. A missing right is the only lasting reason for a broker to refuse.
        let kind = BackendErrorKind::Authorization;
        Err(BackendError::new(kind, retention_of(topic)))
    }

    async fn close(self: Box<Self>) {
        self.worker.end(CLOSE_TIMEOUT).await;
    }
}

/// Returns the context of errors about the retention of a topic.
fn retention_of(topic: &str) -> String {
    format!("look for the retention of topic {topic}")
}

/// Requests the configuration of a topic.
fn describe(
    settings: &ClientSettings,
    runtime: &Handle,
    context: &str,
    topic: &str,
    deadline: Duration,
) -> Result<ConfigResource, BackendError> {
    check_name(topic)?;
    let topic = ResourceSpecifier::Topic(topic);
    let request = async |client: &AdminClient<Events>, options: &AdminOptions| {
        client.describe_configs([&topic], options).await
    };
    let described = administer(settings, runtime, context, deadline, request)?;
    described.map_err(|code| of_code(context, code).with_source(code))
}

/// Raises the number of a topic's partitions to `count`.
fn add(
    settings: &ClientSettings,
    runtime: &Handle,
    context: &str,
    (topic, count): (&str, i32),
    deadline: Duration,
) -> Result<(), BackendError> {
    check_name(topic)?;
    let invalid = |error| BackendError::new(BackendErrorKind::Rejected, context).with_source(error);
    let count = usize::try_from(count).map_err(invalid)?;
    let more = NewPartitions::new(topic, count);
    let request = async |client: &AdminClient<Events>, options: &AdminOptions| {
        client.create_partitions([&more], options).await
    };
    let result = administer(settings, runtime, context, deadline, request)?;
    done(context, result)
}

/// Creates a topic.
fn create(
    settings: &ClientSettings,
    runtime: &Handle,
    context: &str,
    spec: &TopicSpec,
    deadline: Duration,
) -> Result<(), BackendError> {
    check_name(&spec.name)?;
    let replication = spec.replication.map_or(-1, i32::from);
    let mut topic = NewTopic::new(
        &spec.name,
        spec.partitions,
        TopicReplication::Fixed(replication),
    );
    for (name, value) in spec.cleanup.settings() {
        topic = topic.set(name, value);
    }
    let request = async |client: &AdminClient<Events>, options: &AdminOptions| {
        client.create_topics([&topic], options).await
    };
    let result = administer(settings, runtime, context, deadline, request)?;
    done(context, result)
}

/// Maps the result of a change of a topic.
fn done(context: &str, result: TopicResult) -> Result<(), BackendError> {
    match result {
        Ok(_) => Ok(()),
        Err((_, code)) => Err(of_code(context, code).with_source(code)),
    }
}

/// Returns whether requests about topics are possible. The crate `rdkafka` serves no requests for tokens in its client for
/// these requests.
pub(crate) fn can_administer(settings: &ClientSettings) -> bool {
    !matches!(settings.sasl, Some(Sasl::OAuthBearer(_)))
}

/// Sends a request about one topic, and returns the result for this topic. The client for this request exists only during
/// the call, because no thread would serve the events of an idle client.
fn administer<T>(
    settings: &ClientSettings,
    runtime: &Handle,
    context: &str,
    deadline: Duration,
    request: impl AsyncFnOnce(&AdminClient<Events>, &AdminOptions) -> KafkaResult<Vec<T>>,
) -> Result<T, BackendError> {
    if !can_administer(settings) {
        return Err(unsupported(
            "rdkafka",
            "creating topics or partitions with the value OAUTHBEARER of `sasl_mechanism`",
            "create the topics with the backend pure: kc topics create TOPIC --backend pure",
        ));
    }
    let deadline = left(end_of(Instant::now(), deadline));
    let options = AdminOptions::new()
        .request_timeout(Some(deadline))
        .operation_timeout(Some(deadline));
    let client: AdminClient<Events> = config::client(settings, Role::Admin, Events::default())?;
    let answered = runtime.block_on(request(&client, &options));
    retire(client);
    let results = answered.map_err(|error| failed(context, error))?;
    let result = results.into_iter().next();
    result.ok_or_else(|| BackendError::new(BackendErrorKind::Other, context))
}

impl fmt::Debug for RdkafkaAdmin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdkafkaAdmin")
            .field("bootstrap_servers", &self.settings.bootstrap_servers)
            .finish_non_exhaustive()
    }
}
