use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use kc_actors::exchange::GivenKeys;
use kc_actors::{
    Clock, CryptoSettings, EventListener, NodeError, NodeEvent, NodeParts, NodeRoles, NodeSettings,
    NodeStatus, Opener, Sealer, Undecryptable, control_group,
};
use kc_core::backend::{Backend, BackendError, ClientSettings, GroupStart, end_of};
use kc_core::secret::SecretText;
use kc_core::store::KeyStore;
use kc_core::store::config::{KafkaUse, NodeConfig, NodeRole, Section};
use kc_core::text::counted;
use kc_core::types::ManagementTopics;
use kc_keystore_file::{FileConfigStore, NodeFiles, NodeLock, Settings, key_types};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::backends::{BackendChoice, ByRole};
use crate::clients::{ConsumerBuilder, ProducerBuilder};
#[cfg(feature = "custody")]
use crate::custodian::{self, Custodian, Place};
use crate::error::{Error, ErrorKind};
use crate::keystores::NodePin;
use crate::maintenance::LockedFiles;

/// Default deadline for closing a node.
const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

/// The name of the additional layer of Kafka settings for the control topics (protocol §11).
const MANAGEMENT: &str = "crypto";
/// The name of the additional layer of Kafka settings for messages. Only kc has this layer: the peers use the same
/// settings for messages and for the control topics.
const MESSAGES: &str = "data";

/// A builder that opens a node from its files, returned by [`Node::builder`]. Settings of the builder override the
/// environment (`KC_CONFIG__<SECTION>__<NAME>`), which overrides the files.
///
/// `Debug` shows only the names of settings, because values may be passwords.
#[derive(Clone)]
pub struct NodeBuilder {
    node: String,
    flags: Vec<(Option<String>, String, String)>,
    /// The entries of the setting `root_topics`; none if the setting is not overridden.
    copies: Vec<String>,
    make_backend: Option<Arc<MakeBackend>>,
    pin: Option<NodePin>,
    roles: NodeRoles,
    #[cfg(feature = "custody")]
    custodian: Option<Custodian>,
    clock: Clock,
}

type MakeBackend = dyn Fn(ClientSettings) -> Result<Arc<dyn Backend>, BackendError> + Send + Sync;

/// A node. It seals and opens messages, exchanges data keys with other nodes, and has encrypted Kafka clients. Cheap to
/// clone; all clones share the same node.
///
/// A node runs on threads of its own until it is [closed](Self::close), or the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Node(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    actors: kc_actors::Node,
    files: NodeFiles,
    config: Arc<NodeConfig>,
    /// The reference is weak, so that a closed node does not stay locked.
    lock: Weak<NodeLock>,
    backend: Arc<dyn Backend>,
    group: String,
    from_beginning: bool,
    metadata_max_age: Duration,
    undecryptable: Undecryptable,
    /// Maximum number of threads that open the records of a consumer; `None` for the default.
    threads: Option<NonZero<usize>>,
    management: ManagementTopics,
    servers: String,
    closing: Mutex<Closing>,
}

/// The progress of closing a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    NotBegun,
    Begun,
    Done,
}

impl NodeBuilder {
    fn new(node: String) -> Self {
        Self {
            node,
            flags: Vec::new(),
            copies: Vec::new(),
            make_backend: None,
            pin: None,
            roles: NodeRoles::default(),
            #[cfg(feature = "custody")]
            custodian: None,
            clock: Clock::system(),
        }
    }

    /// Sets the PIN of the token that holds the node's keys, as a person has just entered it: the node tries this PIN
    /// even if it is the last attempt before the token locks. For a stored PIN use [`pin_file`](Self::pin_file). If the
    /// PIN is neither set here, nor in a file, nor in the environment, opening fails with
    /// [`ErrorKind::PinNeeded`](crate::ErrorKind::PinNeeded).
    #[must_use]
    pub fn pin(mut self, pin: SecretText) -> Self {
        self.pin = Some(NodePin::Asked(Arc::new(pin)));
        self
    }

    /// Sets the file whose first line is the PIN of the token that holds the node's keys. It overrides the file in
    /// the configuration and the environment.
    #[must_use]
    pub fn pin_file(mut self, path: PathBuf) -> Self {
        self.pin = Some(NodePin::File(path));
        self
    }

    /// Overrides an entry of the node's own section.
    #[must_use]
    pub fn setting(self, name: &str, text: &str) -> Self {
        self.flag(None, name, text)
    }

