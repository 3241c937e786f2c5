use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kc_core::backend::{Admin, Backend, BackendError, BackendErrorKind, TopicSpec};
use tokio::sync::Mutex;

/// How long an administrative call may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Creates control topics: one partition, compacted. No broker can be relied on to do so by itself.
#[derive(Debug)]
pub(super) struct ControlTopics {
    backend: Arc<dyn Backend>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    admin: Option<Box<dyn Admin>>,
    /// The topics that exist, or that we may not create: not to be tried again until one is doubted.
    settled: HashSet<String>,
    /// Those that we may not create, which has been said.
    forbidden: HashSet<String>,
}

impl ControlTopics {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            state: Mutex::default(),
        }
    }

    /// Creates a topic unless it exists. Where that is forbidden, says so once, and leaves it to others.
    pub(super) async fn ensure(&self, topic: &str) -> Result<(), BackendError> {
        let mut state = self.state.lock().await;
        if state.settled.contains(topic) {
            return Ok(());
        }
        let admin = match state.admin.take() {
            Some(admin) => admin,
            None => self.backend.admin().await?,
        };
        let created = admin
            .create_topic(&TopicSpec::control(topic), DEADLINE)
            .await;
        state.admin = Some(admin);
        match &created {
            Ok(()) => tracing::info!(target: "kc::gateway", topic, "topic created"),
            Err(error) if error.kind() == BackendErrorKind::TopicExists => {}
            Err(error) if error.leaves_topic_to_others() => {
                if state.forbidden.insert(topic.into()) {
                    tracing::warn!(
                        target: "kc::gateway",
                        topic,
                        "the topic may not be created from here: create it with one partition and \
                         cleanup.policy=compact"
                    );
                }
            }
            Err(_) => return created,
        }
        state.settled.insert(topic.into());
        Ok(())
    }

    /// Has a topic looked for anew before it is used again: it may have been deleted.
    pub(super) async fn doubt(&self, topic: &str) {
        self.state.lock().await.settled.remove(topic);
    }
}
