//! Brokers that are stopped or killed during traffic: messages and the key exchange continue afterwards.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kc::BackendChoice::{self, Legacy, Pure, Rdkafka};
use kc::core::provision::Role;
use kc::{Consumer, Node, Producer};
use kc_testkit::kafka::{Kafka, Listener, Version};
use libtest_mimic::Trial;
use tokio::sync::watch;

use crate::clients::{self, DEADLINE, record, take, values};
use crate::fleet::{Fleet, create_root};
use crate::trial;

/// The number of records before the outage.
const BEFORE: usize = 300;
/// The number of records from the end of the outage on.
const AFTER: usize = 300;
/// The time between two records.
const PACE: Duration = Duration::from_millis(2);
/// The time that clients wait for an answer. A broker that starts may leave a request without an answer, so clients may
/// continue that much later.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// The additional time that a retry may take.
const ANOTHER_TRY: Duration = Duration::from_secs(5);

/// The way in which a broker ends.
#[derive(Clone, Copy, Debug)]
enum Outage {
    Stopped,
    Killed,
}

/// The times from the restart of a broker to the first record that was sent afterwards and read.
static TIMES: Mutex<Vec<(String, Duration)>> = Mutex::new(Vec::new());

pub(crate) fn trials() -> Vec<Trial> {
    let cases = [
        (Pure, Version::V4, Outage::Stopped),
        (Pure, Version::V4, Outage::Killed),
        (Pure, Version::V3_9, Outage::Killed),
        (Rdkafka, Version::V4, Outage::Stopped),
        (Rdkafka, Version::V4, Outage::Killed),
        (Rdkafka, Version::V3_9, Outage::Killed),
        (Legacy, Version::V3_9, Outage::Stopped),
        (Legacy, Version::V3_9, Outage::Killed),
    ];
    let trials = cases.into_iter().map(|(choice, version, outage)| {
        let name = format!("outages::{choice}_on_{version}::{outage:?}");
        trial(name.clone(), move || run(name, choice, version, outage))
    });
    trials.collect()
}

async fn run(name: String, choice: BackendChoice, version: Version, outage: Outage) {
    let mut kafka = Kafka::builder(version).start().unwrap();
    let fleet = Fleet::on(kafka.address(Listener::Plaintext));
    create_topics(&fleet, &["t", "afterwards"]).await;
    let sender = open(&fleet, "sender", Role::Producer, choice).await;
    let reader = open(&fleet, "reader", Role::Consumer, choice).await;
    let mut consumer = clients::consumer(&reader, "t.a").await;

    let (count, mut counted) = watch::channel(0_usize);
    let (back, is_back) = watch::channel(None::<Instant>);
    let sending = send(sender.producer().await.unwrap(), is_back.clone());
    let reading = read(&mut consumer, count, is_back);
    let breaking = async {
        counted.wait_for(|read| *read >= BEFORE).await.unwrap();
        let restarted = tokio::task::spawn_blocking(move || {
            match outage {
                Outage::Stopped => kafka.stop().unwrap(),
                Outage::Killed => kafka.kill(),
            }
            kafka.restart().unwrap();
            kafka
        });
        let kafka = restarted.await.unwrap();
        back.send(Some(Instant::now())).unwrap();
        kafka
    };
    let whole = async { tokio::join!(sending, reading, breaking) };
    let ((), took, kafka) = tokio::time::timeout(4 * DEADLINE, whole).await.unwrap();

    let latest = REQUEST_TIMEOUT + ANOTHER_TRY;
    assert!(took <= latest, "back only after {took:?}");
    note(name, took);
    consumer.close_within(DEADLINE).await.unwrap();
    // A root topic whose data key is not requested yet.
    let producer = sender.producer().await.unwrap();
    let sent = producer.enqueue(record("afterwards.a", "new key")).await;
    sent.unwrap().await.unwrap();
    let mut afterwards = clients::consumer(&reader, "afterwards.a").await;
    assert_eq!(values(&take(&mut afterwards, 1).await), ["new key"]);
    afterwards.close_within(DEADLINE).await.unwrap();
    sender.close_within(DEADLINE).await.unwrap();
    reader.close_within(DEADLINE).await.unwrap();
    drop(kafka);
}

fn note(name: String, took: Duration) {
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    times.push((name, took));
}

async fn open(fleet: &Fleet, id: &str, role: Role, choice: BackendChoice) -> Node {
    let millis = REQUEST_TIMEOUT.as_millis().to_string();
    let options = fleet.options(id, role, choice);
    let options = options.kafka("request_timeout_ms", &millis);
    options.open().await.unwrap()
}

/// Sends numbers, and continues for some time after the restart of the broker. All of them must be acknowledged.
async fn send(producer: Producer, mut is_back: watch::Receiver<Option<Instant>>) {
    let mut deliveries = Vec::new();
    let mut left = AFTER;
    while left > 0 {
        if is_back.borrow_and_update().is_some() {
            left -= 1;
        }
        let number = deliveries.len().to_string();
        deliveries.push(producer.enqueue(record("t.a", number)).await.unwrap());
        tokio::time::sleep(PACE).await;
    }
    deliveries.push(producer.enqueue(record("t.a", "end")).await.unwrap());
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    producer.close_within(DEADLINE).await.unwrap();
}

/// Reads all numbers in order. A number may come twice, but none may be missing. Returns the time from the restart of
/// the broker to the next record.
async fn read(
    consumer: &mut Consumer,
    count: watch::Sender<usize>,
    is_back: watch::Receiver<Option<Instant>>,
) -> Duration {
    let mut next = 0;
    let mut took = None;
    loop {
        for read in consumer.next_batch().await.unwrap().unwrap() {
            read.ack();
            let value = String::from_utf8(read.value().to_vec()).unwrap();
            if value == "end" {
                return took.unwrap_or_default();
            }
            let number: usize = value.parse().unwrap();
            assert!(number <= next, "{next} is missing before {number}");
            next = next.max(number + 1);
            if let Some(since) = *is_back.borrow() {
                took.get_or_insert_with(|| since.elapsed());
            }
        }
        count.send_replace(next);
    }
}

/// Creates topics with another client, because the old one cannot.
async fn create_topics(fleet: &Fleet, roots: &[&str]) {
    let node = fleet.open("admin", Role::Producer, Pure).await;
    for root in roots {
        create_root(&node, root).await;
    }
    node.close_within(DEADLINE).await.unwrap();
}

/// Prints the times after which clients continued.
pub(crate) fn print_times() {
    let times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, took) in times.iter() {
        println!(
            "{name}: the next record {:.1} s after the broker was back",
            took.as_secs_f64()
        );
    }
}
