use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use kc_actors::{
    Clock, CryptoSettings, EncryptedConsumer, EncryptedProducer, ForeignPolicy, Node, NodeParts,
    NodeRoles, NodeSettings,
};
use kc_core::backend::{Backend, BackendError, ClientSettings, GroupStart, Subscription};
use kc_core::secret::SecretText;
use kc_core::store::config::{KafkaUse, NodeConfig, NodeRole, Section};
use kc_core::types::ManagementTopics;
use kc_keystore_file::{FileConfigStore, NodeFiles, NodeLock, Settings, key_types};

use crate::backends::BackendChoice;
use crate::by_role::ByRole;
use crate::error::OpenError;
use crate::files::LockedFiles;
use crate::keystores::NodePin;

/// The extra name of the management plane's Kafka settings (protocol §11).
const MANAGEMENT: &str = "crypto";
/// The extra name of those of messages. It is kc's own: with the peers, the settings of messages are those of the
/// management plane, too.
const MESSAGES: &str = "data";

/// How to open a node from its files: file < environment (`KC_CONFIG__<SECTION>__<NAME>`) < flags.
///
/// `Debug` shows the names of flags only: values may be passwords.
#[derive(Clone)]
pub struct NodeOptions {
    node: String,
    flags: Vec<(Option<String>, String, String)>,
    make_backend: Option<Arc<MakeBackend>>,
    pin: Option<NodePin>,
    roles: NodeRoles,
    clock: Clock,
}

type MakeBackend = dyn Fn(ClientSettings) -> Result<Arc<dyn Backend>, BackendError> + Send + Sync;

/// A node opened from its files, with the Kafka clients that its configuration describes.
#[derive(Debug)]
pub struct OpenNode {
    /// The running node.
    pub node: Node,
    files: NodeFiles,
    config: Arc<NodeConfig>,
    /// Does not keep the node locked when it is closed.
    lock: Weak<NodeLock>,
    backend: Arc<dyn Backend>,
    group: String,
    from_beginning: bool,
    management: ManagementTopics,
    servers: String,
}

impl NodeOptions {
    /// A node by its id, or by the path of its configuration or folder. An id is looked for as
    /// `./ID.config`, `./ID/ID.config`, and the same under `$KC_HOME`.
    #[must_use]
    pub fn new(node: impl Into<String>) -> Self {
        Self {
            node: node.into(),
            flags: Vec::new(),
            make_backend: None,
            pin: None,
            roles: NodeRoles::default(),
            clock: Clock::system(),
        }
    }

    /// The PIN of the token that the node's keys are on, if neither a file nor the environment has it: see
    /// [`OpenError::PinNeeded`].
    #[must_use]
    pub fn pin(mut self, pin: SecretText) -> Self {
        self.pin = Some(NodePin::Asked(Arc::new(pin)));
        self
    }

    /// The file whose first line the PIN of the token is that the node's keys are on, whatever the configuration says.
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

    /// Chooses the Kafka client, over the entry `backend` of the node's own section.
    #[must_use]
    pub fn backend(self, choice: BackendChoice) -> Self {
        self.setting("backend", choice.name())
    }

    /// Uses Kafka clients of one's own, whatever the settings choose: `make` gets the settings of each use, and
    /// makes a [`Backend`] of them.
    #[must_use]
    pub fn own_backend<F>(mut self, make: F) -> Self
    where
        F: Fn(ClientSettings) -> Result<Arc<dyn Backend>, BackendError> + Send + Sync + 'static,
    {
        self.make_backend = Some(Arc::new(make));
        self
    }

    /// Overrides a Kafka setting of all clients: `bootstrap_servers`, `security_protocol`, ...
    #[must_use]
    pub fn kafka(self, name: &str, text: &str) -> Self {
        self.flag(Some("kafka"), name, text)
    }

    /// Has the node do more than seal and open: be a controller, or a chain server.
    #[must_use]
    pub fn roles(mut self, roles: NodeRoles) -> Self {
        self.roles = roles;
        self
    }

