//! Records in transactions of other clients: committed records come once, and aborted ones only on request.

use std::time::Duration;

use kc::BackendChoice;
use kc::core::backend::{LogStart, TopicSpec};
use kc_testkit::kafka::{Listener, Version};
use krafka::Record;
use libtest_mimic::Trial;

use crate::backends::{self, backend};
use crate::brokers::shared;
use crate::clients::DEADLINE;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    let trials = backends::ALL.into_iter().map(|(choice, version)| {
        let name = format!("transactions::{choice}_on_{version}");
        trial(name, move || isolation(choice, version))
    });
    trials.collect()
}

async fn isolation(choice: BackendChoice, version: Version) {
    let address = shared(version).address(Listener::Plaintext);
    let topic = format!("transactions-{choice}");
    write(&address, &topic).await;
    let all = read(choice, &address, &topic, "read_uncommitted").await;
    assert_eq!(all, ["plain", "kept 1", "kept 2", "dropped", "last"]);
    if choice != BackendChoice::Legacy {
        let committed = read(choice, &address, &topic, "read_committed").await;
        assert_eq!(committed, ["plain", "kept 1", "kept 2", "last"]);
    }
}

/// Writes a record, a transaction that is committed, one that is aborted, and another record.
async fn write(address: &str, topic: &str) {
    let admin = backend(BackendChoice::Pure, [("bootstrap_servers", address)]).unwrap();
    let admin = admin.admin().await.unwrap();
    let spec = TopicSpec::data(topic, 1);
    admin.create_topic(&spec, DEADLINE).await.unwrap();
    let kafka = krafka::Kafka::builder(address).connect().await.unwrap();
    let plain = kafka.producer().build().await.unwrap();
    drop(plain.send(Record::new(topic, "plain")).await.unwrap());
    let transactional = kafka.producer().build_transactional(topic).await.unwrap();
    transactional.begin().unwrap();
    for value in ["kept 1", "kept 2"] {
        drop(transactional.send(Record::new(topic, value)).await.unwrap());
    }
    transactional.commit().await.unwrap();
    transactional.begin().unwrap();
    let dropped = Record::new(topic, "dropped");
    drop(transactional.send(dropped).await.unwrap());
    transactional.abort().await.unwrap();
    drop(plain.send(Record::new(topic, "last")).await.unwrap());
    transactional.close().await.unwrap();
    plain.close().await.unwrap();
}

/// Returns all values up to the last one.
async fn read(choice: BackendChoice, address: &str, topic: &str, isolation: &str) -> Vec<String> {
    let settings = [
        ("bootstrap_servers", address),
        ("isolation_level", isolation),
    ];
    let backend = backend(choice, settings).unwrap();
    let mut reader = backend.log_reader(None).await.unwrap();
    let start = [(topic.to_owned(), LogStart::Earliest)];
    reader.assign(&start).await.unwrap();
    let mut values: Vec<String> = Vec::new();
    let reading = async {
        while values.last().is_none_or(|value| value != "last") {
            let records = reader.poll(Duration::from_millis(200)).await.unwrap();
            let read = records.into_iter().filter_map(|record| record.value);
            values.extend(read.map(|value| String::from_utf8(value.into()).unwrap()));
        }
    };
    tokio::time::timeout(DEADLINE, reading).await.unwrap();
    reader.close().await;
    values
}
