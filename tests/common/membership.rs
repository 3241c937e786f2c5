//! Members of one group, each a node of its own, that join and leave while records come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use kc::core::backend::TopicSpec;
use kc::{Consumer, ConsumerRecord, Node, Producer, Record};

use crate::clients::DEADLINE;

const PARTITIONS: i32 = 3;

/// The members that read records, with the records in the order of reading.
type Log = Mutex<Vec<(usize, ConsumerRecord)>>;

fn count(log: &Log, member: usize) -> usize {
    let log = log.lock().unwrap();
    log.iter().filter(|(reader, _)| *reader == member).count()
}

/// Returns the number of different records that were read.
fn distinct(log: &Log) -> usize {
    let log = log.lock().unwrap();
    let places = log
        .iter()
        .map(|(_, read)| (read.partition(), read.offset()));
    places.collect::<BTreeSet<_>>().len()
}

async fn read(member: usize, consumer: &mut Consumer, log: &Log, done: impl Fn() -> bool) {
    while !done() {
        let wait = Duration::from_millis(100);
        let Ok(next) = tokio::time::timeout(wait, consumer.next()).await else {
            continue;
        };
        let record = next.unwrap().unwrap();
        record.ack();
        log.lock().unwrap().push((member, record));
    }
}

/// Sends rounds of one record for each partition, until the members have finished.
async fn send(producer: &Producer, topic: &str, sent: &mut usize, done: impl Fn(usize) -> bool) {
    while !done(*sent) {
        for partition in 0..PARTITIONS {
            let record = Record::to(topic).partition(partition);
            let record = record.value(sent.to_string());
            drop(producer.enqueue(record).await.unwrap());
            *sent += 1;
        }
        producer.flush_within(DEADLINE).await.unwrap();
    }
}

async fn join(node: &Node, topic: &str) -> Consumer {
    let consumer = node.consumer([topic]).group(format!("readers of {topic}"));
    consumer.from_beginning().join().await.unwrap()
}

/// One member joins, two more join, one leaves: no record is lost, and each partition is read in order.
pub(crate) async fn members_come_and_go(topic: &str, sender: &Node, members: [&Node; 3]) {
    let spec = TopicSpec::data(topic, PARTITIONS);
    let admin = sender.backend().admin().await.unwrap();
    admin.create_topic(&spec, DEADLINE).await.unwrap();
    let producer = sender.producer().await.unwrap();
    let (log, mut sent) = (Log::default(), 0);

    let whole = async {
        let mut first = join(members[0], topic).await;
        send(&producer, topic, &mut sent, |sent| sent == 90).await;
        read(0, &mut first, &log, || distinct(&log) >= 60).await;

        let (mut second, mut third) =
            (join(members[1], topic).await, join(members[2], topic).await);
        let shared = || count(&log, 1) >= 60 && count(&log, 2) >= 60;
        tokio::join!(
            send(&producer, topic, &mut sent, |_| shared()),
            read(0, &mut first, &log, shared),
            read(1, &mut second, &log, shared),
            read(2, &mut third, &log, shared),
        );
        second.close_within(DEADLINE).await.unwrap();

        let all = sent + 90;
        let read_all = || distinct(&log) >= all;
        tokio::join!(
            send(&producer, topic, &mut sent, |sent| sent == all),
            read(0, &mut first, &log, read_all),
            read(2, &mut third, &log, read_all),
        );
        first.close_within(DEADLINE).await.unwrap();
        third.close_within(DEADLINE).await.unwrap();
    };
    tokio::time::timeout(3 * DEADLINE, whole).await.unwrap();
    in_order(&log, sent);
}

/// Checks that the first appearances of records are in order; a record may come twice.
fn in_order(log: &Log, sent: usize) {
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for (member, read) in log.lock().unwrap().iter() {
        let value = String::from_utf8(read.value().to_vec()).unwrap();
        let value: i64 = value.parse().unwrap();
        let (partition, offset) = (read.partition(), read.offset());
        assert_eq!(value, offset * i64::from(PARTITIONS) + i64::from(partition));
        let next = next.entry(partition).or_default();
        assert!(
            offset <= *next,
            "member {member} skipped {next} to {offset} of {partition}"
        );
        *next = (*next).max(offset + 1);
    }
    assert_eq!(next.values().sum::<i64>(), i64::try_from(sent).unwrap());
}
