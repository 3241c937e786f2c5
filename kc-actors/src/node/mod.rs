//! A complete node: all actors, connected in the default way, on threads of their own.

mod archives;
mod identity;
mod reachability;
mod settings;
mod status;
mod supervisor;
mod thread;

pub use archives::{ConfigChainKeys, ConfigTrustArchive, SealedArchive};
pub use identity::{stored_entries, stored_trust};
pub use reachability::watch_brokers;
pub use settings::{CryptoSettings, DeniedKeys, NodeSettings};
pub use status::{NodeStatus, ShutdownReport};
pub use supervisor::Roles;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kc_core::backend::{Backend, Retention, Subscription};
use kc_core::chain::{ChainError, Identity, TrustStore, Usage};
use kc_core::custody::CustodyArchive;
use kc_core::exchange::{ExchangeConfig, RequestForm};
use kc_core::keys::VerifyingKey;
use kc_core::ratchet::{KeyIdForm, RatchetConfig, RetainedKeys};
use kc_core::store::config::{ConfigError, ConfigStore, ConfigStoreError};
use kc_core::store::{KeyStore, RatchetStore, StoreError};
use kc_core::types::{KeyId, RootTopic, TopicScheme};
use kc_core::wire::WireError;
use thiserror::Error;

use self::supervisor::{ChainServerSettings, CustodianSettings, SupervisorParts};
use self::thread::{NodeThread, Threads, run_on_thread};
use crate::actors::chain::{AskTrust, ChainActor, ChainParts, OwnGrant};
use crate::actors::controller::AskController;
use crate::actors::custody::{AskCustody, CustodyActor};
use crate::actors::exchange::AskExchange;
use crate::actors::gateway::Watched;
use crate::actors::key_table::{PrepareError, Rotate};
use crate::actors::keystore::KeystoreActor;
use crate::actors::ratchet::{RatchetActor, RatchetParts, RetainedRoots};
use crate::client::Clients;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::events::{EventListener, Events};
use crate::handles::{CryptoTables, Opener, Sealers};
use crate::slot::SlotClosed;
use crate::stores::{Store, StoreWatch};

/// The maximum time for which [`Node::status`] waits for the store of a custodian.
const CUSTODY_DEADLINE: Duration = Duration::from_secs(5);

/// Returns the consumer group that commits positions in the control topics, unless [`NodeParts::group`] names another.
#[must_use]
pub fn control_group(node_id: &str) -> String {
    format!("{node_id}.kafkacrypto")
}

/// The parts of a node.
#[derive(Debug)]
pub struct NodeParts {
    /// The Kafka client for the control topics.
    pub backend: Arc<dyn Backend>,
    /// The node's keys.
    pub keystore: Arc<dyn KeyStore>,
    /// The node's ratchet; `None` on a node that only consumes.
    pub ratchet: Option<Box<dyn RatchetStore>>,
    /// The node's configuration: chains, lists, retained keys.
    pub config: Arc<dyn ConfigStore>,
    /// The settings of the node. Settings of the environment and of the program have already replaced the same settings
    /// of the file.
    pub settings: NodeSettings,
    /// The settings of the section `crypto`.
    pub crypto: CryptoSettings,
    /// The optional tasks of the node: controller and chain server.
    pub roles: NodeRoles,
    /// What makes the node a custodian; `None` if it is not one.
    pub custodian: Option<CustodianParts>,
    /// The consumer group that commits positions in the control topics. `None` selects the group `<node>.kafkacrypto`.
    pub group: Option<String>,
    /// The clock of the node.
    pub clock: Clock,
}

/// What makes a node a custodian: it keeps the data keys of other nodes, and answers in place of producers that are gone.
#[derive(Debug)]
pub struct CustodianParts {
    /// The store of the data keys.
    pub archive: Box<dyn CustodyArchive>,
    /// The Kafka client for the data topics.
    pub backend: Arc<dyn Backend>,
    /// The data topics whose keys are collected. The node's chain must grant them.
    pub topics: Subscription,
    /// The consumer group that reads the data topics. Custodians in the same group share the topics.
    pub group: String,
    /// The time for which a data key is kept after the last record that needs it; `None` for as long as the topics keep
    /// their records.
    pub retention: Option<Retention>,
}

/// The optional tasks of a node, in addition to sealing, opening and the key exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeRoles {
    /// Makes the node a controller: it vouches for the requests of limited nodes, for all root topics.
    pub controller: bool,
    /// Makes the node a chain server: it renews the chains of the nodes in the section `chainkeys` of the
    /// configuration.
    pub chain_server: bool,
}

