//! Records whose data keys nobody has any more.

use std::time::Duration;

use kc::core::provision::Role;
use kc::{Policy, Reason, Record};

use crate::fleet::{DEADLINE, Fleet, take, values};

#[tokio::test(flavor = "multi_thread")]
async fn fault_17_a_record_whose_key_is_lost_does_not_stop_the_others() {
    let fleet = Fleet::start().await;
    fleet.provision("lost", Role::Producer, "root");
    fleet.provision("here", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let here = fleet.open("here").await;
    let lost = fleet.open("lost").await;
    for (node, value) in [(&lost, "lost"), (&here, "good")] {
        let producer = node.producer().await.unwrap();
        producer.send(Record::to("t").value(value)).await.unwrap();
    }
    // The host of the node is lost, with the node's keys.
    lost.close_within(DEADLINE).await.unwrap();
    for file in ["lost.config", "lost.crypto", "lost.seed"] {
        std::fs::remove_file(fleet.folder.path().join(file)).unwrap();
    }
    let reader = fleet
        .options("reader")
        .setting("crypto_sub_interval", "0.3");
    let reader = reader.open().await.unwrap();
    let consumer = reader.consumer(["t"]).from_beginning();
    let consumer = consumer.patience(Duration::from_secs(5));
    let consumer = consumer.undecryptable(Reason::Unanswered, Policy::Skip);
    let mut consumer = consumer.join().await.unwrap();
    assert_eq!(values(&take(&mut consumer, 1).await), ["good"]);
}
