//! Functions of tests with nodes: provision, send, read.

use std::path::Path;
use std::time::Duration;

use kc::core::provision::{NewNode, provision_node};
use kc::core::types::Timestamp;
use kc::keystore_file::{create_node, system_rng};
use kc::{Consumer, ConsumerRecord, Node, Record};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Writes a node's files to a folder.
pub(crate) fn provision(folder: &Path, node: &NewNode<'_>, root_password: &str, now: Timestamp) {
    let mut rng = system_rng().unwrap();
    let root = root_password.as_bytes();
    let node = provision_node(node, root, b"provisioning", now, &mut rng).unwrap();
    create_node(folder, &node, false).unwrap();
}

pub(crate) fn record(topic: &str, value: impl Into<Vec<u8>>) -> Record<'_> {
    Record::to(topic).value(value.into())
}

pub(crate) async fn consumer(node: &Node, topic: &str) -> Consumer {
    let joined = node.consumer([topic]).from_beginning().join().await;
    joined.unwrap()
}

/// Returns `count` acknowledged records, or the records that came before the deadline.
pub(crate) async fn take(consumer: &mut Consumer, count: usize) -> Vec<ConsumerRecord> {
    let mut taken = Vec::new();
    let taking = async {
        while taken.len() < count {
            let record = consumer.next().await.unwrap().unwrap();
            record.ack();
            taken.push(record);
        }
    };
    let _ = tokio::time::timeout(DEADLINE, taking).await;
    taken
}

pub(crate) fn values(records: &[ConsumerRecord]) -> Vec<String> {
    let text = |record: &ConsumerRecord| String::from_utf8(record.value().to_vec()).unwrap();
    records.iter().map(text).collect()
}