/// A running node. Its actors run on threads of their own, in an actix system of their own. A node therefore runs
/// inside tokio, inside actix, or without any runtime.
#[derive(Debug)]
pub struct Node {
    sealers: Sealers,
    opener: Opener,
    clients: Clients,
    roles: Roles,
    events: Events,
    stores: StoreWatch,
    roots: Vec<VerifyingKey>,
    tables: Arc<CryptoTables>,
    is_controller: bool,
    is_custodian: bool,
    thread: NodeThread,
}

impl Node {
    /// Starts a node, and waits until its handles work. The node connects to Kafka when a connection is first needed.
    /// The node is started on a separate thread, because starting a node waits for disks and tokens.
    ///
    /// Cancel safe: if the future is dropped, the node is closed as soon as it has started.
    ///
    /// # Errors
    /// Returns [`NodeError`] if the configuration or the retained keys cannot be used, or a thread cannot be started.
    pub async fn start(parts: NodeParts) -> Result<Self, NodeError> {
        Self::start_with(|| Ok(parts)).await
    }

    /// Starts a node as [`start`](Self::start) does. `open` returns the parts of the node. `open` is called on the
    /// separate thread, and may therefore wait for disks and tokens.
    ///
    /// Cancel safe: if the future is dropped, the node is closed as soon as it has started.
    ///
    /// # Errors
    /// Returns the error of `open`, or the errors of [`start`](Self::start).
    pub async fn start_with<E: From<NodeError> + Send + 'static>(
        open: impl FnOnce() -> Result<NodeParts, E> + Send + 'static,
    ) -> Result<Self, E> {
        let started = run_on_thread(|| Ok(Self::start_blocking(open()?)?)).await;
        started.map_err(NodeError::Thread)?
    }

    /// Starts a node as [`start`](Self::start) does, on the thread of the caller and without a runtime.
    ///
    /// # Errors
    /// Returns [`NodeError`] if the configuration or the retained keys cannot be used, or a thread cannot be started.
    pub fn start_blocking(parts: NodeParts) -> Result<Self, NodeError> {
        let config = parts.config.load()?;
        let now = parts.clock.now();
        let trust = stored_trust(&config, &parts.settings)?;
        let keys = parts.keystore.verifying_keys();
        let form = if parts.settings.mgmt_long_keyindex {
            KeyIdForm::long(&keys)
        } else {
            KeyIdForm::Short
        };
        let identities = identity::identities(&config, keys, &trust, now)?;
        let retained = SealedArchive::load(parts.keystore.as_ref(), &config)?;
        let used = SealedArchive::used(&config)?;
        let group = parts.group.clone();
        let group = group.unwrap_or_else(|| control_group(config.node_id()));
        Self::launch(parts, (trust, identities), (form, retained, used), group)
    }

    fn launch(
        parts: NodeParts,
        (trust, identities): (TrustStore, Vec<Identity>),
        (form, mut retained, used): (KeyIdForm, RetainedKeys, Option<u64>),
        group: String,
    ) -> Result<Self, NodeError> {
        let NodeParts {
            backend,
            keystore,
            ratchet,
            config,
            settings,
            crypto,
            roles,
            custodian,
            clock,
            ..
        } = parts;
        retained.prune(clock.now(), settings.max_key_age(), None);
        let mut served: Vec<_> = retained.iter().map(|key| key.root_topic.clone()).collect();
        served.sort();
        served.dedup();
        let exchange = exchange_config(keystore.as_ref(), &settings, &crypto);
        let (tables, signals) = CryptoTables::new(settings.scheme());
        let node_roles = Roles::default();
        let events = Events::default();
        let stores = StoreWatch::new(events.clone());
        let roots = trust.roots().map(|(root, _)| root.clone()).collect();
        let chain_server = roles.chain_server.then(|| ChainServerSettings {
            policy: settings.renewal_policy(),
            interval: settings.renewal_interval(),
            keys: Arc::new(ConfigChainKeys::new(Arc::clone(&config))),
        });
        let is_custodian = custodian.is_some();
        let custodian = custodian.map(|parts| CustodianSettings {
            custody: CustodyActor::new(parts.archive, events.clone()),
            backend: parts.backend,
            topics: parts.topics,
            group: parts.group,
            retention: parts.retention,
        });
        let is_durable = ratchet.as_ref().is_none_or(|ratchet| ratchet.is_durable());
        let parts = SupervisorParts {
            threads: Threads::default(),
            roles: node_roles.clone(),
            backend,
            group,
            management: settings.management_topics(),
            chain: ChainActor::new(ChainParts {
                trust,
                identities,
                archive: Box::new(ConfigTrustArchive::new(Arc::clone(&config))),
                clock: clock.clone(),
                events: events.clone(),
            }),
            keystore: KeystoreActor::new(Arc::new(stores.over(Arc::clone(&keystore)))),
            ratchet: RatchetActor::new(RatchetParts {
                archive: is_durable
                    .then(|| Box::new(stores.over(SealedArchive::new(keystore, config))) as _),
                used: used.filter(|_| is_durable),
                store: ratchet.map(|ratchet| Box::new(stores.over(ratchet)) as _),
                retained,
                config: RatchetConfig {
                    form,
                    interval: settings.ratchet_interval(),
                    max_age: settings.max_key_age(),
                },
                clock: clock.clone(),
                entropy: Entropy::system(),
            }),
            tables: Arc::clone(&tables),
            signals,
            exchange,
            keeps_denied: settings.denied_keys == DeniedKeys::Keep,
            stores: stores.clone(),
            watched: Watched::default(),
            controller: roles.controller.then(|| settings.discovery_interval()),
            custodian,
            chain_server,
            served,
            clock: clock.clone(),
            events: events.clone(),
        };
        let thread = NodeThread::spawn(parts)?;
        let sealers = Sealers::new(Arc::clone(&tables), node_roles.key_table.prepare.clone());
        let opener = Opener::new(
            Arc::clone(&tables),
            node_roles.key_table.await_key.clone(),
            settings.first_wait(),
        );
        Ok(Self {
            clients: Clients::new(sealers.clone(), opener.clone(), events.clone()),
            sealers,
            opener,
            roles: node_roles,
            events,
            stores,
            roots,
            tables,
            is_controller: roles.controller,
            is_custodian,
            thread,
        })
    }

    /// Returns the handle that prepares sealers for root topics.
    #[must_use]
    pub fn sealers(&self) -> Sealers {
        self.sealers.clone()
    }

    /// Returns a handle that opens Kafka keys and values.
    #[must_use]
    pub fn opener(&self) -> Opener {
        self.opener.clone()
    }

    /// Returns the encrypted Kafka clients of this node.
    #[must_use]
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Returns the roles of the node. An application uses them to send messages to the node's actors, or to replace
    /// an actor.
    #[must_use]
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// Returns the naming scheme of topics.
    #[must_use]
    pub fn scheme(&self) -> &TopicScheme {
        &self.tables.scheme
    }

    /// Returns a listener that receives all events of the node from now on.
    #[must_use]
    pub fn events(&self) -> EventListener {
        self.events.listen()
    }

    /// Returns the roots of trust that were in force when the node was started. [`status`](Self::status) returns the
    /// roots of trust that are in force now.
    pub fn roots(&self) -> impl Iterator<Item = &VerifyingKey> {
        self.roots.iter()
    }

    /// Checks that a chain of this node grants one of `usages` for a topic. Without the necessary usage, a node never
    /// gets the data keys of the topic.
    ///
    /// Cancel safe: the check changes nothing.
    ///
    /// # Errors
    /// Returns [`NodeError::NotGranted`] if no chain grants any of `usages` (the error contains the check that refused
    /// the last chain tried), and [`NodeError::Closed`] if the node is closed.
    pub async fn authorize(&self, topic: &str, usages: &[Usage]) -> Result<(), NodeError> {
        let message = OwnGrant {
            root_topic: self.tables.scheme.root_of(topic),
            usages: usages.to_vec(),
        };
        let granted = self.roles.chain.grants.send(message).await?;
        granted.map_err(NodeError::NotGranted)
    }

    /// Returns the data keys with which this node has sealed messages since its start: the root topic and the id of each,
    /// of at most the last 8,192.
    #[must_use]
    pub fn sealed_with(&self) -> Vec<(RootTopic, KeyId)> {
        self.tables.sealed_with()
    }

    /// Turns the ratchet now, and seals with new data keys from then on. The previous data keys open no message that
    /// is sealed later. Returns the number of root topics that have a new data key. If no root topic was prepared for
    /// sealing since the start of the node, the ratchet does not turn, and the number is 0.
    ///
    /// Not cancel safe: if the future is dropped, the ratchet may or may not turn.
    ///
    /// # Errors
    /// Returns [`PrepareError`] if the ratchet cannot be turned, or the node is closed.
    pub async fn rotate(&self) -> Result<usize, PrepareError> {
        self.roles.key_table.rotate.send(Rotate).await?
    }

    /// Returns the current state of the node.
    ///
    /// Cancel safe: the call changes nothing.
    ///
    /// # Errors
    /// Returns [`NodeError::Closed`] if the node is closed.
    pub async fn status(&self) -> Result<NodeStatus, NodeError> {
        let roles = &self.roles;
        let mut retained_keys = BTreeMap::new();
        let roots = tokio::select! {
            biased;
            () = self.stores.held_up(&[Store::Ratchet, Store::RetainedKeys]) => Vec::new(),
            roots = roles.ratchet.retained_roots.send(RetainedRoots) => roots?,
        };
        for root_topic in roots {
            *retained_keys.entry(root_topic).or_default() += 1;
        }
        let exchange = roles.exchange.status.send(AskExchange).await?;
        let controller = if self.is_controller {
            Some(roles.controller.status.send(AskController).await?)
        } else {
            None
        };
        let custody = if self.is_custodian {
            // A store that fails or does not answer has no status.
            let status = roles.custody.status.send(AskCustody);
            let status = tokio::time::timeout(CUSTODY_DEADLINE, status).await;
            status.ok().and_then(Result::ok).and_then(Result::ok)
        } else {
            None
        };
        Ok(NodeStatus {
            opening_keys: self.tables.ring().len(),
            retained_keys,
            waiting_records: self.tables.waiting(),
            held: self.tables.held(),
            bounds_hit: exchange.bounds_hit + self.tables.bounds_hit(),
            exchange,
            trust: roles.chain.status.send(AskTrust).await?,
            failing_stores: self.stores.failing(),
            controller,
            custody,
        })
    }

    /// Closes the node in this order: closes its [clients](Clients::close), waits until the records that were read from
    /// control topics are processed, sends queued records, and stops the actors. This method takes at most two seconds
    /// longer than `deadline`, even if an actor blocks. Afterwards every handle returns an error that says that the
    /// node is closed.
    ///
    /// Not cancel safe: if the future is dropped, the node may be partly closed.
    ///
    /// # Errors
    /// Returns [`NodeError::Closed`] if the node was closed before or its thread has ended, and [`NodeError::Thread`]
    /// if the thread that waits until the actors have ended cannot be started.
    pub async fn shutdown(&self, deadline: Duration) -> Result<ShutdownReport, NodeError> {
        let begun = Instant::now();
        let clients = self.clients.close(deadline).await;
        let left = deadline.saturating_sub(begun.elapsed());
        let report = self.thread.stop(left).await?;
        Ok(ShutdownReport { clients, ..report })
    }
}

