use kc::core::backend::Backend;
use kc::core::provision::Role;
use kc::core::types::TopicScheme;
use kc::{NodeEvent, PlainRecord};

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_exchange_keys_and_pass_data_through_a_broker_that_reads_none() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let (sender, reader) = (fleet.open("sender").await, fleet.open("reader").await);
    let mut events = reader.node.events();

    let producer = sender.producer().await.unwrap();
    let sent: Vec<_> = (0..100).map(|n| format!("secret number {n}")).collect();
    for value in &sent {
        drop(producer.send(record("t.a", value.as_str())).await.unwrap());
    }
    let null = PlainRecord {
        topic: "t.a".into(),
        ..PlainRecord::default()
    };
    drop(producer.send(null).await.unwrap());
    producer.flush(DEADLINE).await.unwrap();

    let mut consumer = consumer(&reader, "t.a").await;
    let read = take(&mut consumer, 101).await;
    assert_eq!(values(&read[..100]), sent);
    assert_eq!(read[100].value, None, "a null stays one");
    assert!(matches!(
        events.next().await,
        Some(NodeEvent::Requested { direct: true, .. })
    ));
    assert!(matches!(
        events.next().await,
        Some(NodeEvent::Received { .. })
    ));

    consumer.close(DEADLINE).await.unwrap();
    producer.close(DEADLINE).await.unwrap();
    reader
        .node
        .shutdown(DEADLINE)
        .await
        .unwrap()
        .gateway
        .unwrap();
    sender
        .node
        .shutdown(DEADLINE)
        .await
        .unwrap()
        .gateway
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_of_another_root_is_refused_and_both_sides_say_so() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("stranger", Role::Consumer, "another root");
    let sender = fleet.open("sender").await;
    let stranger = fleet
        .options("stranger")
        .setting("crypto_sub_interval", "0.2");
    let stranger = stranger.open().await.unwrap();
    let (mut refusals, mut silence) = (sender.node.events(), stranger.node.events());

    let producer = sender.producer().await.unwrap();
    producer
        .send(record("t", "secret"))
        .await
        .unwrap()
        .await
        .unwrap();
    let mut consumer = consumer(&stranger, "t").await;
    let reading = take(&mut consumer, 1);
    let silent = async {
        loop {
            if let Some(NodeEvent::Unanswered { ids, .. }) = silence.next().await {
                return ids.len();
            }
        }
    };
    tokio::select! {
        read = reading => panic!("read {read:?}"),
        unanswered = silent => assert_eq!(unanswered, 1),
    }
    assert_eq!(consumer.waiting(), 1);
    let refused = loop {
        if let Some(NodeEvent::Refused { check, .. }) = refusals.next().await {
            break check;
        }
    };
    assert_eq!(refused.to_string(), "C04");
    let status = sender.node.status().await.unwrap();
    assert!(status.exchange.refused.values().sum::<u64>() >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_separators_and_suffixes_hold_throughout() {
    let mut fleet = Fleet::start().await;
    fleet.scheme = TopicScheme {
        separator: "-".into(),
        requests_suffix: "_ask".into(),
        keys_suffix: "_tell".into(),
        subscriptions_suffix: "_sub".into(),
    };
    let topics = ["plant.berlin-7".to_owned()];
    fleet.provision_for("sender", Role::Producer, "root", &topics);
    fleet.provision_for("reader", Role::Consumer, "root", &topics);
    let (sender, reader) = (fleet.open("sender").await, fleet.open("reader").await);
    let producer = sender.producer().await.unwrap();
    let sent = producer.send(record("plant.berlin-8", "21.5")).await;
    sent.unwrap().await.unwrap();
    let mut consumer = consumer(&reader, "plant.berlin-8").await;
    assert_eq!(values(&take(&mut consumer, 1).await), ["21.5"]);

    let admin = fleet.plain().admin().await.unwrap();
    let names = admin.topics(DEADLINE).await.unwrap();
    let expected = [
        "plant.berlin-8",
        "plant.berlin_ask",
        "plant.berlin_sub",
        "plant.berlin_tell",
    ];
    assert_eq!(names, expected);
}
