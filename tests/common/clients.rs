//! What tests do with nodes: provision, send, read.

use std::path::Path;
use std::time::Duration;

use kc::core::provision::{NewNode, provision_node};
use kc::core::types::Timestamp;
use kc::keystore_file::{create_node, system_rng};
use kc::{
    EncryptedConsumer, ForeignPolicy, GroupStart, OpenNode, OpenedRecord, PlainRecord, Subscription,
};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Writes a node's files to a folder.
pub(crate) fn provision(folder: &Path, node: &NewNode<'_>, root_password: &str, now: Timestamp) {
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
    let topics = Subscription::to([topic]);
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