/// Returns the settings with which the node requests data keys. Legacy requests together with hybrid suites are not an
/// error, because the files may come from a peer that allows both. In this case, legacy requests are not sent, and a
/// warning is logged.
fn exchange_config(
    keystore: &dyn KeyStore,
    settings: &NodeSettings,
    crypto: &CryptoSettings,
) -> ExchangeConfig {
    let (suites, flag) = (keystore.suites(), keystore.legacy_requests());
    let legacy = flag && RequestForm::legacy_is_safe_beside(&suites);
    if flag && !legacy {
        tracing::warn!(
            target: "kc::node",
                "legacy requests are set but not sent: they would let a broker replace the hybrid key exchange by the \
                 classical one"
        );
    }
    ExchangeConfig {
        suites,
        legacy,
        validity: crypto.validity(),
        interval: settings.request_interval(),
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !self.thread.is_stopped() {
            tracing::debug!(target: "kc::node", "node dropped without shutdown");
        }
    }
}

/// The reason why a node cannot be started or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The configuration cannot be loaded.
    #[error(transparent)]
    Config(#[from] ConfigStoreError),
    /// A value in the configuration cannot be used.
    #[error(transparent)]
    Value(#[from] ConfigError),
    /// An entry of the configuration is malformed.
    #[error("the entry {name} in the section {section} is invalid: {problem}")]
    Entry {
        /// The name of the section, without the node's name.
        section: &'static str,
        /// The name of the entry.
        name: String,
        /// The problem with the entry.
        problem: ChainError,
    },
    /// The configuration entry with the data keys that are retained for late consumers cannot be opened.
    #[error("the data keys retained for late consumers cannot be opened")]
    RetainedKeys(#[source] StoreError),
    /// The data keys that are retained for late consumers are malformed.
    #[error("the data keys retained for late consumers are malformed: {0}")]
    RetainedKeysFormat(#[from] WireError),
    /// A store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No valid chain of the node grants any of the usages for the topic.
    #[error(transparent)]
    NotGranted(ChainError),
    /// A thread of the node could not be started.
    #[error("a thread of the node cannot be started")]
    Thread(#[source] std::io::Error),
    /// The node is closed, or an actor of the node died before it answered.
    #[error("the node is closed")]
    Closed,
}

impl From<SlotClosed> for NodeError {
    fn from(_: SlotClosed) -> Self {
        Self::Closed
    }
}
