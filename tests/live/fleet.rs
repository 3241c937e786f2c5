//! A broker, and nodes in folders of their own.

use std::path::Path;
use std::time::Duration;

use kc::backend_pure::{PureBackend, Settings};
use kc::core::keys::KeyType;
use kc::core::provision::{NewNode, Role, provision_node};
use kc::core::types::{Timestamp, TopicScheme};
use kc::keystore_file::{create_node, system_rng};
use kc::{
    Clock, EncryptedConsumer, ForeignPolicy, GroupStart, NodeOptions, OpenNode, OpenedRecord,
    PlainRecord,
};
use kc_broker::Broker;
use tempfile::TempDir;

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) struct Fleet {
    pub(crate) broker: Broker,
    pub(crate) folder: TempDir,
    /// The type of all keys.
    pub(crate) key_type: KeyType,
    /// How long nodes' certificates are valid; `None` for as long as their role's.
    pub(crate) lifetime: Option<Duration>,
    /// How topics are named.
    pub(crate) scheme: TopicScheme,
    /// What time nodes are provisioned at.
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
            key_type: self.key_type,
            lifetime: self.lifetime.unwrap_or(role.default_lifetime()),
            ..new_node(id, role, topics, &self.scheme)
        };
        provision(self.folder.path(), &node, root_password, self.clock.now());
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
        provision(folder, &node, root_password, Clock::system().now());
    }

    /// A Kafka client that knows nothing of encryption.
    pub(crate) fn plain(&self) -> PureBackend {
        let address = self.broker.address().to_string();
        PureBackend::new(Settings::parse([("bootstrap_servers", address.as_str())]).unwrap())
    }

    /// How to open a node here.
    pub(crate) fn options(&self, id: &str) -> NodeOptions {
        let config = self.folder.path().join(format!("{id}.config"));
        NodeOptions::new(config.to_str().unwrap())
            .kafka("bootstrap_servers", &self.broker.address().to_string())
            .kafka("security_protocol", "PLAINTEXT")
    }

    pub(crate) async fn open(&self, id: &str) -> OpenNode {
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

fn provision(folder: &Path, node: &NewNode<'_>, root_password: &str, now: Timestamp) {
    let mut rng = system_rng().unwrap();
    let root = root_password.as_bytes();
    let node = provision_node(node, root, b"provisioning", now, &mut rng).unwrap();
    create_node(folder, &node, false).unwrap();
}

pub(crate) fn record(topic: &str, value: impl Into<Vec<u8>>) -> PlainRecord {
    PlainRecord {
        topic: topic.into(),
        value: Some(value.into()),
        ..PlainRecord::default()
    }
}

pub(crate) async fn consumer(node: &OpenNode, topic: &str) -> EncryptedConsumer {
    let topics = [topic.to_owned()];
    let policy = ForeignPolicy::Fail;
    let joined = node
        .consumer(None, &topics, GroupStart::Earliest, policy)
        .await;
    joined.unwrap()
}

/// So many records, or what came before the deadline.
pub(crate) async fn take(consumer: &mut EncryptedConsumer, count: usize) -> Vec<OpenedRecord> {
    let mut taken = Vec::new();
    let taking = async {
        while taken.len() < count {
            let max = count - taken.len();
            taken.extend(
                consumer
                    .poll(max, Duration::from_millis(200))
                    .await
                    .unwrap(),
            );
        }
    };
    let _ = tokio::time::timeout(DEADLINE, taking).await;
    taken
}

pub(crate) fn values(records: &[OpenedRecord]) -> Vec<String> {
    let text = |record: &OpenedRecord| {
        String::from_utf8(record.value.clone().unwrap_or_default()).unwrap()
    };
    records.iter().map(text).collect()
}
