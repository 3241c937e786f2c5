//! A denial at run time takes effect at once, for nodes that read and for nodes that write.

use std::time::Duration;

use kc::core::chain::TrustList;
use kc::core::keys::KeyType;
use kc::core::provision::Role;
use kc::{Node, NodeEvent, OpenFailure, Policy, ProduceError, Reason, SealError};

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};
use crate::roles::{key_of, publish};

/// Publishes a denial of a node's key, signed by the root.
pub(crate) async fn deny(fleet: &Fleet, id: &str) {
    publish(fleet, KeyType::Ed25519, TrustList::Deny, &key_of(fleet, id)).await;
}

/// Performs a denial, and waits until a node has learned of it.
pub(crate) async fn listed(node: &Node, deny: impl Future<Output = ()>) {
    let mut events = node.events();
    let listed = async { while !matches!(events.next().await, Some(NodeEvent::Listed { .. })) {} };
    let both = async { tokio::join!(listed, deny) };
    tokio::time::timeout(DEADLINE, both).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_denied_reads_nothing_that_is_sealed_from_then_on() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("denied", Role::Consumer, "root");
    fleet.provision("other", Role::Consumer, "root");
    let sender = fleet.open("sender").await;
    // This node does not learn of its own denial, so it continues to ask.
    let denied = fleet
        .options("denied")
        .setting("mgmt_topic_denylist", "none");
    let denied = denied.open().await.unwrap();
    let other = fleet.open("other").await;
    let producer = sender.producer().await.unwrap();
    let send = async |value: &str| {
        producer
            .enqueue(record("t", value))
            .await
            .unwrap()
            .await
            .unwrap();
    };
    send("before").await;
    let (mut of_denied, mut of_other) = (consumer(&denied, "t").await, consumer(&other, "t").await);
    assert_eq!(values(&take(&mut of_denied, 1).await), ["before"]);
    assert_eq!(values(&take(&mut of_other, 1).await), ["before"]);

    let before = sealing_id(&sender).await;
    listed(&sender, deny(&fleet, "denied")).await;
    let turned = async {
        while sealing_id(&sender).await == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, turned).await.unwrap();
    let mut refusals = sender.events();
    send("after").await;
    assert_eq!(values(&take(&mut of_other, 1).await), ["after"]);
    let refused = async {
        loop {
            if let Some(NodeEvent::Refused { check, .. }) = refusals.next().await
                && check.to_string() == "C11"
            {
                return;
            }
        }
    };
    tokio::select! {
        read = take(&mut of_denied, 1) => panic!("the denied consumer read {read:?}"),
        () = refused => {}
    }
}

/// Returns the id of the data key that a node seals under.
async fn sealing_id(node: &Node) -> Vec<u8> {
    let sealer = node.sealer("t.x").await.unwrap();
    sealer.seal_value(b"").unwrap()[..36].to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_is_denied_stops_and_its_records_are_not_delivered() {
    let fleet = Fleet::start().await;
    fleet.provision("denied", Role::Producer, "root");
    fleet.provision("other", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    fleet.provision("historian", Role::Consumer, "root");
    let (denied, other) = (fleet.open("denied").await, fleet.open("other").await);
    let historian = fleet.options("historian").setting("denied_keys", "keep");
    let historian = historian.open().await.unwrap();
    let reader = fleet
        .options("reader")
        .setting("crypto_sub_interval", "0.5");
    let reader = reader.open().await.unwrap();
    let (by_denied, by_other) = (
        denied.producer().await.unwrap(),
        other.producer().await.unwrap(),
    );
    by_denied.send(record("t", "before")).await.unwrap();
    let reading = reader.consumer(["t"]).from_beginning();
    let reading = reading.undecryptable(Reason::Denied, Policy::Skip);
    let mut reading = reading.join().await.unwrap();
    assert_eq!(values(&take(&mut reading, 1).await), ["before"]);
    let mut of_historian = consumer(&historian, "t").await;
    assert_eq!(values(&take(&mut of_historian, 1).await), ["before"]);

    // A value that it sealed before it learned of the denial.
    let sealed = denied.sealer("t").await.unwrap().seal_value(b"late");
    let sealed = sealed.unwrap();
    let denial = async {
        tokio::join!(
            listed(&reader, std::future::ready(())),
            listed(&historian, std::future::ready(())),
            listed(&denied, deny(&fleet, "denied"))
        );
    };
    denial.await;
    let stops = async {
        loop {
            match by_denied.enqueue(record("t", "after")).await {
                Err(ProduceError::Seal(SealError::Denied)) => return,
                Ok(sent) => drop(sent.await),
                Err(error) => panic!("{error}"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, stops).await.unwrap();

    // Its data key opens nothing any more, and no other node gives the key: its records delay no others.
    let opener = reader.opener();
    let dropped = async {
        let denied = |failure| matches!(failure, OpenFailure::Denied { .. });
        while !opener.try_open_value("t", &sealed).is_err_and(denied) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, dropped).await.unwrap();
    // A node with `denied_keys : keep` still reads earlier records.
    let status = historian.status().await.unwrap();
    assert_eq!(status.opening_keys, 1);
    let opened = historian.opener().try_open_value("t", &sealed);
    assert!(opened.is_ok(), "{opened:?}");
    by_other.send(record("t", "from another")).await.unwrap();
    let mut read = Vec::new();
    while read.last().map(String::as_str) != Some("from another") {
        let more = take(&mut reading, 1).await;
        assert!(!more.is_empty());
        read.extend(values(&more));
    }
    let late: Vec<_> = read
        .iter()
        .filter(|value| *value != "from another" && *value != "after")
        .collect();
    assert!(late.is_empty(), "{read:?}");
}
