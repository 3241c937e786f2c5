//! Topics to which partitions are added while nodes use them.

use std::time::Duration;

use kc::core::backend::{Backend, TopicSpec};
use kc::core::provision::Role;

use crate::fleet::{DEADLINE, Fleet, record, take, values};

#[tokio::test(flavor = "multi_thread")]
async fn running_producers_and_consumers_use_partitions_that_are_added() {
    let fleet = Fleet::start().await;
    fleet.provision("p", Role::Producer, "root");
    fleet.provision("named", Role::Consumer, "root");
    fleet.provision("open", Role::Consumer, "root");
    let spec = TopicSpec::data("grow.a", 1);
    let admin = fleet.plain().admin().await.unwrap();
    admin.create_topic(&spec, DEADLINE).await.unwrap();
    let node = async |id| {
        let node = fleet.options(id).kafka("metadata_max_age_ms", "1000");
        node.open().await.unwrap()
    };
    let (p, named, open) = (node("p").await, node("named").await, node("open").await);
    let producer = p.producer().await.unwrap();
    producer.send(record("grow.a", "before")).await.unwrap();
    let mut reading = Vec::new();
    for (reader, topic) in [(&named, "grow.a"), (&open, r"^grow\.")] {
        let joining = reader.consumer([topic]).from_beginning();
        let mut consumer = joining.join().await.unwrap();
        assert_eq!(values(&take(&mut consumer, 1).await), ["before"]);
        reading.push(consumer);
    }

    admin.add_partitions("grow.a", 4, DEADLINE).await.unwrap();
    // The key "8" belongs to partition 3 of 4.
    let sending = async {
        loop {
            let keyed = record("grow.a", "after").key("8");
            if producer.send(keyed).await.unwrap().partition == 3 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(DEADLINE, sending).await.unwrap();
    for consumer in &mut reading {
        let arriving = async { while consumer.next().await.unwrap().unwrap().partition() != 3 {} };
        tokio::time::timeout(DEADLINE, arriving).await.unwrap();
    }
}
