//! Many producers of one root topic, on a real broker.

use std::env;
use std::sync::Mutex;
use std::time::Duration;

use kc::BackendChoice;
use kc::core::provision::Role;
use kc_testkit::kafka::{Kafka, Listener, Version};
use libtest_mimic::Trial;

use crate::clients::DEADLINE;
use crate::crowd::meet;
use crate::fleet::Fleet;
use crate::trial;

/// The number of producers, if `KC_PRODUCERS` is not set.
const PRODUCERS: usize = 40;
const EACH: usize = 3;

/// The number of producers, and the time from the first poll to the last opened record.
static TOOK: Mutex<Option<(usize, Duration)>> = Mutex::new(None);

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("producers::of_one_root_topic", crowd)]
}

async fn crowd() {
    let count = env::var("KC_PRODUCERS").map_or(PRODUCERS, |count| count.parse().unwrap());
    let kafka = Kafka::builder(Version::V4).start().unwrap();
    let fleet = Fleet::on(kafka.address(Listener::Plaintext));
    let mut producers = Vec::new();
    for number in 0..count {
        let id = format!("p{number}");
        let node = fleet.open(&id, Role::Producer, BackendChoice::Pure);
        producers.push(node.await);
    }
    let reader = fleet
        .open("reader", Role::Consumer, BackendChoice::Pure)
        .await;
    let took = meet(&producers, &reader, "crowd", EACH).await;
    *TOOK.lock().unwrap() = Some((count, took));
    for node in producers.into_iter().chain([reader]) {
        node.close_within(DEADLINE).await.unwrap();
    }
}

pub(crate) fn print_time() {
    if let Some((count, took)) = *TOOK.lock().unwrap() {
        println!(
            "{count} producers of one root topic: all records opened {} ms after the first poll",
            took.as_millis()
        );
    }
}
