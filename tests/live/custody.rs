//! Custodians: keys outlive the nodes that made them.

use std::time::Duration;

use kc::core::backend::{Backend, OutgoingRecord, Retention};
use kc::core::message::Envelope;
use kc::core::provision::Role;
use kc::core::wire::Writer;
use kc::{Clock, Custodian, Node, NodeEvent};

use crate::denials::{deny, listed};
use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};

async fn fleet() -> Fleet {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    fleet.provision("custodian", Role::Prodcon, "root");
    fleet
}

async fn custodian(fleet: &Fleet) -> Node {
    let options = fleet.options("custodian").custodian(Custodian::new());
    options.open().await.unwrap()
}

/// Returns the root topics of the custodian with the number of their kept keys.
async fn kept(node: &Node) -> Vec<(String, u64)> {
    let custody = node.status().await.unwrap().custody.unwrap();
    let kept = custody.into_iter().filter(|root| root.kept > 0);
    kept.map(|root| (root.root_topic.to_string(), root.kept))
        .collect()
}

/// Waits until the custodian keeps this number of keys.
async fn keeps(node: &Node, count: u64) {
    let mut events = node.events();
    let keeping = async {
        while kept(node).await.iter().map(|(_, keys)| keys).sum::<u64>() != count {
            // An event may have come before the listener.
            let _ = tokio::time::timeout(Duration::from_millis(200), events.next()).await;
        }
    };
    tokio::time::timeout(DEADLINE, keeping).await.unwrap();
}

async fn send(node: &Node, topic: &str, value: &str) {
    let producer = node.producer().await.unwrap();
    let queued = producer.enqueue(record(topic, value)).await.unwrap();
    queued.await.unwrap();
    producer.close_within(DEADLINE).await.unwrap();
}

