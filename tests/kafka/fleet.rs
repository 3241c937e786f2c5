//! Nodes in a folder, with a Kafka.

use kc::core::backend::TopicSpec;
use kc::core::provision::{NewNode, Role};
use kc::core::types::TopicScheme;
use kc::{BackendChoice, Clock, Node, NodeBuilder};
use tempfile::TempDir;

use crate::clients::{DEADLINE, provision};

pub(crate) struct Fleet {
    folder: TempDir,
    address: String,
}

impl Fleet {
    pub(crate) fn on(address: String) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            address,
        }
    }

    /// Provisions a node. Returns the options that open it.
    pub(crate) fn options(&self, id: &str, role: Role, choice: BackendChoice) -> NodeBuilder {
        let scheme = TopicScheme::default();
        let node = NewNode::new(id, role, &scheme);
        provision(self.folder.path(), &node, "root", Clock::system().now());
        self.provisioned(id, choice)
    }

    /// Returns the options that open a provisioned node.
    pub(crate) fn provisioned(&self, id: &str, choice: BackendChoice) -> NodeBuilder {
        let config = self.folder.path().join(format!("{id}.config"));
        Node::builder(config.to_str().unwrap())
            .backend(choice)
            .kafka("bootstrap_servers", &self.address)
            .kafka("security_protocol", "PLAINTEXT")
            .kafka("heartbeat_interval_ms", "100")
            .setting("crypto_sub_interval", "0.5")
    }

    pub(crate) async fn open(&self, id: &str, role: Role, choice: BackendChoice) -> Node {
        self.options(id, role, choice).open().await.unwrap()
    }

    /// Opens a node that was open before.
    pub(crate) async fn reopen(&self, id: &str, choice: BackendChoice) -> Node {
        self.provisioned(id, choice).open().await.unwrap()
    }
}

/// Creates the data topic `<root>.a` and the side topics of a root topic.
pub(crate) async fn create_root(node: &Node, root: &str) {
    let admin = node.backend().admin().await.unwrap();
    let data = TopicSpec::data(format!("{root}.a"), 1);
    let control = [".reqs", ".keys", ".subs"];
    let control = control.map(|suffix| TopicSpec::control(format!("{root}{suffix}")));
    for spec in control.iter().chain([&data]) {
        admin.create_topic(spec, DEADLINE).await.unwrap();
    }
    admin.close().await;
}
