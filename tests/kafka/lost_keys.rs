//! Three members read three partitions, each with records in the middle whose data keys are lost. What can be opened is
//! delivered in order, whatever happens to the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kc::core::backend::{LogStart, TopicSpec};
use kc::core::provision::Role;
use kc::{BackendChoice, ConsumerRecord, Node, Policy, Reason, Record};
use kc_testkit::kafka::{Listener, Version};
use libtest_mimic::Trial;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::backends::FULL;
use crate::brokers::shared;
use crate::clients::DEADLINE;
use crate::fleet::{Fleet, create_root};
use crate::trial;

const PARTITIONS: i32 = 3;
/// The number of records before the lost ones, and after them.
const EACH: usize = 50;
const LOST: usize = 5;
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn trials() -> Vec<Trial> {
    let policies = ["skip", "deliver", "dead-letter", "park"];
    let each = FULL
        .into_iter()
        .flat_map(|choice| policies.map(|policy| (choice, policy)));
    let trials = each.map(|(choice, policy)| {
        let name = format!("lost_keys::{choice}::{policy}");
        trial(name, move || read_around(choice, policy))
    });
    trials.collect()
}

async fn read_around(choice: BackendChoice, name: &'static str) {
    let fleet = Fleet::on(shared(Version::V4).address(Listener::Plaintext));
    let root = format!("lost-{choice}-{name}");
    let (topic, letters) = (format!("{root}.b"), format!("{root}.letters"));
    let here = fleet
        .open(&format!("{root}-here"), Role::Producer, choice)
        .await;
    create_root(&here, &root).await;
    let admin = here.backend().admin().await.unwrap();
    for (topic, partitions) in [(&topic, PARTITIONS), (&letters, 1)] {
        let spec = TopicSpec::data(topic, partitions);
        admin.create_topic(&spec, DEADLINE).await.unwrap();
    }
    admin.close().await;
    let away_id = format!("{root}-away");
    let away = fleet.open(&away_id, Role::Producer, choice).await;
    send(&here, &topic, 0..EACH).await;
    send(&away, &topic, 0..LOST).await;
    send(&here, &topic, EACH..2 * EACH).await;
    away.close_within(DEADLINE).await.unwrap();

    let policy = match name {
        "skip" => Policy::Skip,
        "deliver" => Policy::Deliver,
        "park" => Policy::Park,
        _ => Policy::DeadLetter(letters.clone()),
    };
    let (found, mut read) = mpsc::unbounded_channel();
    let mut members = JoinSet::new();
    for member in 0..3 {
        let id = format!("{root}-reader{member}");
        let node = fleet.open(&id, Role::Consumer, choice).await;
        let consumer = node.consumer([&topic]).group(&root).from_beginning();
        let consumer = consumer
            .patience(PATIENCE)
            .undecryptable(Reason::Unanswered, policy.clone());
        let mut consumer = consumer.join().await.unwrap();
        let found = found.clone();
        members.spawn(async move {
            while let Some(record) = consumer.next().await {
                let record = record.unwrap();
                record.ack();
                if found.send(record).is_err() {
                    break;
                }
            }
            consumer.close_within(DEADLINE).await.unwrap();
            node
        });
    }
    let delivered_lost = if name == "deliver" { LOST } else { 0 };
    let wanted = (2 * EACH + delivered_lost) * usize::try_from(PARTITIONS).unwrap();
    let mut records: BTreeMap<(i32, i64), Option<String>> = BTreeMap::new();
    let mut last = BTreeMap::new();
    let reading = async {
        while records.len() < wanted {
            let record = read.recv().await.unwrap();
            let at = (record.partition(), record.offset());
            if records.contains_key(&at) {
                // A rebalance can deliver a record again.
                continue;
            }
            let before = last.insert(at.0, at.1);
            assert!(before < Some(at.1), "{at:?} follows {before:?}");
            records.insert(at, opened(&record));
        }
    };
    let all = tokio::time::timeout(DEADLINE, reading).await;
    assert!(all.is_ok(), "{} of {wanted}: {records:?}", records.len());
    if name == "park" {
        read_parked(&fleet, &away_id, choice, &mut read, &topic).await;
    }
    // The members end at their next record.
    drop(read);
    send(&here, &topic, 2 * EACH..2 * EACH + 1).await;
    let nodes = tokio::time::timeout(DEADLINE, members.join_all())
        .await
        .unwrap();

    for partition in 0..PARTITIONS {
        let of_partition = records.range((partition, 0)..(partition + 1, 0));
        let values: Vec<_> = of_partition.map(|(_, value)| value.as_deref()).collect();
        let here = |numbers: std::ops::Range<usize>| numbers.map(|n| Some(n.to_string()));
        let lost = (0..delivered_lost).map(|_| None);
        let expected: Vec<_> = here(0..EACH)
            .chain(lost)
            .chain(here(EACH..2 * EACH))
            .collect();
        assert_eq!(
            values,
            expected.iter().map(Option::as_deref).collect::<Vec<_>>()
        );
    }
    if name == "dead-letter" {
        let mut log = here.backend().log_reader(None).await.unwrap();
        let all = LOST * usize::try_from(PARTITIONS).unwrap();
        let mut found = BTreeSet::new();
        log.assign(&[(letters.clone(), LogStart::Earliest)])
            .await
            .unwrap();
        while found.len() < all {
            let polled = log.poll(DEADLINE).await.unwrap();
            assert!(!polled.is_empty(), "{found:?} of {all} dead letters");
            found.extend(polled.iter().map(origin));
        }
        assert_eq!(found.len(), all);
        log.close().await;
    }
    for node in nodes.into_iter().chain([here]) {
        node.close_within(DEADLINE).await.unwrap();
    }
}

