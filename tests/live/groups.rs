//! Members of one group, each a node of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use kc::core::backend::TopicSpec;
use kc::core::provision::Role;
use kc::{
    EncryptedConsumer, EncryptedProducer, ForeignPolicy, GroupStart, OpenNode, OpenedRecord,
    PlainRecord,
};

use crate::fleet::{DEADLINE, Fleet};

const PARTITIONS: i32 = 3;

/// Who read what, in the order in which it was read.
type Log = Mutex<Vec<(&'static str, OpenedRecord)>>;

fn count(log: &Log, member: &str) -> usize {
    let log = log.lock().unwrap();
    log.iter().filter(|(reader, _)| *reader == member).count()
}

/// How many different records were read.
fn distinct(log: &Log) -> usize {
    let log = log.lock().unwrap();
    let places = log.iter().map(|(_, read)| (read.partition, read.offset));
    places.collect::<BTreeSet<_>>().len()
}

async fn read(
    member: &'static str,
    consumer: &mut EncryptedConsumer,
    log: &Log,
    done: impl Fn() -> bool,
) {
    while !done() {
        let wait = Duration::from_millis(100);
        let records = consumer.poll(50, wait).await.unwrap();
        let read = records.into_iter().map(|record| (member, record));
        log.lock().unwrap().extend(read);
    }
}

/// Sends rounds of a record for each partition until it is done.
async fn send(producer: &EncryptedProducer, sent: &mut usize, done: impl Fn(usize) -> bool) {
    while !done(*sent) {
        for partition in 0..PARTITIONS {
            let record = PlainRecord {
                topic: "t".into(),
                partition: Some(partition),
                value: Some(sent.to_string().into_bytes()),
                ..PlainRecord::default()
            };
            drop(producer.send(record).await.unwrap());
            *sent += 1;
        }
        producer.flush(DEADLINE).await.unwrap();
    }
}

async fn join(node: &OpenNode) -> EncryptedConsumer {
    let topics = ["t".to_owned()];
    let (start, policy) = (GroupStart::Earliest, ForeignPolicy::Fail);
    let joined = node.consumer(Some("g"), &topics, start, policy).await;
    joined.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_joins_and_leaves_costs_no_record_and_no_order() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    let mut nodes = Vec::new();
    for id in ["first", "second"] {
        fleet.provision(id, Role::Consumer, "root");
        let options = fleet.options(id).kafka("heartbeat_interval_ms", "100");
        nodes.push(options.open().await.unwrap());
    }
    let sender = fleet.open("sender").await;
    let topic = TopicSpec {
        name: "t".into(),
        partitions: PARTITIONS,
        replication: None,
        compacted: false,
    };
    let admin = sender.backend().admin().await.unwrap();
    admin.create_topic(&topic, DEADLINE).await.unwrap();
    let producer = sender.producer().await.unwrap();
    let (log, mut sent) = (Log::default(), 0);

    let whole = async {
        let mut first = join(&nodes[0]).await;
        send(&producer, &mut sent, |sent| sent == 90).await;
        read("first", &mut first, &log, || distinct(&log) >= 60).await;

        let mut second = join(&nodes[1]).await;
        let shared = || count(&log, "second") >= 60;
        tokio::join!(
            send(&producer, &mut sent, |_| shared()),
            read("first", &mut first, &log, shared),
            read("second", &mut second, &log, shared),
        );
        second.close(DEADLINE).await.unwrap();

        let all = sent + 90;
        send(&producer, &mut sent, |sent| sent == all).await;
        read("first", &mut first, &log, || distinct(&log) >= all).await;
        first.close(DEADLINE).await.unwrap();
    };
    tokio::time::timeout(2 * DEADLINE, whole).await.unwrap();

    // A record may come twice, but its first time is in order.
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for (member, read) in log.lock().unwrap().iter() {
        let value: i64 = String::from_utf8(read.value.clone().unwrap())
            .unwrap()
            .parse()
            .unwrap();
        let (partition, offset) = (read.partition, read.offset);
        assert_eq!(value, offset * i64::from(PARTITIONS) + i64::from(partition));
        let next = next.entry(partition).or_default();
        assert!(
            offset <= *next,
            "{member} skipped {next} to {offset} of {partition}"
        );
        *next = (*next).max(offset + 1);
    }
    assert_eq!(next.values().sum::<i64>(), i64::try_from(sent).unwrap());
}