    /// Declares that the topic `copy` is a copy of the topic `original`, so that its records need the data keys of the
    /// root topic of `original`. Can be repeated; then the first call that matches a topic counts. The declarations
    /// replace the entry `root_topics` of the node's own section. [`RootTopics`](kc_core::types::RootTopics) describes
    /// both names.
    ///
    /// ```
    /// let node = kc::Node::builder("c").root_topic("orders-dlt", "orders").root_topic(r"^src\.(.+)", "$1");
    /// ```
    #[must_use]
    pub fn root_topic(mut self, copy: &str, original: &str) -> Self {
        self.copies.push(format!("{copy}={original}"));
        self
    }

    /// Chooses the Kafka client. This overrides the entry `backend` of the node's own section.
    #[must_use]
    pub fn backend(self, choice: BackendChoice) -> Self {
        self.setting("backend", choice.name())
    }

    /// Uses the backends that `make` returns instead of the backend that the settings choose. `make` is called four
    /// times, with the settings for sending messages, for reading messages, for sending to control topics, and for
    /// reading control topics.
    #[must_use]
    pub fn own_backend<F>(mut self, make: F) -> Self
    where
        F: Fn(ClientSettings) -> Result<Arc<dyn Backend>, BackendError> + Send + Sync + 'static,
    {
        self.make_backend = Some(Arc::new(make));
        self
    }

    /// Overrides a Kafka setting of all clients, for example `bootstrap_servers` or `security_protocol`.
    #[must_use]
    pub fn kafka(self, name: &str, text: &str) -> Self {
        self.flag(Some("kafka"), name, text)
    }

    /// Sets the additional tasks of the node: it can be a controller, a chain server, or both.
    #[must_use]
    pub fn roles(mut self, roles: NodeRoles) -> Self {
        self.roles = roles;
        self
    }

    /// Makes the node a custodian: it collects the data keys of producers while they are there, and answers consumers in
    /// their place. The node's chain must grant `key-encrypt` and `key-encrypt-request`, as that of a producer and
    /// consumer does.
    #[cfg(feature = "custody")]
    #[must_use]
    pub fn custodian(mut self, custodian: Custodian) -> Self {
        self.custodian = Some(custodian);
        self
    }

    /// Sets the clock of the node.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Opens and starts the node, without waiting for a broker. Keys and ratchet are opened on a thread of their own,
    /// because a token may be slow. A token that does not answer within 15 s is an error.
    ///
    /// Not cancel safe: if the future is dropped, the node may stay locked until the token has answered.
    ///
    /// # Errors
    /// Returns [`Error`] if the node is not found, another process has it open, its files or settings are invalid, or
    /// its keys cannot be opened.
    pub async fn open(self) -> Result<Node, Error> {
        let locked = LockedFiles::open_as(&self.node, self.role())?;
        let (files, config) = (locked.files.clone(), Arc::clone(&locked.config));
        let settings = self.layered(&config, &files.config());
        let own: NodeSettings = settings.extract(Section::NODE)?;
        let management = own.management_topics();
        let undecryptable = own.undecryptable();
        let threads = NonZero::new(own.threads);
        let crypto: CryptoSettings = settings.extract(Section::CRYPTO)?;
        let clients = self.clients(&settings, MESSAGES)?;
        let management_clients = self.clients(&settings, MANAGEMENT)?;
        warn_of_idle(clients.idle.union(&management_clients.idle));
        let (group, management_group) =
            groups(config.node_id(), clients.group, management_clients.group);
        #[cfg(feature = "custody")]
        let custodian = match self.custodian {
            Some(custodian) => {
                let topics = custodian.subscription(&config, &own.scheme(), &management)?;
                let place = Place {
                    files: files.clone(),
                    backend: Arc::clone(&clients.backend),
                    topics,
                    node_id: config.node_id().to_owned(),
                };
                Some((custodian, place))
            }
            None => None,
        };
        let types = key_types(&config)?;
        let lock = Arc::downgrade(&locked.lock);
        let parts = move || {
            let keystores = locked.keystores(self.pin.as_ref());
            let keystore: Arc<dyn KeyStore> = Arc::from(keystores.keys(types)?);
            #[cfg(feature = "custody")]
            let custodian = custodian
                .map(|(custodian, place)| custodian.open(place, Arc::clone(&keystore)))
                .transpose()?;
            #[cfg(not(feature = "custody"))]
            let custodian = None;
            Ok::<_, Error>(NodeParts {
                backend: management_clients.backend,
                keystore,
                ratchet: keystores.ratchet()?,
                config: Arc::new(locked.store),
                settings: own,
                crypto,
                roles: self.roles,
                custodian,
                group: Some(management_group),
                clock: self.clock,
            })
        };
        #[cfg(feature = "hsm")]
        let parts = move || kc_keystore_hsm::Patience::default().run(parts)?;
        Ok(Node(Arc::new(Inner {
            actors: kc_actors::Node::start_with(parts).await?,
            files,
            config,
            lock,
            backend: clients.backend,
            group,
            from_beginning: clients.from_beginning,
            metadata_max_age: clients.metadata_max_age,
            undecryptable,
            threads,
            management,
            servers: clients.servers,
            closing: Mutex::new(Closing::NotBegun),
        })))
    }

