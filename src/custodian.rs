use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kc_actors::CustodianParts;
use kc_core::backend::{Backend, ClientSettings, Retention, Subscription};
use kc_core::chain::multimatch;
use kc_core::own_chains::OwnChains;
use kc_core::store::KeyStore;
use kc_core::store::config::{KafkaSettings, NodeConfig};
use kc_core::types::{ManagementTopics, TopicScheme};
use kc_keystore_file::{FileCustody, NodeFiles};

use crate::error::Error;

/// The time of silence after which a custodian counts as dead in its group. A custodian that was killed and started again
/// gets no records for this time.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// The time between two heartbeats of a custodian.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(3);

/// What a custodian takes from its node.
pub(crate) struct Place {
    pub(crate) files: NodeFiles,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) topics: Subscription,
    pub(crate) node_id: String,
}

/// Gives a custodian's client a short session, unless the user has set one of its times: its heartbeats do not depend on
/// the work for records.
pub(crate) fn with_short_session(
    mut reading: ClientSettings,
    given: &KafkaSettings,
) -> ClientSettings {
    let times = ["session_timeout_ms", "heartbeat_interval_ms"];
    if !given.iter().any(|(name, _)| times.contains(&name)) {
        reading.session_timeout = SESSION_TIMEOUT;
        reading.heartbeat_interval = HEARTBEAT_INTERVAL;
    }
    reading
}

/// The settings of a custodian: a node that collects the data keys of producers while they are there, and answers
/// consumers in their place. See [`NodeBuilder::custodian`](crate::NodeBuilder::custodian).
///
/// A custodian can read all messages of its topics. `docs/custody.md` says how to limit this.
#[derive(Clone, Debug, Default)]
pub struct Custodian {
    folder: Option<PathBuf>,
    topics: Vec<String>,
    group: Option<String>,
    retention: Option<Retention>,
}

impl Custodian {
    /// Creates the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the folder in which the data keys are kept. It is created if it does not exist. The default is
    /// `<node>.custody` beside the configuration.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Sets the data topics whose keys are collected: names, or regular expressions that begin with `^`. The default is
    /// all topics that the node's chain grants.
    #[must_use]
    pub fn topics(mut self, topics: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.topics = topics.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the consumer group that reads the data topics. Custodians with the same group share the topics: each key is
    /// kept by one of them. The default is the id of the node. Consumers must not use the same group.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Sets the time for which a data key is kept after the last record that needs it. The default is the time for which
    /// the topics keep their records, if the broker reports this time; otherwise the key is kept forever.
    #[must_use]
    pub fn retention(mut self, retention: Retention) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Opens the store of a custodian.
    pub(crate) fn open(
        self,
        place: Place,
        keystore: Arc<dyn KeyStore>,
    ) -> Result<CustodianParts, Error> {
        let folder = self.folder.unwrap_or_else(|| place.files.custody());
        Ok(CustodianParts {
            archive: Box::new(FileCustody::open(&folder, keystore)?),
            backend: place.backend,
            topics: place.topics,
            group: self.group.unwrap_or(place.node_id),
            retention: self.retention,
        })
    }

    /// Returns the data topics that a custodian reads.
    pub(crate) fn subscription(
        &self,
        config: &NodeConfig,
        scheme: &TopicScheme,
        management: &ManagementTopics,
    ) -> Result<Subscription, Error> {
        let (of_side, management) = (scheme.clone(), management.clone());
        let is_data =
            move |topic: &str| of_side.is_data_topic(topic) && !management.names().contains(&topic);
        if !self.topics.is_empty() {
            let topics = Subscription::parse(&self.topics)?;
            return Ok(topics.except(move |topic| !is_data(topic)));
        }
        let chains = OwnChains::load(config)?;
        let granted: Vec<_> = chains.iter().filter_map(|chain| chain.topics()).collect();
        let scheme = scheme.clone();
        let is_granted = move |topic: &str| {
            let root_topic = scheme.root_str(topic);
            let mut granted = granted.iter();
            granted.any(|topics| multimatch(&root_topic, topics) == Ok(true))
        };
        let all = Subscription::parse(["^."])?;
        Ok(all.except(move |topic| !is_data(topic) || !is_granted(topic)))
    }
}
