//! Nodes for measurements.

use std::path::Path;

use kc::core::provision::{NewNode, Role, provision_node};
use kc::core::types::TopicScheme;
use kc::keystore_file::{create_node, system_rng};
use kc::{Clock, Node, NodeBuilder};

/// Creates the files of a node. All nodes have the same root of trust.
pub fn create(folder: &Path, id: &str, role: Role) -> anyhow::Result<()> {
    let scheme = TopicScheme::default();
    let (node, now) = (NewNode::new(id, role, &scheme), Clock::system().now());
    let node = provision_node(&node, b"root", b"node", now, &mut system_rng()?)?;
    create_node(folder, &node, false)?;
    Ok(())
}

/// Returns a builder that opens a node on brokers without TLS.
pub fn builder(folder: &Path, id: &str, brokers: &str) -> NodeBuilder {
    let config = folder.join(format!("{id}.config"));
    Node::builder(config.to_string_lossy())
        .kafka("bootstrap_servers", brokers)
        .kafka("security_protocol", "PLAINTEXT")
}