    fn role(&self) -> NodeRole {
        if self.roles.controller {
            NodeRole::Controller
        } else {
            NodeRole::Node
        }
    }

    fn layered<'c>(&self, config: &'c NodeConfig, path: &Path) -> Settings<'c> {
        let settings = Settings::new(config, path).environment(env::vars_os());
        let settings = match self.copies.as_slice() {
            [] => settings,
            copies => settings.flag(Section::NODE, "root_topics", &copies.join(" ")),
        };
        self.flags
            .iter()
            .fold(settings, |settings, (section, name, text)| {
                let section = section.as_deref().map_or(Section::NODE, Section::named);
                settings.flag(section, name, text)
            })
    }

    /// Returns the Kafka clients to which the additional layer of settings `extra` applies (protocol §11).
    fn clients(&self, settings: &Settings<'_>, extra: &str) -> Result<Clients, Error> {
        let choice = BackendChoice::of(settings)?;
        let parse = |purpose| -> Result<ClientSettings, Error> {
            Ok(ClientSettings::parse(
                settings.kafka(purpose, Some(extra))?.iter(),
            )?)
        };
        let has_librdkafka = self.make_backend.is_some() || choice == BackendChoice::Rdkafka;
        let make = |kafka| match &self.make_backend {
            Some(make) => make(kafka),
            None => choice.backend(kafka),
        };
        let (sending, reading) = (parse(KafkaUse::Producer)?, parse(KafkaUse::Consumer)?);
        #[cfg(feature = "custody")]
        let reading = match &self.custodian {
            Some(_) => {
                let given = settings.kafka(KafkaUse::Consumer, Some(extra))?;
                custodian::with_short_session(reading, &given)
            }
            None => reading,
        };
        let idle = [&sending, &reading].map(|kafka| kafka.without_effect(has_librdkafka));
        Ok(Clients {
            idle: idle.into_iter().flatten().map(str::to_owned).collect(),
            servers: sending.bootstrap_servers.clone(),
            group: reading.group_id.clone(),
            from_beginning: reading.from_beginning,
            metadata_max_age: sending.metadata_max_age,
            backend: Arc::new(ByRole {
                sending: make(sending)?,
                reading: make(reading)?,
            }),
        })
    }

    fn flag(mut self, section: Option<&str>, name: &str, text: &str) -> Self {
        self.flags
            .push((section.map(Into::into), name.into(), text.into()));
        self
    }
}

/// Returns the consumer groups of a node for messages and for control topics, from the groups in its configuration.
/// Control topics are read in another group than messages, so that no consumer of messages can commit positions in
/// control topics.
#[must_use]
pub fn groups(
    node_id: &str,
    messages: Option<String>,
    control: Option<String>,
) -> (String, String) {
    let messages = messages.unwrap_or_else(|| node_id.to_owned());
    let control = control.filter(|control| *control != messages);
    let control = control.unwrap_or_else(|| control_group(node_id));
    (messages, control)
}

/// The Kafka clients to which an additional layer of settings applies, and the settings of these clients that the node
/// itself uses.
struct Clients {
    backend: Arc<dyn Backend>,
    servers: String,
    group: Option<String>,
    from_beginning: bool,
    /// The value of this setting for the client that sends records.
    metadata_max_age: Duration,
    /// The names of the settings that have no effect.
    idle: BTreeSet<String>,
}

impl fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.flags.iter().map(|(section, name, _)| (section, name));
        f.debug_struct("NodeBuilder")
            .field("node", &self.node)
            .field("flags", &names.collect::<Vec<_>>())
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

impl Node {
    /// Opens a node with the settings in its files and in the environment. `node` is an id, the path of a
    /// configuration, or the path of a folder that contains exactly one configuration. The id `ID` stands for the first
    /// existing file of `./ID.config`, `./ID/ID.config`, `$KC_HOME/ID.config` and `$KC_HOME/ID/ID.config`.
    ///
    /// Not cancel safe: if the future is dropped, the node may stay locked until a token has answered.
    ///
    /// # Errors
    /// Returns [`Error`] if the node is not found, another process has it open, its files or settings are invalid, or
    /// its keys cannot be opened.
    pub async fn open(node: impl Into<String>) -> Result<Self, Error> {
        Self::builder(node).open().await
    }