    /// Runs the node by another clock.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Opens and starts the node. Does not wait for a broker. Its keys and its ratchet are opened on a thread of their
    /// own, because a token takes its time; one that does not answer is waited for 15 s. Whoever stops waiting leaves the
    /// node locked until the token has answered.
    ///
    /// # Errors
    /// [`OpenError`], also if another process has the node open.
    pub async fn open(self) -> Result<OpenNode, OpenError> {
        let locked = LockedFiles::open_as(&self.node, self.role())?;
        let (files, config) = (locked.files.clone(), Arc::clone(&locked.config));
        let settings = self.layered(&config, &files.config());
        let own: NodeSettings = settings.extract(Section::NODE)?;
        let management = own.management_topics();
        let crypto: CryptoSettings = settings.extract(Section::CRYPTO)?;
        let clients = self.clients(&settings, MESSAGES)?;
        let management_clients = self.clients(&settings, MANAGEMENT)?;
        warn_of_idle(clients.idle.union(&management_clients.idle));
        let group = clients.group.unwrap_or_else(|| config.node_id().to_owned());
        // Where messages are read in a group, nobody else can commit in it.
        let management_group = management_clients.group;
        let management_group = management_group.filter(|management| *management != group);
        let types = key_types(&config)?;
        let lock = Arc::downgrade(&locked.lock);
        let parts = move || {
            let keystores = locked.keystores(self.pin.as_ref());
            Ok::<_, OpenError>(NodeParts {
                backend: management_clients.backend,
                keystore: Arc::from(keystores.keys(types)?),
                ratchet: keystores.ratchet()?,
                config: Arc::new(locked.store),
                settings: own,
                crypto,
                roles: self.roles,
                group: management_group,
                clock: self.clock,
            })
        };
        #[cfg(feature = "hsm")]
        let parts = move || kc_keystore_hsm::Patience::default().run(parts)?;
        Ok(OpenNode {
            node: Node::start_with(parts).await?,
            files,
            config,
            lock,
            backend: clients.backend,
            group,
            from_beginning: clients.from_beginning,
            management,
            servers: clients.servers,
        })
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
        self.flags
            .iter()
            .fold(settings, |settings, (section, name, text)| {
                let section = section.as_deref().map_or(Section::NODE, Section::named);
                settings.flag(section, name, text)
            })
    }

    /// The Kafka clients of an extra layer (protocol §11).
    fn clients(&self, settings: &Settings<'_>, extra: &str) -> Result<Clients, OpenError> {
        let choice = BackendChoice::of(settings)?;
        let parse = |purpose| -> Result<ClientSettings, OpenError> {
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
        let idle = [&sending, &reading].map(|kafka| kafka.without_effect(has_librdkafka));
        Ok(Clients {
            idle: idle.into_iter().flatten().map(str::to_owned).collect(),
            servers: sending.bootstrap_servers.clone(),
            group: reading.group_id.clone(),
            from_beginning: reading.from_beginning,
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

/// The Kafka clients of a layer, and what their settings say beside.
struct Clients {
    backend: Arc<dyn Backend>,
    servers: String,
    group: Option<String>,
    from_beginning: bool,
    /// The names of the settings that have no effect.
    idle: BTreeSet<String>,
}

impl fmt::Debug for NodeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.flags.iter().map(|(section, name, _)| (section, name));
        f.debug_struct("NodeOptions")
            .field("node", &self.node)
            .field("flags", &names.collect::<Vec<_>>())
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

impl OpenNode {
    /// An encrypted producer of this node.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn producer(&self) -> Result<EncryptedProducer, BackendError> {
        EncryptedProducer::connect(self.backend.as_ref(), self.node.serializer()).await
    }

    /// An encrypted consumer of this node, in its configured group unless told. Side topics and management topics
    /// carry no messages: they are left out of what regular expressions match.
    ///
    /// # Errors
    /// [`BackendError`].
    pub async fn consumer(
        &self,
        group: Option<&str>,
        topics: &Subscription,
        start: GroupStart,
        policy: ForeignPolicy,
    ) -> Result<EncryptedConsumer, BackendError> {
        let group = group.unwrap_or(&self.group);
        let (backend, opener) = (self.backend.as_ref(), self.node.deserializer());
        let management = self.management.clone();
        let messages = topics
            .clone()
            .except(move |topic| management.names().contains(&topic));
        EncryptedConsumer::connect(backend, opener, group, &messages, start, policy).await
    }

    /// The Kafka client for data and for topics.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Whether a group without a committed position starts at the first record (`auto_offset_reset : earliest`).
    #[must_use]
    pub fn starts_from_beginning(&self) -> bool {
        self.from_beginning
    }

    /// The addresses of the brokers to ask first, for messages: `host:port,...`.
    #[must_use]
    pub fn servers(&self) -> &str {
        &self.servers
    }

    /// Where the node's files are.
    #[must_use]
    pub fn files(&self) -> &NodeFiles {
        &self.files
    }

    /// The configuration as it was when the node was opened.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// The configuration as it is stored, to change it while the node is open; `None` once the node is closed.
    #[must_use]
    pub fn config_store(&self) -> Option<FileConfigStore> {
        self.lock.upgrade().map(FileConfigStore::new)
    }
}

fn warn_of_idle<'a>(names: impl Iterator<Item = &'a String>) {
    let names = Vec::from_iter(names.map(String::as_str)).join(", ");
    if !names.is_empty() {
        tracing::warn!("Kafka settings without effect: {names}");
    }
}
