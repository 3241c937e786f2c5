//! A cluster of three brokers: leaders change, a broker dies and all brokers restart in the middle of traffic, and
//! messages, groups and key exchanges go on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kc::core::backend::TopicSpec;
use kc::core::provision::Role;
use kc::{BackendChoice, Consumer, ConsumerRecord, Node, Producer, Record};
use kc_testkit::kafka::{Cluster, Version};
use libtest_mimic::Trial;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::backends::FULL;
use crate::fleet::Fleet;
use crate::trial;

const TOPIC: &str = "cluster.a";
const PARTITIONS: i32 = 3;
/// The number of different Kafka keys.
const KEYS: usize = 7;
const BROKERS: usize = 3;
/// The time between two records.
const PACE: Duration = Duration::from_millis(5);
/// The number of records that must arrive between two changes of the cluster.
const BETWEEN: usize = 200;
/// The deadline of each step.
const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) fn trials() -> Vec<Trial> {
    let trials = FULL.into_iter().map(|choice| {
        trial(format!("cluster::{choice}_rides_restarts_out"), move || {
            run(choice)
        })
    });
    trials.collect()
}

async fn run(choice: BackendChoice) {
    let starting = tokio::task::spawn_blocking(|| Cluster::start(Version::V4).unwrap());
    let mut cluster = starting.await.unwrap();
    let fleet = Fleet::on(cluster.address());
    let options = |id, role| {
        fleet
            .options(id, role, choice)
            .kafka("session_timeout_ms", "6000")
    };
    let sender = options("sender", Role::Producer).open().await.unwrap();
    let mut readers = Vec::new();
    for id in ["reader", "other-reader"] {
        readers.push(options(id, Role::Consumer).open().await.unwrap());
    }
    let admin = sender.backend().admin().await.unwrap();
    let spec = TopicSpec {
        replication: Some(3),
        ..TopicSpec::data(TOPIC, PARTITIONS)
    };
    admin.create_topic(&spec, DEADLINE).await.unwrap();
    for control in ["cluster.reqs", "cluster.subs", "cluster.keys"] {
        admin
            .create_topic(&TopicSpec::control(control), DEADLINE)
            .await
            .unwrap();
    }
    admin.close().await;

    let (end, ended) = watch::channel(false);
    let producer = sender.producer().await.unwrap();
    let reading = Reading::start("readers", &readers).await;
    let mut counted = reading.log.count.subscribe();
    let sending = tokio::spawn(send(producer, ended));
    go_on(&mut counted).await;
    // A rolling restart: each broker that stops gives its leaderships to the others.
    for broker in 0..BROKERS {
        cluster = change(cluster, move |cluster| {
            cluster.brokers()[broker].stop().unwrap()
        })
        .await;
        go_on(&mut counted).await;
        cluster = change(cluster, move |cluster| {
            cluster.brokers()[broker].restart().unwrap();
            cluster.await_all().unwrap();
        })
        .await;
        go_on(&mut counted).await;
    }
    // A broker dies, and stays away until a new node has read everything.
    cluster = change(cluster, |cluster| cluster.brokers()[0].kill()).await;
    go_on(&mut counted).await;
    end.send(true).unwrap();
    let sent = timeout(DEADLINE, sending).await.unwrap().unwrap();
    reading.end(sent).await;

    // A new node, in another group, reads everything with one broker down.
    let late = vec![options("late", Role::Consumer).open().await.unwrap()];
    Reading::start("late", &late).await.end(sent).await;
    for node in readers.into_iter().chain(late).chain([sender]) {
        node.close_within(DEADLINE).await.unwrap();
    }
    drop(cluster);
}

/// Group members that read the topic.
struct Reading {
    log: Arc<Log>,
    members: Vec<JoinHandle<()>>,
    ended: watch::Sender<bool>,
}

/// The records that were read, by partition and offset.
#[derive(Default)]
struct Log {
    records: Mutex<BTreeMap<(i32, i64), (String, usize)>>,
    /// The number of records.
    count: watch::Sender<usize>,
}