    /// Returns a builder that opens a node as [`open`](Self::open) does, with further settings.
    #[must_use]
    pub fn builder(node: impl Into<String>) -> NodeBuilder {
        NodeBuilder::new(node.into())
    }

    /// Returns a builder that connects a producer: `node.producer().await?`.
    pub fn producer(&self) -> ProducerBuilder {
        let inner = &self.0;
        let clients = inner.actors.clients().clone();
        ProducerBuilder::new(clients, Arc::clone(&inner.backend), inner.metadata_max_age)
    }

    /// Returns a builder that joins a consumer group which reads `topics`: `node.consumer(["readings"]).join().await?`.
    /// A topic that begins with `^` is a regular expression. It selects all matching topics, including topics that are
    /// created later, but no side topics and no management topics.
    pub fn consumer(&self, topics: impl IntoIterator<Item = impl Into<String>>) -> ConsumerBuilder {
        let topics = topics.into_iter().map(Into::into).collect();
        let inner = &self.0;
        let clients = inner.actors.clients().clone();
        ConsumerBuilder::new(clients, Arc::clone(&inner.backend), topics)
            .group(&inner.group)
            .starting_at(if inner.from_beginning {
                GroupStart::Earliest
            } else {
                GroupStart::Latest
            })
            .treating(inner.undecryptable.clone())
            .opened_by(inner.threads)
            .except(inner.management.clone())
    }

    /// Returns a handle that seals for the root topic of `topic`, for use with any Kafka client. The data key of the
    /// root topic is stored for late consumers before this method returns.
    ///
    /// Cancel safe: if the future is dropped, the data key may still be prepared, which does no harm.
    ///
    /// # Errors
    /// Returns [`Error`] if the ratchet gives no data key, or the node is closed.
    pub async fn sealer(&self, topic: &str) -> Result<Sealer, Error> {
        Ok(self.0.actors.sealers().prepare(topic).await?)
    }

    /// Returns a handle that opens Kafka keys and values, for use with any Kafka client.
    #[must_use]
    pub fn opener(&self) -> Opener {
        self.0.actors.opener()
    }

    /// Returns a listener that receives all events of the node from now on.
    #[must_use]
    pub fn events(&self) -> EventListener {
        self.0.actors.events()
    }

    /// Returns the current state of the node.
    ///
    /// Cancel safe: the call changes nothing.
    ///
    /// # Errors
    /// Returns [`Error`] if the node is closed.
    pub async fn status(&self) -> Result<NodeStatus, Error> {
        Ok(self.0.actors.status().await?)
    }

    /// Waits while the node sends data keys to consumers. Returns when the node has answered no request for the time
    /// `quiet`, or when the node is closed.
    ///
    /// Consumers get data keys only while the producer's node runs. A program that ends after it has sent its records
    /// should call this method before [`close`](Self::close). If it does not, consumers may have to wait for the data
    /// keys until the node is opened again.
    ///
    /// Cancel safe: the node sends data keys even if the future is dropped.
    pub async fn serve_keys(&self, quiet: Duration) {
        let mut events = self.events();
        let mut end = end_of(Instant::now(), quiet);
        while let Ok(Some(event)) = timeout_at(end, events.next()).await {
            if matches!(event, NodeEvent::Answered { .. } | NodeEvent::Missed(_)) {
                end = end_of(Instant::now(), quiet);
            }
        }
    }

