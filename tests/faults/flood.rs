//! Faults that every client can cause that may write to a topic.

use std::collections::HashSet;
use std::time::Duration;

use kc::core::exchange::{MAX_OUTSTANDING_PER_ROOT, MAX_WANTED_PER_ROOT};
use kc::core::provision::Role;
use kc::{NodeEvent, OpenFailure, Record};
use tokio::task::JoinSet;

use crate::fleet::{DEADLINE, Fleet, consumer, take, values};
use crate::wire::Wire;

/// The number of invented ids: with nine seconds for each, five hours.
const INVENTED: u64 = 2000;

/// More ids than a node remembers.
const MANY: u64 = 5000;

/// The number of root topics whose first keys are awaited at the same time.
const WAITING: usize = 8;

/// Returns a sealed record whose key no node has.
fn invented(id: u64) -> Vec<u8> {
    let id = id.to_be_bytes();
    [
        &[0x01, 0x93, 0xcf][..],
        &id,
        &[0xc4, 16],
        &[0; 16],
        &[0xc4, 20],
        &[7; 20],
    ]
    .concat()
}

fn awaits_key(opened: &Result<Vec<u8>, OpenFailure>) -> bool {
    matches!(opened, Err(OpenFailure::AwaitingKey { .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_07_invented_key_ids_grow_nothing_without_limit() {
    let fleet = Fleet::start().await;
    fleet.provision("reader", Role::Consumer, "root");
    let reader = fleet.open("reader").await;
    let mut events = reader.events();
    let opener = reader.opener();
    for id in 0..INVENTED {
        let opened = opener.try_open_value("t", &invented(id));
        assert!(awaits_key(&opened), "{opened:?}");
    }

    let requested =
        async { while !matches!(events.next().await, Some(NodeEvent::Requested { .. })) {} };
    tokio::time::timeout(DEADLINE, requested).await.unwrap();
    let status = reader.status().await.unwrap();
    assert!(status.exchange.wanted["t"] <= MAX_WANTED_PER_ROOT);
    assert!(status.exchange.outstanding <= MAX_OUTSTANDING_PER_ROOT);
    assert!(status.bounds_hit > 0, "and it shows");
    let requests = Wire::to(&fleet.broker).await.count("t.reqs").await;
    // Four at the same time, and few more since.
    assert!(requests <= 10, "{requests}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_07_of_invented_key_ids_few_are_waited_for_and_none_twice() {
    let fleet = Fleet::start().await;
    fleet.provision("reader", Role::Consumer, "root");
    let reader = fleet.options("reader");
    // The wait for a key is longer than the test.
    let reader = reader.setting("deser_initial_wait_intervals", "1000000");
    let reader = reader.open().await.unwrap();
    let open = |id| {
        let opener = reader.opener();
        async move { (id, opener.open_value("t", &invented(id)).await) }
    };
    let mut opening: JoinSet<_> = (0..MANY).map(open).collect();
    let mut waiting: HashSet<u64> = (0..MANY).collect();
    while waiting.len() > WAITING {
        let opened = tokio::time::timeout(DEADLINE, opening.join_next()).await;
        let (id, opened) = opened.unwrap().unwrap().unwrap();
        assert!(awaits_key(&opened));
        waiting.remove(&id);
    }
    for id in waiting {
        let again = tokio::time::timeout(DEADLINE, open(id)).await;
        assert!(awaits_key(&again.unwrap().1));
    }
    assert_eq!(opening.len(), WAITING);
    assert!(opening.try_join_next().is_none(), "the first sights wait");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_07_a_real_key_comes_through_a_flood_of_invented_ones() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let wire = Wire::to(&fleet.broker).await;
    wire.create("t", 2).await;
    for id in 0..INVENTED / 4 {
        wire.send_to("t", 0, None, &invented(id)).await;
    }
    let reader = fleet
        .options("reader")
        .setting("crypto_sub_interval", "0.2");
    let reader = reader.open().await.unwrap();
    let mut consumer = consumer(&reader, "t").await;
    let flooded = async {
        loop {
            let read = tokio::time::timeout(Duration::from_millis(50), consumer.next());
            assert!(read.await.is_err(), "nothing opens");
            let wanted = reader.status().await.unwrap().exchange.wanted;
            if wanted.get("t") == Some(&MAX_WANTED_PER_ROOT) {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, flooded).await.unwrap();

    let sender = fleet.open("sender").await;
    let producer = sender.producer().await.unwrap();
    let record = Record::to("t").partition(1).value("secret");
    producer.send(record).await.unwrap();
    // The partition with the invented ids waits; the other one does not.
    assert_eq!(values(&take(&mut consumer, 1).await), ["secret"]);
}
