//! The first message on new brokers: no topic exists, not even that of committed offsets.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kc::BackendChoice;
use kc::core::provision::Role;
use kc_testkit::kafka::{Kafka, Listener, Version};
use libtest_mimic::Trial;

use crate::backends::FULL;
use crate::clients::{DEADLINE, consumer, record, take, values};
use crate::fleet::Fleet;
use crate::trial;

/// The number of brokers for each backend.
const BROKERS: usize = 10;

/// The times from opening the nodes to the first opened message.
static TIMES: Mutex<Vec<(BackendChoice, Duration)>> = Mutex::new(Vec::new());

pub(crate) fn trials() -> Vec<Trial> {
    let each = FULL
        .into_iter()
        .flat_map(|choice| (0..BROKERS).map(move |number| (choice, number)));
    each.map(|(choice, number)| {
        let version = Version::ALL[number % Version::ALL.len()];
        let name = format!("first_contact::{choice}::{number:02}_on_{version}");
        trial(name, move || meet(choice, version))
    })
    .collect()
}

async fn meet(choice: BackendChoice, version: Version) {
    let kafka = Kafka::builder(version).start().unwrap();
    let since = Instant::now();
    let fleet = Fleet::on(kafka.address(Listener::Plaintext));
    let sender = fleet.open("sender", Role::Producer, choice).await;
    let reader = fleet.open("reader", Role::Consumer, choice).await;
    let producer = sender.producer().await.unwrap();
    let mut consumer = consumer(&reader, "first.contact").await;
    let sending = async {
        let sent = producer.enqueue(record("first.contact", "hello")).await;
        sent.unwrap().await.unwrap();
    };
    let ((), read) = tokio::join!(sending, take(&mut consumer, 1));
    assert_eq!(values(&read), ["hello"]);
    note(choice, since.elapsed());
    consumer.close_within(DEADLINE).await.unwrap();
    producer.close_within(DEADLINE).await.unwrap();
    sender.close_within(DEADLINE).await.unwrap();
    reader.close_within(DEADLINE).await.unwrap();
}

fn note(choice: BackendChoice, took: Duration) {
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    times.push((choice, took));
}

/// Prints the number of first contacts, and their times.
pub(crate) fn print_times() {
    let times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    for choice in FULL {
        let of_choice = times.iter().filter(|(of, _)| *of == choice);
        let mut millis: Vec<u128> = of_choice.map(|(_, took)| took.as_millis()).collect();
        millis.sort_unstable();
        if let (Some(least), Some(most)) = (millis.first(), millis.last()) {
            let (count, median) = (millis.len(), millis[millis.len() / 2]);
            println!(
                "first contact by {choice}: {count} of {BROKERS}; first message opened after \
                 {least} to {most} ms, median {median} ms"
            );
        }
    }
}
