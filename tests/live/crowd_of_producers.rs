//! Many producers of one root topic.

use kc::core::provision::Role;

use crate::crowd::meet;
use crate::fleet::Fleet;

const PRODUCERS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_meets_twenty_producers_reads_all_of_them() {
    let fleet = Fleet::start().await;
    let mut producers = Vec::new();
    for number in 0..PRODUCERS {
        let id = format!("p{number}");
        fleet.provision(&id, Role::Producer, "root");
        producers.push(fleet.open(&id).await);
    }
    fleet.provision("reader", Role::Consumer, "root");
    let reader = fleet.open("reader").await;
    let took = meet(&producers, &reader, "t", 3).await;
    let status = reader.status().await.unwrap().exchange;
    assert!(status.missing.is_empty(), "{status:?}");
    println!("{PRODUCERS} producers: all read {took:?} after the first poll");
}
