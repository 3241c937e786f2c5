//! A broker, and nodes in folders of their own.

use std::path::Path;
use std::time::Duration;

use kc::backend_pure::PureBackend;
use kc::core::keys::KeyType;
use kc::core::provision::{NewKey, NewNode, Role};
use kc::core::types::TopicScheme;
use kc::{ClientSettings, Clock, Node, NodeBuilder};
use kc_broker::Broker;
use tempfile::TempDir;

use crate::clients;
pub(crate) use crate::clients::{DEADLINE, consumer, record, take, values};

pub(crate) struct Fleet {
    pub(crate) broker: Broker,
    pub(crate) folder: TempDir,
    /// The type of all keys.
    pub(crate) key_type: KeyType,
    /// The validity of the nodes' certificates; `None` for the default of their role.
    pub(crate) lifetime: Option<Duration>,
    /// The names of side topics.
    pub(crate) scheme: TopicScheme,
    /// The clock for provisioning.
    pub(crate) clock: Clock,
}

impl Fleet {
    pub(crate) async fn start() -> Self {
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init();
        Self {
            broker: Broker::builder().start().await.unwrap(),
            folder: tempfile::tempdir().unwrap(),
            key_type: KeyType::Ed25519,
            lifetime: None,
            scheme: TopicScheme::default(),
            clock: Clock::system(),
        }
    }

    /// Writes a node's files.
    pub(crate) fn provision(&self, id: &str, role: Role, root_password: &str) {
        self.provision_for(id, role, root_password, &[]);
    }

    pub(crate) fn provision_for(
        &self,
        id: &str,
        role: Role,
        root_password: &str,
        topics: &[String],
    ) {
        let node = NewNode {
            key: NewKey::Drawn(self.key_type),
            lifetime: self.lifetime.or(Some(role.default_lifetime())),
            ..new_node(id, role, topics, &self.scheme)
        };
        clients::provision(self.folder.path(), &node, root_password, self.clock.now());
    }

    /// Writes a node's files to a folder.
    pub(crate) fn provision_in(
        folder: &Path,
        id: &str,
        role: Role,
        root_password: &str,
        topics: &[String],
    ) {
        let scheme = TopicScheme::default();
        let node = new_node(id, role, topics, &scheme);
        clients::provision(folder, &node, root_password, Clock::system().now());
    }

    /// Returns a Kafka client without encryption.
    pub(crate) fn plain(&self) -> PureBackend {
        let address = self.broker.address().to_string();
        PureBackend::new(ClientSettings::parse([("bootstrap_servers", address.as_str())]).unwrap())
            .unwrap()
    }

    /// Returns the options that open a node of this fleet.
    pub(crate) fn options(&self, id: &str) -> NodeBuilder {
        let config = self.folder.path().join(format!("{id}.config"));
        Node::builder(config.to_str().unwrap())
            .kafka("bootstrap_servers", &self.broker.address().to_string())
            .kafka("security_protocol", "PLAINTEXT")
    }

    pub(crate) async fn open(&self, id: &str) -> Node {
        self.options(id).open().await.unwrap()
    }
}

fn new_node<'a>(
    id: &'a str,
    role: Role,
    topics: &'a [String],
    scheme: &'a TopicScheme,
) -> NewNode<'a> {
    NewNode {
        topics,
        ..NewNode::new(id, role, scheme)
    }
}
