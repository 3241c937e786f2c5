//! A broker, nodes, key files and ciphers.

use std::fs;

use kc::core::provision::{NewNode, Role, provision_node};
use kc::core::types::TopicScheme;
use kc::keystore_file::{create_node, system_rng};
use kc::{Clock, Node};
use kc_broker::Broker;
use kc_fields::{FieldCipher, FieldError, Purpose, Rules, create_key};
use tempfile::TempDir;

pub(crate) const TOPIC: &str = "purchases";

pub(crate) struct World {
    pub(crate) folder: TempDir,
    broker: Option<Broker>,
}

impl World {
    /// Returns a folder with two key files, without a broker.
    pub(crate) fn without_broker() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["key.bin", "other.bin"] {
            create_key(&folder.path().join(name)).unwrap();
        }
        Self {
            folder,
            broker: None,
        }
    }

    pub(crate) async fn start() -> Self {
        let broker = Some(Broker::builder().start().await.unwrap());
        Self {
            broker,
            ..Self::without_broker()
        }
    }

    /// Opens a node whose chain grants these topics as literals, or all topics if none is given.
    pub(crate) async fn node(&self, id: &str, role: Role, topics: &[&str]) -> Node {
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let scheme = TopicScheme::default();
        let node = NewNode {
            topics: &topics,
            ..NewNode::new(id, role, &scheme)
        };
        let (now, mut rng) = (Clock::system().now(), system_rng().unwrap());
        let node = provision_node(&node, b"root", b"provisioning", now, &mut rng).unwrap();
        create_node(self.folder.path(), &node, false).unwrap();
        let config = self.folder.path().join(format!("{id}.config"));
        let builder = Node::builder(config.to_str().unwrap())
            .kafka(
                "bootstrap_servers",
                &self.broker.as_ref().unwrap().address().to_string(),
            )
            .kafka("security_protocol", "PLAINTEXT")
            .setting("crypto_sub_interval", "0.3");
        builder.open().await.unwrap()
    }

    pub(crate) fn rules(&self, text: &str) -> Rules {
        let path = self.folder.path().join("rules.toml");
        fs::write(&path, text).unwrap();
        Rules::read(&path).unwrap()
    }

    pub(crate) async fn cipher(
        &self,
        text: &str,
        purpose: Purpose,
        node: Option<&Node>,
    ) -> FieldCipher {
        let rules = self.rules(text);
        let mut builder = FieldCipher::builder(&rules, purpose);
        if let Some(node) = node {
            builder = builder.node(node);
        }
        builder.open().await.unwrap()
    }
}

pub(crate) async fn encrypted(
    cipher: &FieldCipher,
    topic: &str,
    record: &str,
) -> Result<String, FieldError> {
    let mut record = record.as_bytes().to_vec();
    cipher.encrypt(topic, &mut record).await?;
    Ok(String::from_utf8(record).unwrap())
}

pub(crate) async fn decrypted(
    cipher: &FieldCipher,
    topic: &str,
    record: &str,
) -> Result<String, FieldError> {
    let mut record = record.as_bytes().to_vec();
    cipher.decrypt(topic, &mut record).await?;
    Ok(String::from_utf8(record).unwrap())
}
