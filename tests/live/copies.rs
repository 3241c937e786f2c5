//! Nodes that run from one copy of their files, and nodes without durable storage.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use kc::Node;
use kc::core::backend::{Backend, LogStart};
use kc::core::message::Envelope;
use kc::core::provision::Role;
use kc::core::store::config::{ConfigStore, Section, Value};
use kc::core::types::KeyId;
use kc::keystore_file::{FileConfigStore, NodeFiles, NodeLock};

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};

const RECORDS: usize = 20;

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_file() {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

/// Returns the key id and the salt of each component of a topic's records.
async fn sealed_under(fleet: &Fleet, topic: &str, records: usize) -> Vec<(KeyId, u8, [u8; 16])> {
    let mut log = fleet.plain().log_reader(None).await.unwrap();
    log.assign(&[(topic.to_owned(), LogStart::Earliest)])
        .await
        .unwrap();
    let mut found = Vec::new();
    let mut read = 0;
    while read < records {
        let polled = log.poll(DEADLINE).await.unwrap();
        assert!(!polled.is_empty(), "{read} of {records} records came");
        for record in polled {
            read += 1;
            for (component, sealed) in [(0, record.key), (1, record.value)] {
                if let Some(sealed) = sealed {
                    let envelope = Envelope::parse(&sealed).unwrap();
                    let (salt, _) = envelope.body.unwrap();
                    found.push((envelope.key_id, component, *salt));
                }
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn two_copies_of_a_node_side_by_side_share_no_key_and_nonce_and_both_are_read() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let mut nodes = Vec::new();
    for place in ["one", "two"] {
        let folder = fleet.folder.path().join(place);
        copy(fleet.folder.path(), &folder);
        let config = folder.join("sender.config");
        let node = Node::builder(config.to_str().unwrap())
            .kafka("bootstrap_servers", &fleet.broker.address().to_string())
            .kafka("security_protocol", "PLAINTEXT");
        nodes.push(node.open().await.unwrap());
    }
    let mut sent = HashSet::new();
    for (number, node) in nodes.iter().enumerate() {
        let producer = node.producer().await.unwrap();
        for n in 0..RECORDS {
            let value = format!("{number} {n}");
            let record = record("t", value.as_str()).key("key");
            producer.send(record).await.unwrap();
            sent.insert(value);
        }
    }
    let sealed = sealed_under(&fleet, "t", 2 * RECORDS).await;
    let ids: HashSet<_> = sealed.iter().map(|(id, ..)| id).collect();
    assert_eq!(ids.len(), 1, "the copies seal under one key");
    let distinct: HashSet<_> = sealed.iter().collect();
    assert_eq!(distinct.len(), 4 * RECORDS);

    let reader = fleet.open("reader").await;
    let read = take(&mut consumer(&reader, "t").await, 2 * RECORDS).await;
    assert_eq!(values(&read).into_iter().collect::<HashSet<_>>(), sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_ratchet_is_in_memory_begins_elsewhere_at_each_start_and_stores_nothing() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let files = NodeFiles::in_folder(fleet.folder.path(), "sender").unwrap();
    {
        let config = FileConfigStore::new(NodeLock::acquire(&files).unwrap().into());
        let in_memory = config.update(&mut |config| {
            let memory = Value::from("memory");
            config.set(Section::NODE, "ratchet", &memory).map(drop)
        });
        in_memory.unwrap();
    }
    fs::remove_file(files.seed()).unwrap();
    let before = fs::read(files.config()).unwrap();
    let reader = fleet.open("reader").await;
    let mut reading = consumer(&reader, "t").await;
    for start in ["first", "second"] {
        let sender = fleet.open("sender").await;
        let producer = sender.producer().await.unwrap();
        producer
            .enqueue(record("t", start))
            .await
            .unwrap()
            .await
            .unwrap();
        assert_eq!(values(&take(&mut reading, 1).await), [start]);
        sender.close_within(DEADLINE).await.unwrap();
    }
    let sealed = sealed_under(&fleet, "t", 2).await;
    assert_ne!(sealed[0].0, sealed[1].0);
    assert_eq!(fs::read(files.config()).unwrap(), before);
    assert!(!files.seed().exists());
}