    /// Waits until a custodian has received the data keys of all messages that this node has sealed since it was opened:
    /// the broker has acknowledged the replies to requests that the custodian signed. Consumers then get the data keys
    /// even if this node never runs again. `keys` are the fingerprints of the custodian's signing keys, of which one is
    /// sufficient.
    ///
    /// Cancel safe: the call changes nothing.
    ///
    /// # Errors
    /// Returns an [`Error`] of the kind `Timeout` if this has not happened within `deadline`, and of the kind `Closed` if
    /// the node is closed.
    pub async fn await_custodian(
        &self,
        keys: &[impl AsRef<str>],
        deadline: Duration,
    ) -> Result<(), Error> {
        let end = end_of(Instant::now(), deadline);
        let mut events = self.events();
        loop {
            let status = self.0.actors.status().await?;
            let is_custodian = |given: &&GivenKeys| {
                let signer = given.requester.key.fingerprint();
                keys.iter().any(|key| key.as_ref() == signer)
            };
            let given: Vec<_> = status.exchange.given.iter().filter(is_custodian).collect();
            let mut lacking = self.0.actors.sealed_with();
            lacking.retain(|(root_topic, id)| {
                let mut given = given.iter();
                !given.any(|given| given.root_topic == *root_topic && given.ids.contains(id))
            });
            let Some((root_topic, _)) = lacking.first() else {
                return Ok(());
            };
            let answered = async {
                loop {
                    match events.next().await {
                        Some(NodeEvent::Answered { .. } | NodeEvent::Missed(_)) => return Ok(()),
                        Some(_) => {}
                        None => return Err(Error::from(NodeError::Closed)),
                    }
                }
            };
            match timeout_at(end, answered).await {
                Ok(answered) => answered?,
                Err(_) => {
                    let lacking = counted(lacking.len(), "data key");
                    let text = format!(
                        "the custodian has not requested {lacking} in time, for example of {root_topic}"
                    );
                    return Err(Error::new(ErrorKind::Timeout, text));
                }
            }
        }
    }

    /// Closes the node as [`close_within`](Self::close_within) does, with a deadline of ten seconds.
    ///
    /// Not cancel safe: if the future is dropped, the node may be partly closed. A further call continues.
    ///
    /// # Errors
    /// Returns the errors of [`close_within`](Self::close_within).
    pub async fn close(&self) -> Result<(), Error> {
        self.close_within(CLOSE_DEADLINE).await
    }

    /// Closes the node in this order: consumers stop delivering records; producers flush and disconnect; consumers
    /// commit the acknowledged positions and leave their groups; the actors process the records that they have read
    /// from control topics, and send their queued records; the threads end. This takes at most two seconds longer than
    /// `deadline`. A second call waits for the first, and then returns `Ok`, even if the first call failed.
    ///
    /// Not cancel safe: if the future is dropped, the node may be partly closed. A further call continues.
    ///
    /// # Errors
    /// Returns the [`Error`] of the first step that failed or did not end in time.
    pub async fn close_within(&self, deadline: Duration) -> Result<(), Error> {
        let mut closing = self.0.closing.lock().await;
        if *closing == Closing::Done {
            return Ok(());
        }
        let again = *closing == Closing::Begun;
        *closing = Closing::Begun;
        let report = self.0.actors.shutdown(deadline).await;
        *closing = Closing::Done;
        let report = match report {
            Err(NodeError::Closed) if again => return Ok(()),
            report => report?,
        };
        report.clients?;
        report.gateway?;
        if !report.still_running.is_empty() {
            let running = report.still_running.join(", ");
            let text =
                format!("the node was not closed in time: these threads still run: {running}");
            return Err(Error::new(ErrorKind::Timeout, text));
        }
        Ok(())
    }

    /// Returns the underlying node of actors. An application uses it to send messages to actors, or to replace an
    /// actor.
    #[must_use]
    pub fn actors(&self) -> &kc_actors::Node {
        &self.0.actors
    }

    /// Returns the Kafka client for messages, which also manages topics.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.0.backend
    }

    /// Returns whether a group without a committed position starts at the first record (`auto_offset_reset :
    /// earliest`).
    #[must_use]
    pub fn starts_from_beginning(&self) -> bool {
        self.0.from_beginning
    }

    /// Returns the names of the management topics.
    #[must_use]
    pub fn management_topics(&self) -> &ManagementTopics {
        &self.0.management
    }

    /// Returns the name of the consumer group of the node: the group of its consumers, unless their builder sets another
    /// one.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.0.group
    }

    /// Returns the bootstrap servers of the Kafka client for messages, as `host:port,...`.
    #[must_use]
    pub fn servers(&self) -> &str {
        &self.0.servers
    }

    /// Returns the paths of the node's files.
    #[must_use]
    pub fn files(&self) -> &NodeFiles {
        &self.0.files
    }

    /// Returns the configuration as it was when the node was opened.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.0.config
    }

    /// Returns the store of the configuration. With it, the configuration can be changed while the node is open.
    /// Returns `None` if the node is closed.
    #[must_use]
    pub fn config_store(&self) -> Option<FileConfigStore> {
        self.0.lock.upgrade().map(FileConfigStore::new)
    }
}

fn warn_of_idle<'a>(names: impl Iterator<Item = &'a String>) {
    let names = Vec::from_iter(names.map(String::as_str)).join(", ");
    if !names.is_empty() {
        tracing::warn!("Kafka settings without effect: {names}");
    }
}
