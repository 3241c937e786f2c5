//! The environment of the examples: a broker as `kc broker` starts it, and nodes as `kc provision` creates them.

use kc::core::provision::{NewNode, Role, provision_node};
use kc::core::types::TopicScheme;
use kc::keystore_file::{create_node, system_rng};
use kc::{Clock, Error, Node, NodeBuilder};
use kc_broker::Broker;
use tempfile::TempDir;

/// A broker, and a folder with the nodes `sender`, `relay` and `reader`. Both exist until this value is dropped.
pub(crate) struct Stage {
    pub(crate) broker: Broker,
    folder: TempDir,
}

impl Stage {
    pub(crate) async fn set() -> Result<Self, Error> {
        let broker = Broker::builder().start().await.map_err(Error::other)?;
        let folder = tempfile::tempdir().map_err(Error::other)?;
        let scheme = TopicScheme::default();
        let roles = [
            ("sender", Role::Producer),
            ("relay", Role::Prodcon),
            ("reader", Role::Consumer),
        ];
        for (id, role) in roles {
            let node = NewNode::new(id, role, &scheme);
            let (now, mut rng) = (Clock::system().now(), system_rng()?);
            let node = provision_node(&node, b"root password", b"password", now, &mut rng);
            create_node(folder.path(), &node.map_err(Error::other)?, false)?;
        }
        Ok(Self { broker, folder })
    }

    /// Returns a builder that opens one of the nodes.
    pub(crate) fn node(&self, id: &str) -> NodeBuilder {
        let config = self.folder.path().join(format!("{id}.config"));
        Node::builder(config.to_string_lossy())
            .kafka("bootstrap_servers", &self.broker.address().to_string())
            .kafka("security_protocol", "PLAINTEXT")
    }
}
