//! What stands ready before a program starts: a broker (`kc broker`) and two nodes (`kc provision`).

use std::error::Error;

use kc::core::provision::{NewNode, Role, provision_node};
use kc::core::types::TopicScheme;
use kc::keystore_file::{create_node, system_rng};
use kc::{Clock, NodeOptions};
use kc_broker::Broker;
use tempfile::TempDir;

/// A broker, and a folder with the nodes `sender` and `reader`. Keep it as long as they are used.
pub(crate) struct Stage {
    pub(crate) broker: Broker,
    folder: TempDir,
}

impl Stage {
    pub(crate) async fn set() -> Result<Self, Box<dyn Error>> {
        let broker = Broker::builder().start().await?;
        let folder = tempfile::tempdir()?;
        let scheme = TopicScheme::default();
        for (id, role) in [("sender", Role::Producer), ("reader", Role::Consumer)] {
            let node = NewNode::new(id, role, &scheme);
            let (now, mut rng) = (Clock::system().now(), system_rng()?);
            let node = provision_node(&node, b"root password", b"password", now, &mut rng)?;
            create_node(folder.path(), &node, false)?;
        }
        Ok(Self { broker, folder })
    }

    /// How to open one of the nodes; in a real program, `NodeOptions::new("sender")` is enough.
    pub(crate) fn node(&self, id: &str) -> NodeOptions {
        let config = self.folder.path().join(format!("{id}.config"));
        NodeOptions::new(config.to_string_lossy())
            .kafka("bootstrap_servers", &self.broker.address().to_string())
            .kafka("security_protocol", "PLAINTEXT")
    }
}
