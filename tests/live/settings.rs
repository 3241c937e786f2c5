//! Which of a node's Kafka settings apply to whom.

use std::sync::Arc;

use kc::core::backend::Backend;
use kc::core::provision::Role;
use kc::core::store::config::{ConfigStore, Section, Value};
use kc::keystore_file::{FileConfigStore, NodeFiles, NodeLock};
use kc::{NodeOptions, backend_pure};

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};

#[tokio::test(flavor = "multi_thread")]
async fn the_side_topics_have_settings_of_their_own() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let address = fleet.broker.address().to_string();
    let files = NodeFiles::in_folder(fleet.folder.path(), "reader").unwrap();
    let store = FileConfigStore::new(Arc::new(NodeLock::acquire(&files).unwrap()));
    let entries = [
        // Nobody listens at port 1.
        ("kafka", "bootstrap_servers", "127.0.0.1:1"),
        ("kafka", "security_protocol", "PLAINTEXT"),
        ("kafka-consumer", "bootstrap_servers", &address),
        ("kafka-crypto-producer", "bootstrap_servers", &address),
        ("kafka-crypto-consumer", "group_id", "side"),
    ];
    let set = store.update(&mut |config| {
        entries.iter().try_for_each(|(section, name, text)| {
            let text = Value::Text((*text).to_owned());
            config.set(Section::named(section), *name, &text).map(drop)
        })
    });
    set.unwrap();
    drop(store);

    let sender = fleet.open("sender").await;
    let producer = sender.producer().await.unwrap();
    let sent = producer.send(record("t", "secret")).await.unwrap();
    sent.await.unwrap();
    let reader = NodeOptions::new(files.config().to_str().unwrap());
    let reader = reader.open().await.unwrap();
    let mut consumer = consumer(&reader, "t").await;
    assert_eq!(values(&take(&mut consumer, 1).await), ["secret"]);
    let closed = reader.node.shutdown(DEADLINE).await.unwrap();
    closed.gateway.unwrap();

    let servers = [("bootstrap_servers", &address)];
    let backend = backend_pure::Settings::parse(servers).unwrap();
    let backend = backend_pure::PureBackend::new(backend);
    for (group, expected) in [("side", true), ("reader.kafkacrypto", false)] {
        let mut log = backend.log_reader(Some(group)).await.unwrap();
        let topics = ["t.keys".to_owned()];
        let committed = log.committed(&topics, DEADLINE).await.unwrap();
        assert_eq!(!committed.is_empty(), expected, "{group}: {committed:?}");
    }
}
