//! A producer that encrypts a field, and two consumers: one may read it, and one may not. Both read the rest of the record.
//! The broker runs in the same process.
//!
//! `cargo run -p kc-fields --example producer_and_consumer`

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use kc::core::provision::{NewNode, Role, provision_node};
use kc::core::types::TopicScheme;
use kc::keystore_file::{create_node, system_rng};
use kc::{Clock, Node, Record};
use kc_broker::Broker;
use kc_fields::{FieldCipher, Purpose, Rules};

const RULES: &str = r#"
[[rule]]
topics = ["purchases"]
path = "$.address"
engine = "kc"
key_topic = "purchases--address"
bind = "$.id"
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::builder().start().await?;
    let servers = broker.address().to_string();
    let folder = tempfile::tempdir()?;
    let shop = node(folder.path(), &servers, "shop", Role::Producer, &[]).await?;
    let post = node(
        folder.path(),
        &servers,
        "post",
        Role::Consumer,
        &["purchases--address"],
    )
    .await?;
    let bank = node(
        folder.path(),
        &servers,
        "bank",
        Role::Consumer,
        &["purchases"],
    )
    .await?;
    let rules = Rules::parse(RULES)?;

    let cipher = FieldCipher::builder(&rules, Purpose::Encrypt)
        .node(&shop)
        .open()
        .await?;
    let mut record = br#"{"id": 7, "total": 1.50, "address": "1 Main Street"}"#.to_vec();
    cipher.encrypt("purchases", &mut record).await?;
    // The record is sent as it is: only its field is encrypted.
    let producer = shop.producer().plain().await?;
    producer
        .send(Record::to("purchases").value(&record))
        .await?;

    for (name, node, reads) in [("post", &post, true), ("bank", &bank, false)] {
        let cipher = FieldCipher::builder(&rules, Purpose::Decrypt)
            .node(node)
            .open()
            .await?;
        let mut consumer = node
            .consumer(["purchases"])
            .plain()
            .from_beginning()
            .join()
            .await?;
        let received = consumer.next().await.ok_or("the consumer was closed")??;
        let mut record = received.value().to_vec();
        // The data key may take a moment. A node that may not read the field keeps the token.
        while cipher.decrypt("purchases", &mut record).await?.missing_keys > 0 && reads {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        received.ack();
        println!("{name} reads {}", String::from_utf8_lossy(&record));
        let is_readable = record.windows(4).any(|window| window == b"Main");
        assert_eq!(is_readable, reads);
    }
    for node in [shop, post, bank] {
        node.close().await?;
    }
    broker.shutdown().await;
    Ok(())
}

async fn node(
    folder: &Path,
    servers: &str,
    id: &str,
    role: Role,
    topics: &[&str],
) -> Result<Node, Box<dyn Error>> {
    let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let scheme = TopicScheme::default();
    let new = NewNode {
        topics: &topics,
        ..NewNode::new(id, role, &scheme)
    };
    let new = provision_node(
        &new,
        b"root",
        b"provisioning",
        Clock::system().now(),
        &mut system_rng()?,
    )?;
    let files = create_node(folder, &new, false)?;
    let node = Node::builder(files.config().to_string_lossy())
        .kafka("bootstrap_servers", servers)
        .kafka("security_protocol", "PLAINTEXT");
    Ok(node.open().await?)
}