impl Reading {
    /// Starts a consumer on each node, all in one group.
    async fn start(group: &str, nodes: &[Node]) -> Self {
        let log = Arc::new(Log::default());
        let (ended, _) = watch::channel(false);
        let mut members = Vec::new();
        for node in nodes {
            let consumer = node.consumer([TOPIC]).group(group).from_beginning();
            let consumer = consumer.join().await.unwrap();
            let reading = read(consumer, Arc::clone(&log), ended.subscribe());
            members.push(tokio::spawn(reading));
        }
        Self {
            log,
            members,
            ended,
        }
    }

    /// Waits until the members have read `sent` records, and checks the records.
    async fn end(self, sent: usize) {
        let mut counted = self.log.count.subscribe();
        let all = timeout(DEADLINE, counted.wait_for(|read| *read >= sent)).await;
        all.unwrap_or_else(|_| panic!("read {} of {sent}", *self.log.count.borrow()))
            .unwrap();
        self.ended.send(true).unwrap();
        for member in self.members {
            timeout(DEADLINE, member).await.unwrap().unwrap();
        }
        self.log.check(sent);
    }
}

/// Reads until the end.
async fn read(mut consumer: Consumer, log: Arc<Log>, mut ended: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            _ = ended.wait_for(|ended| *ended) => break,
            record = consumer.next() => log.add(&record.unwrap().unwrap()),
        }
    }
    consumer.close_within(DEADLINE).await.unwrap();
}

impl Log {
    fn add(&self, record: &ConsumerRecord) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let number = text(record.value()).parse().unwrap();
        let content = (text(record.key().unwrap()), number);
        let at = (record.partition(), record.offset());
        let count = {
            let mut records = self.records.lock().unwrap();
            let before = records.insert(at, content.clone());
            assert!(before.is_none_or(|before| before == content), "{at:?}");
            records.len()
        };
        record.ack();
        self.count.send_replace(count);
    }

    /// Checks that each number was stored once, under its key, and that the numbers of a key are in order, in one
    /// partition.
    fn check(&self, sent: usize) {
        let records = self.records.lock().unwrap();
        let numbers: BTreeSet<_> = records.values().map(|(_, number)| *number).collect();
        assert_eq!(numbers, (0..sent).collect());
        assert_eq!(records.len(), sent, "no record is stored twice");
        let mut last: BTreeMap<&str, (i32, usize)> = BTreeMap::new();
        for ((partition, offset), (key, number)) in records.iter() {
            assert_eq!(*key, key_of(*number));
            if let Some((before, earlier)) = last.insert(key, (*partition, *number)) {
                assert!(
                    before == *partition && earlier < *number,
                    "{number} of {key} follows {earlier} at {partition}:{offset}"
                );
            }
        }
    }
}

fn key_of(number: usize) -> String {
    (number % KEYS).to_string()
}

/// Changes the cluster on another thread.
async fn change(mut cluster: Cluster, by: impl FnOnce(&mut Cluster) + Send + 'static) -> Cluster {
    let changing = tokio::task::spawn_blocking(move || {
        by(&mut cluster);
        cluster
    });
    changing.await.unwrap()
}

/// Waits until more records have been read.
async fn go_on(counted: &mut watch::Receiver<usize>) {
    let until = *counted.borrow() + BETWEEN;
    let reading = counted.wait_for(|read| *read >= until);
    let going = timeout(DEADLINE, reading).await;
    going.expect("traffic goes on").unwrap();
}

/// Sends numbers until the traffic ends. Returns how many; all of them are acknowledged.
async fn send(producer: Producer, ended: watch::Receiver<bool>) -> usize {
    let mut deliveries = Vec::new();
    while !*ended.borrow() {
        let number = deliveries.len();
        let record = Record::to(TOPIC)
            .key(key_of(number))
            .value(number.to_string());
        deliveries.push(producer.enqueue(record).await.unwrap());
        tokio::time::sleep(PACE).await;
    }
    let sent = deliveries.len();
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    producer.close_within(DEADLINE).await.unwrap();
    sent
}
