//! A cluster of three brokers: leaders change, a broker dies and all brokers restart in the middle of traffic, and
//! messages, groups and key exchanges go on.

use std::collections::BTreeSet;
use std::time::Duration;

use kc::core::backend::TopicSpec;
use kc::core::provision::Role;
use kc::{BackendChoice, Consumer, Producer, Record};
use kc_testkit::kafka::{Cluster, Version};
use libtest_mimic::Trial;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::backends::FULL;
use crate::fleet::Fleet;
use crate::trial;

const TOPIC: &str = "cluster.a";
const PARTITIONS: i32 = 3;
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
    let reader = options("reader", Role::Consumer).open().await.unwrap();
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

    let (count, mut counted) = watch::channel(0_usize);
    let (end, ended) = watch::channel(false);
    let producer = sender.producer().await.unwrap();
    let mut consumer = reader
        .consumer([TOPIC])
        .from_beginning()
        .join()
        .await
        .unwrap();
    let sending = tokio::spawn(send(producer, ended));
    let (all, total) = oneshot::channel();
    let reading = tokio::spawn(async move {
        read_all(&mut consumer, &count, total).await;
        consumer.close_within(DEADLINE).await.unwrap();
    });
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
    all.send(sent).unwrap();
    let read = timeout(DEADLINE, reading).await;
    read.unwrap_or_else(|_| panic!("read {} of {sent}", *counted.borrow()))
        .unwrap();

    let late = options("late", Role::Consumer).open().await.unwrap();
    let mut consumer = late
        .consumer([TOPIC])
        .from_beginning()
        .join()
        .await
        .unwrap();
    let (all, total) = oneshot::channel();
    all.send(sent).unwrap();
    let all = timeout(
        DEADLINE,
        read_all(&mut consumer, &watch::Sender::default(), total),
    )
    .await;
    all.expect("a new node reads everything with one broker down");
    consumer.close_within(DEADLINE).await.unwrap();
    for node in [sender, reader, late] {
        node.close_within(DEADLINE).await.unwrap();
    }
    drop(cluster);
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
            .key(format!("{}", number % 7))
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

/// Reads until all records have been read: as many different numbers as `total` gives when the traffic has ended.
async fn read_all(
    consumer: &mut Consumer,
    count: &watch::Sender<usize>,
    mut total: oneshot::Receiver<usize>,
) {
    let mut read = BTreeSet::new();
    let mut wanted = usize::MAX;
    while read.len() < wanted {
        tokio::select! {
            all = &mut total, if wanted == usize::MAX => wanted = all.unwrap(),
            number = take(consumer) => {
                read.insert(number);
                count.send_replace(read.len());
            }
        }
    }
}

async fn take(consumer: &mut Consumer) -> usize {
    let record = consumer.next().await.unwrap().unwrap();
    record.ack();
    std::str::from_utf8(record.value())
        .unwrap()
        .parse()
        .unwrap()
}