/// Reads the lost records, whose producer is back, in the order of each partition.
async fn read_parked(
    fleet: &Fleet,
    away: &str,
    choice: BackendChoice,
    read: &mut mpsc::UnboundedReceiver<ConsumerRecord>,
    topic: &str,
) {
    let away = fleet.reopen(away, choice).await;
    let all = LOST * usize::try_from(PARTITIONS).unwrap();
    let mut late: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    let reading = async {
        while late.values().map(Vec::len).sum::<usize>() < all {
            let record = read.recv().await.unwrap();
            assert!(record.parked_at().is_some());
            assert_eq!(record.topic(), topic);
            let values = late.entry(record.partition()).or_default();
            let value = opened(&record).unwrap();
            if !values.contains(&value) {
                values.push(value);
            }
        }
    };
    let read = tokio::time::timeout(DEADLINE, reading).await;
    assert!(read.is_ok(), "{late:?}");
    let expected: Vec<_> = (0..LOST).map(|number| number.to_string()).collect();
    for values in late.values() {
        assert_eq!(*values, expected);
    }
    away.close_within(DEADLINE).await.unwrap();
}

/// Sends the same numbers to each partition.
async fn send(node: &Node, topic: &str, numbers: std::ops::Range<usize>) {
    let producer = node.producer().await.unwrap();
    let mut deliveries = Vec::new();
    for number in numbers {
        for partition in 0..PARTITIONS {
            let record = Record::to(topic)
                .partition(partition)
                .value(number.to_string());
            deliveries.push(producer.enqueue(record).await.unwrap());
        }
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    producer.close_within(DEADLINE).await.unwrap();
}

/// Returns the value of a record, or `None` if it was delivered unopened.
fn opened(record: &ConsumerRecord) -> Option<String> {
    let text = || String::from_utf8(record.value().to_vec()).unwrap();
    record.failure().is_none().then(text)
}

/// Returns the partition and the offset from which a dead letter comes.
fn origin(letter: &kc::core::backend::Record) -> (String, String) {
    let header = |name: &str| {
        let mut headers = letter.headers.iter();
        let found = headers.find(|header| header.name == name).unwrap();
        String::from_utf8(found.value.clone().unwrap()).unwrap()
    };
    (header("kc.partition"), header("kc.offset"))
}
