//! The Kafka settings of a node, and the clients to which they apply.

use std::sync::Arc;

use kc::backend_pure::PureBackend;
use kc::core::backend::{Backend, LogStart};
use kc::core::provision::Role;
use kc::core::store::config::{ConfigStore, Section, Value};
use kc::keystore_file::{FileConfigStore, NodeFiles, NodeLock};
use kc::{ClientSettings, Node, NodeBuilder};
use kc_broker::Broker;

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};

/// Sets Kafka settings in a node's configuration: section, name, value.
fn configure(fleet: &Fleet, node: &str, entries: &[(&str, &str, &str)]) -> NodeBuilder {
    let files = NodeFiles::in_folder(fleet.folder.path(), node).unwrap();
    let store = FileConfigStore::new(Arc::new(NodeLock::acquire(&files).unwrap()));
    let set = store.update(&mut |config| {
        entries.iter().try_for_each(|(section, name, text)| {
            let text = Value::Text((*text).to_owned());
            config.set(Section::named(section), *name, &text).map(drop)
        })
    });
    set.unwrap();
    Node::builder(files.config().to_str().unwrap())
}

fn client(address: &str) -> PureBackend {
    PureBackend::new(ClientSettings::parse([("bootstrap_servers", address)]).unwrap()).unwrap()
}

/// Returns a fleet with a sender that has sent a record.
async fn fleet() -> (Fleet, Node) {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let sender = fleet.open("sender").await;
    let producer = sender.producer().await.unwrap();
    let sent = producer.enqueue(record("t", "secret")).await.unwrap();
    sent.await.unwrap();
    producer.close_within(DEADLINE).await.unwrap();
    (fleet, sender)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_side_topics_have_settings_of_their_own() {
    let (fleet, _sender) = fleet().await;
    let address = fleet.broker.address().to_string();
    let reader = configure(
        &fleet,
        "reader",
        &[
            // No broker listens on port 1.
            ("kafka", "bootstrap_servers", "127.0.0.1:1"),
            ("kafka", "security_protocol", "PLAINTEXT"),
            ("kafka-consumer", "bootstrap_servers", &address),
            ("kafka-crypto-producer", "bootstrap_servers", &address),
            ("kafka-crypto-consumer", "group_id", "side"),
        ],
    );
    let reader = reader.open().await.unwrap();
    let mut consumer = consumer(&reader, "t").await;
    assert_eq!(values(&take(&mut consumer, 1).await), ["secret"]);
    reader.close_within(DEADLINE).await.unwrap();

    for (group, expected) in [("side", true), ("reader.kafkacrypto", false)] {
        let mut log = client(&address).log_reader(Some(group)).await.unwrap();
        let topics = ["t.keys".to_owned()];
        let committed = log.committed(&topics, DEADLINE).await.unwrap();
        assert_eq!(!committed.is_empty(), expected, "{group}: {committed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_where_the_side_topics_producer_is_told() {
    let (fleet, _sender) = fleet().await;
    let address = fleet.broker.address().to_string();
    let elsewhere = Broker::builder().start().await.unwrap();
    let told = elsewhere.address().to_string();
    let reader = configure(
        &fleet,
        "reader",
        &[
            ("kafka", "bootstrap_servers", &address),
            ("kafka", "security_protocol", "PLAINTEXT"),
            ("kafka-crypto-producer", "bootstrap_servers", &told),
        ],
    );
    let reader = reader.open().await.unwrap();
    let mut consumer = consumer(&reader, "t").await;
    let mut requests = client(&told).log_reader(None).await.unwrap();
    let topics = [("t.reqs".to_owned(), LogStart::Earliest)];
    requests.assign(&topics).await.unwrap();
    let request = async {
        loop {
            let records = requests.poll(DEADLINE).await.unwrap();
            if let Some(record) = records.into_iter().next() {
                return record;
            }
        }
    };
    tokio::select! {
        request = request => assert_eq!(&*request.topic, "t.reqs"),
        read = take(&mut consumer, 1) => panic!("no request came there; read {read:?}"),
    }
}
