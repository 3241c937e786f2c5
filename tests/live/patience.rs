//! Records whose data keys do not arrive, and the policies of consumers for them.

use std::time::Duration;

use kc::core::backend::{Backend, TopicSpec};
use kc::core::provision::Role;
use kc::{Node, NodeEvent, Policy, Reason};

use crate::fleet::{DEADLINE, Fleet, record, take, values};

/// The time that records wait for their data keys.
const PATIENCE: Duration = Duration::from_secs(4);

/// A topic with records of a node that is away, between the records of a node that runs.
async fn with_lost_records(fleet: &Fleet) -> Node {
    fleet.provision("away", Role::Producer, "root");
    fleet.provision("here", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let here = fleet.open("here").await;
    let away = fleet.open("away").await;
    let (first, lost) = (
        here.producer().await.unwrap(),
        away.producer().await.unwrap(),
    );
    first.send(record("t", "first")).await.unwrap();
    for value in ["lost 1", "lost 2"] {
        lost.send(record("t", value)).await.unwrap();
    }
    first.send(record("t", "last")).await.unwrap();
    away.close_within(DEADLINE).await.unwrap();
    here
}

async fn reader(fleet: &Fleet) -> Node {
    let reader = fleet
        .options("reader")
        .setting("crypto_sub_interval", "0.3");
    reader.open().await.unwrap()
}

/// Reads as the node `reader`, until `count` records have been read and their positions are committed.
async fn read(reader: &Node, policy: Policy, count: usize) -> Vec<String> {
    let consumer = reader.consumer(["t"]).from_beginning().patience(PATIENCE);
    let consumer = consumer.undecryptable(Reason::Unanswered, policy);
    let mut consumer = consumer.join().await.unwrap();
    let read = values(&take(&mut consumer, count).await);
    consumer.close_within(DEADLINE).await.unwrap();
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn records_whose_keys_do_not_arrive_are_left_out_once_for_the_group() {
    let fleet = Fleet::start().await;
    let here = with_lost_records(&fleet).await;
    let reader = reader(&fleet).await;
    assert_eq!(read(&reader, Policy::Skip, 2).await, ["first", "last"]);
    // The lost records can be opened again, but the group has moved on.
    let _away = fleet.open("away").await;
    let producer = here.producer().await.unwrap();
    producer.send(record("t", "new")).await.unwrap();
    assert_eq!(read(&reader, Policy::Skip, 1).await, ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_opened_when_their_producer_is_back() {
    let fleet = Fleet::start().await;
    let _here = with_lost_records(&fleet).await;
    let admin = fleet.plain().admin().await.unwrap();
    let lost = TopicSpec::data("lost", 1);
    admin.create_topic(&lost, DEADLINE).await.unwrap();
    let node = reader(&fleet).await;
    let to_lost = || Policy::DeadLetter("lost".into());
    assert_eq!(read(&node, to_lost(), 2).await, ["first", "last"]);
    node.close_within(DEADLINE).await.unwrap();

    let _away = fleet.open("away").await;
    let node = fleet.options("reader").root_topic("lost", "t");
    let node = node.open().await.unwrap();
    let consumer = node.consumer(["lost"]).from_beginning();
    let mut consumer = consumer.join().await.unwrap();
    let read = take(&mut consumer, 2).await;
    assert_eq!(values(&read), ["lost 1", "lost 2"]);
    for (record, offset) in read.iter().zip(["1", "2"]) {
        let header = |name: &str| {
            let mut headers = record.headers().iter();
            let found = headers.find(|header| header.name == name);
            found.and_then(|header| header.value.as_deref())
        };
        assert_eq!(header("kc.topic"), Some(&b"t"[..]));
        assert_eq!(header("kc.offset"), Some(offset.as_bytes()));
        assert_eq!(header("kc.reason"), Some(&b"unanswered"[..]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_cannot_be_sent_ends_the_consumer_and_stays_in_the_group() {
    let fleet = Fleet::start().await;
    let _here = with_lost_records(&fleet).await;
    let node = reader(&fleet).await;
    let consumer = node.consumer(["t"]).from_beginning().patience(PATIENCE);
    // The broker accepts no name with a space.
    let consumer =
        consumer.undecryptable(Reason::Unanswered, Policy::DeadLetter("no topic".into()));
    let mut consumer = consumer.join().await.unwrap();
    let mut read = Vec::new();
    let error = loop {
        match consumer.next().await.unwrap() {
            Ok(record) => {
                record.ack();
                read.push(record);
            }
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("cannot be sent to no topic"), "{error}");
    consumer.close_within(DEADLINE).await.unwrap();
    let _away = fleet.open("away").await;
    let again = self::read(&node, Policy::Hold, 3 - (read.len() - 1)).await;
    assert_eq!(again[..2], ["lost 1", "lost 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_does_not_read_its_own_dead_letters() {
    let fleet = Fleet::start().await;
    let _here = with_lost_records(&fleet).await;
    let node = reader(&fleet).await;
    for topic in ["t", "t.reqs", "denylist"] {
        let consumer = node.consumer(["t"]);
        let to = Policy::DeadLetter(topic.into());
        let error = consumer.undecryptable(Reason::Foreign, to).join().await;
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains(&format!("{topic} cannot be the topic")),
            "{error}"
        );
    }
    let admin = fleet.plain().admin().await.unwrap();
    let letters = TopicSpec::data("t-letters", 1);
    admin.create_topic(&letters, DEADLINE).await.unwrap();
    let consumer = node.consumer(["^t"]).from_beginning().patience(PATIENCE);
    let to = Policy::DeadLetter("t-letters".into());
    let consumer = consumer.undecryptable(Reason::Unanswered, to);
    let mut consumer = consumer.join().await.unwrap();
    assert_eq!(values(&take(&mut consumer, 2).await), ["first", "last"]);
    assert_eq!(consumer.left_out(), 2);
    let mut log = fleet.plain().log_reader(None).await.unwrap();
    let sent = async {
        loop {
            let watermarks = log
                .watermarks("t-letters", DEADLINE)
                .await
                .unwrap()
                .unwrap();
            if watermarks[0].high == 2 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, sent).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_partition_is_reported_until_its_record_is_opened() {
    let fleet = Fleet::start().await;
    let _here = with_lost_records(&fleet).await;
    let node = reader(&fleet).await;
    let mut events = node.events();
    let consumer = node.consumer(["t"]).from_beginning().patience(PATIENCE);
    let mut consumer = consumer.join().await.unwrap();
    assert_eq!(values(&take(&mut consumer, 1).await), ["first"]);
    let mut until = async |what: fn(&NodeEvent) -> bool| {
        let found = async {
            loop {
                let event = events.next().await.unwrap();
                if what(&event) {
                    return event;
                }
            }
        };
        tokio::time::timeout(DEADLINE, found).await.unwrap()
    };
    let held = until(|event| matches!(event, NodeEvent::Held { .. })).await;
    let NodeEvent::Held {
        topic,
        partition,
        offset,
        failure,
        owner,
    } = held
    else {
        panic!("{held:?}");
    };
    assert_eq!((topic.as_str(), partition, offset), ("t", 0, 1));
    assert!(failure.may_still_open(), "{failure}");
    assert_eq!(owner, None, "the node has sent no other key");
    let [held] = node.status().await.unwrap().held.try_into().unwrap();
    assert_eq!(
        (held.topic.as_str(), held.partition, held.offset),
        ("t", 0, 1)
    );
    assert!(held.waited >= PATIENCE);

    let _away = fleet.open("away").await;
    assert_eq!(
        values(&take(&mut consumer, 3).await),
        ["lost 1", "lost 2", "last"]
    );
    until(|event| matches!(event, NodeEvent::Released { offset: 1, .. })).await;
    assert_eq!(node.status().await.unwrap().held, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_a_node_are_the_defaults_of_its_consumers() {
    let fleet = Fleet::start().await;
    let _here = with_lost_records(&fleet).await;
    let node = fleet
        .options("reader")
        .setting("crypto_sub_interval", "0.3");
    let node = node
        .setting("patience", "4")
        .setting("undecryptable", "skip");
    let node = node.open().await.unwrap();
    let mut consumer = node.consumer(["t"]).from_beginning().join().await.unwrap();
    assert_eq!(values(&take(&mut consumer, 2).await), ["first", "last"]);
    let wrong = fleet.options("away").setting("undecryptable", "drop");
    let error = wrong.open().await.unwrap_err().to_string();
    assert!(error.contains("unknown policy \"drop\""), "{error}");
}

/// Returns a consumer that parks records whose data keys do not arrive.
async fn parker(node: &Node, group: &str, topics: &str) -> kc::Consumer {
    let consumer = node.consumer([topics]).group(group).from_beginning();
    let consumer = consumer.patience(PATIENCE);
    let consumer = consumer.undecryptable(Reason::Unanswered, Policy::Park);
    consumer.join().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn parked_records_are_delivered_when_their_producer_is_back() {
    let fleet = Fleet::start().await;
    let here = with_lost_records(&fleet).await;
    let node = reader(&fleet).await;
    let mut first = parker(&node, "first", "t").await;
    // Another group parks the same records. By regular expression, the topic of parked records is read nevertheless.
    let mut other = parker(&node, "other", "^t$").await;
    assert_eq!(values(&take(&mut first, 2).await), ["first", "last"]);
    assert_eq!(values(&take(&mut other, 2).await), ["first", "last"]);
    assert_eq!((first.left_out(), other.left_out()), (2, 2));
    // The next member of the group finds the parked records.
    first.close_within(DEADLINE).await.unwrap();
    let mut first = parker(&node, "first", "t").await;

    let _away = fleet.open("away").await;
    for consumer in [&mut first, &mut other] {
        let late = take(consumer, 2).await;
        assert_eq!(values(&late), ["lost 1", "lost 2"]);
        for (record, offset) in late.iter().zip([1, 2]) {
            assert_eq!((record.topic(), record.partition()), ("t", 0));
            assert_eq!(record.offset(), offset);
            assert_eq!(record.parked_at().unwrap().0, "t.parked");
            assert!(record.headers().is_empty(), "{:?}", record.headers());
        }
    }
    first.close_within(DEADLINE).await.unwrap();
    let mut first = parker(&node, "first", "t").await;
    let producer = here.producer().await.unwrap();
    producer.send(record("t", "new")).await.unwrap();
    assert_eq!(values(&take(&mut first, 1).await), ["new"]);
    assert_eq!(values(&take(&mut other, 1).await), ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_group_that_commits_positions_parks() {
    let fleet = Fleet::start().await;
    fleet.provision("reader", Role::Consumer, "root");
    let node = reader(&fleet).await;
    let park = || {
        node.consumer(["t"])
            .undecryptable(Reason::Denied, Policy::Park)
    };
    for consumer in [
        park().no_commit(),
        park().without_group(kc::Assignment::WHOLE),
    ] {
        let error = consumer.join().await.unwrap_err().to_string();
        assert!(error.contains("park records: "), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seek_leads_past_a_held_record() {
    let fleet = Fleet::start().await;
    let here = with_lost_records(&fleet).await;
    let node = reader(&fleet).await;
    let consumer = node.consumer(["t"]).from_beginning();
    let mut consumer = consumer.join().await.unwrap();
    let first = consumer.next().await.unwrap().unwrap();
    consumer.seek("t", 0, 3).await.unwrap();
    assert!(!first.ack(), "it is from before the seek");
    let last = consumer.next().await.unwrap().unwrap();
    assert_eq!(last.value(), b"last");
    assert!(last.skip());
    assert_eq!(consumer.left_out(), 1);
    let error = consumer.seek("t", 1, 0).await.unwrap_err();
    assert_eq!(
        error.kind(),
        kc::core::backend::BackendErrorKind::NotAssigned
    );
    consumer.close_within(DEADLINE).await.unwrap();

    let consumer = node.consumer(["t"]).from_beginning();
    let mut consumer = consumer.skip_until("t", 0, 5).join().await.unwrap();
    let producer = here.producer().await.unwrap();
    for value in ["passed", "read"] {
        producer.send(record("t", value)).await.unwrap();
    }
    assert_eq!(values(&take(&mut consumer, 1).await), ["read"]);
}