async fn close(node: Node) {
    node.close_within(DEADLINE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_reads_what_a_producer_sealed_that_is_gone() {
    let fleet = fleet().await;
    let keeper = custodian(&fleet).await;
    let sender = fleet.open("sender").await;
    send(&sender, "orders.paid", "1").await;
    send(&sender, "events", "2").await;
    keeps(&keeper, 2).await;
    close(sender).await;
    // The keys outlive a restart of the custodian, too.
    close(keeper).await;
    let keeper = custodian(&fleet).await;

    let reader = fleet.open("reader").await;
    for (topic, value) in [("orders.paid", "1"), ("events", "2")] {
        let mut consumer = consumer(&reader, topic).await;
        assert_eq!(values(&take(&mut consumer, 1).await), [value]);
    }
    let both = [("events".to_owned(), 1), ("orders".to_owned(), 1)];
    assert_eq!(kept(&keeper).await, both);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_after_a_restart_is_proven_by_the_old_record() {
    let fleet = fleet().await;
    let sender = fleet.open("sender").await;
    send(&sender, "t", "1").await;
    close(sender).await;
    let keeper = custodian(&fleet).await;
    let pending = async {
        loop {
            let custody = keeper.status().await.unwrap().custody.unwrap();
            if custody.iter().any(|root| root.pending == 1) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, pending).await.unwrap();
    close(keeper).await;

    let keeper = custodian(&fleet).await;
    let sender = fleet.open("sender").await;
    keeps(&keeper, 1).await;
    close(sender).await;
    let reader = fleet.open("reader").await;
    let mut consumer = consumer(&reader, "t").await;
    assert_eq!(values(&take(&mut consumer, 1).await), ["1"]);
    close(keeper).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_no_key_opens_do_not_spoil_a_key() {
    let fleet = fleet().await;
    let sender = fleet.open("sender").await;
    send(&sender, "t", "1").await;
    // The broker, or anyone who can write to the topic, repeats the id with other bytes, before and after.
    let plain = fleet.plain();
    let mut reader = plain.log_reader(None).await.unwrap();
    let start = kc::core::backend::LogStart::Earliest;
    reader.assign(&[("t".to_owned(), start)]).await.unwrap();
    let sealed = loop {
        let records = reader.poll(DEADLINE).await.unwrap();
        if let Some(record) = records.into_iter().next() {
            break Vec::from(record.value.unwrap());
        }
    };
    let mut forged = sealed.clone();
    *forged.last_mut().unwrap() ^= 1;
    let producer = plain.producer().await.unwrap();
    let id = Envelope::parse(&sealed).unwrap().key_id;
    let mut smaller = Writer::append_to(vec![1]);
    smaller.array(3).key_id(&id).bytes(&[0; 16]).bytes(&[0; 16]);
    let smaller = smaller.into_vec();
    for value in [&smaller, &forged, &sealed, &forged, &smaller] {
        let record = OutgoingRecord {
            topic: "t".to_owned(),
            value: Some(value.clone()),
            ..OutgoingRecord::default()
        };
        producer.enqueue(record).await.unwrap().await.unwrap();
    }
    let keeper = custodian(&fleet).await;
    keeps(&keeper, 1).await;
    close(sender).await;
    let reader = fleet.open("reader").await;
    let mut consumer = consumer(&reader, "t").await;
    assert_eq!(values(&take(&mut consumer, 1).await), ["1"]);
    close(keeper).await;
}

const DAY: Duration = Duration::from_secs(86_400);

/// Opens the custodian some days later by its clock.
async fn custodian_after(fleet: &Fleet, days: u32, custodian: Custodian) -> Node {
    let clock = Clock::system();
    let clock = Clock::new(move || clock.now().plus(DAY * days));
    let options = fleet.options("custodian").clock(clock).custodian(custodian);
    options.open().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_kept_as_long_as_their_records() {
    let fleet = fleet().await;
    let sender = fleet.open("sender").await;
    send(&sender, "t", "1").await;
    let keeper = custodian(&fleet).await;
    keeps(&keeper, 1).await;
    close(keeper).await;
    // The topic keeps its records for seven days.
    let forever = Custodian::new().retention(Retention::Forever);
    for (days, custodian) in [(6, Custodian::new()), (9, forever)] {
        let keeper = custodian_after(&fleet, days, custodian).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        keeps(&keeper, 1).await;
        close(keeper).await;
    }
    let keeper = custodian_after(&fleet, 9, Custodian::new()).await;
    keeps(&keeper, 0).await;
    close(keeper).await;
    close(sender).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_nodes_and_the_keys_of_denied_nodes_stay_out() {
    let fleet = fleet().await;
    fleet.provision("other", Role::Producer, "root");
    fleet.provision("denied", Role::Consumer, "root");
    let keeper = custodian(&fleet).await;
    for (node, value) in [("sender", "1"), ("other", "2")] {
        let node = fleet.open(node).await;
        send(&node, "t", value).await;
        keeps(&keeper, value.parse().unwrap()).await;
        close(node).await;
    }
    for node in ["other", "denied"] {
        listed(&keeper, deny(&fleet, node)).await;
    }
    // This node does not learn of its own denial, so it asks.
    let denied = fleet
        .options("denied")
        .setting("mgmt_topic_denylist", "none");
    let denied = denied.open().await.unwrap();
    let mut refused = keeper.events();
    let reading = async {
        let mut consumer = consumer(&denied, "t").await;
        consumer.next().await
    };
    let refusal = async {
        loop {
            if let Some(NodeEvent::Refused { .. }) = refused.next().await {
                return;
            }
        }
    };
    tokio::select! {
        read = reading => panic!("{read:?}"),
        refused = tokio::time::timeout(DEADLINE, refusal) => refused.unwrap(),
    }
    close(denied).await;

    let reader = fleet.open("reader").await;
    let mut consumer = consumer(&reader, "t").await;
    assert_eq!(values(&take(&mut consumer, 1).await), ["1"]);
    let more = tokio::time::timeout(Duration::from_secs(5), consumer.next()).await;
    assert!(more.is_err(), "{more:?}");
    close(keeper).await;
}
