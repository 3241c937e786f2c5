use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kc_core::backend::{Admin, Backend, BackendError, BackendErrorKind, TopicSpec};
use kc_core::failure_log::{FailureLog, OUTAGE_INTERVAL};
use tokio::sync::OnceCell;

use super::GatewayParts;
use super::attempts::Attempts;
use crate::clock::Clock;

/// Deadline for an administrative call.
const DEADLINE: Duration = Duration::from_secs(10);

/// Creates control topics with one partition and compaction, because some brokers do not create topics by themselves,
/// and others create them with other settings. The creation of one topic does not wait for the creation of another.
#[derive(Debug)]
pub(super) struct ControlTopics {
    backend: Arc<dyn Backend>,
    connecting: Attempts,
    admin: OnceCell<Arc<dyn Admin>>,
    topics: Mutex<HashMap<String, Arc<Topic>>>,
    /// The topics that this node is not able to create, with what is known about them.
    forbidden: Mutex<FailureLog<String, Unsettled>>,
    clock: Clock,
}

/// What is known about a topic that this node is not able to create.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Unsettled {
    Missing,
    /// The broker does not tell this node whether the topic exists.
    Hidden,
    Unknown,
}

#[derive(Debug, Default)]
struct Topic {
    creating: Attempts,
    /// Set if the topic exists, or if this node is not able to create it. While this flag is set, the node does not try
    /// to create the topic. [`ControlTopics::doubt`] clears the flag.
    settled: AtomicBool,
}

impl ControlTopics {
    pub(super) fn new(parts: &GatewayParts) -> Self {
        Self {
            backend: Arc::clone(&parts.backend),
            connecting: Attempts::default(),
            admin: OnceCell::new(),
            topics: Mutex::default(),
            forbidden: Mutex::new(FailureLog::new(OUTAGE_INTERVAL)),
            clock: parts.clock.clone(),
        }
    }

    /// Creates a topic if it does not exist. If this node is not able to create the topic and a repetition cannot
    /// help, logs what the operator must do, and returns `Ok`.
    pub(super) async fn ensure(&self, name: &str) -> Result<(), BackendError> {
        let topic = self.topic(name);
        if topic.settled.load(Ordering::Acquire) {
            return Ok(());
        }
        topic.creating.share(self.settle(name, &topic)).await
    }

    /// Records that a topic may have been deleted. The next use of the topic creates it if it does not exist.
    pub(super) fn doubt(&self, name: &str) {
        self.topic(name).settled.store(false, Ordering::Release);
    }

    fn topic(&self, name: &str) -> Arc<Topic> {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = topics.entry(name.to_owned()).or_default();
        Arc::clone(topic)
    }

    async fn settle(&self, name: &str, topic: &Topic) -> Result<(), BackendError> {
        // Another caller may have settled the topic while this caller waited.
        if topic.settled.load(Ordering::Acquire) {
            return Ok(());
        }
        match self.create(name).await {
            Ok(()) => tracing::info!(target: "kc::gateway", topic = name, "topic created"),
            Err(error) if error.kind() == BackendErrorKind::TopicExists => {}
            Err(error) if error.leaves_topic_to_others() => self.look_up(name).await,
            Err(error) => return Err(error),
        }
        topic.settled.store(true, Ordering::Release);
        Ok(())
    }

    async fn create(&self, name: &str) -> Result<(), BackendError> {
        let spec = TopicSpec::control(name);
        self.admin().await?.create_topic(&spec, DEADLINE).await
    }

    async fn admin(&self) -> Result<Arc<dyn Admin>, BackendError> {
        if let Some(admin) = self.admin.get() {
            return Ok(Arc::clone(admin));
        }
        let connect = async || self.backend.admin().await.map(Arc::from);
        let connecting = self.admin.get_or_try_init(connect);
        self.connecting.share(connecting).await.cloned()
    }

    /// Logs what the operator must do about a topic that this node is not able to create, unless the topic exists.
    async fn look_up(&self, name: &str) {
        let found = async { self.admin().await?.partitions(name, false, DEADLINE).await };
        match found.await {
            Ok(Some(_)) => {}
            Ok(None) => self.log_forbidden(name, Unsettled::Missing),
            Err(error) if error.kind() == BackendErrorKind::Authorization => {
                self.log_forbidden(name, Unsettled::Hidden);
            }
            Err(_) => self.log_forbidden(name, Unsettled::Unknown),
        }
    }

    fn log_forbidden(&self, name: &str, known: Unsettled) {
        let forbidden = self.forbidden.lock();
        let mut forbidden = forbidden.unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.both().mono;
        if forbidden.fail(name.to_owned(), known, now).is_none() {
            return;
        }
        let advice = match known {
            Unsettled::Missing => {
                "topic does not exist, and this node cannot create it: create it with one partition and \
                 cleanup.policy=compact"
            }
            Unsettled::Hidden => {
                "topic cannot be used: the broker allows this node neither to create it nor to describe it. If the topic \
                 exists, give this node the access rights in the output of `kc topics acls`"
            }
            Unsettled::Unknown => {
                "topic cannot be created by this node: if it does not exist, create it with one partition and \
                 cleanup.policy=compact"
            }
        };
        tracing::warn!(target: "kc::gateway", topic = name, "{advice}");
    }
}
