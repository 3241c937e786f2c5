use kc::core::provision::Role;

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_producers_records_open_once_it_is_back_without_sending() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    for run in 0..3 {
        let sender = fleet.open("sender").await;
        let producer = sender.producer().await.unwrap();
        producer
            .enqueue(record("t", format!("run {run}")))
            .await
            .unwrap()
            .await
            .unwrap();
        producer.close_within(DEADLINE).await.unwrap();
        sender.close_within(DEADLINE).await.unwrap();
    }
    // The node hands out the data keys of all its runs without turning its ratchet.
    let _sender = fleet.open("sender").await;
    let reader = fleet.open("reader").await;
    let mut consumer = consumer(&reader, "t").await;
    let read = take(&mut consumer, 3).await;
    assert_eq!(values(&read), ["run 0", "run 1", "run 2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_goes_on_where_it_committed() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let sender = fleet.open("sender").await;
    let producer = sender.producer().await.unwrap();
    for n in 0..10 {
        drop(producer.enqueue(record("t", n.to_string())).await.unwrap());
    }
    producer.flush_within(DEADLINE).await.unwrap();
    let mut seen = Vec::new();
    for count in [4, 6] {
        let reader = fleet.open("reader").await;
        let mut consumer = consumer(&reader, "t").await;
        seen.extend(values(&take(&mut consumer, count).await));
        consumer.close_within(DEADLINE).await.unwrap();
        reader.close_within(DEADLINE).await.unwrap();
    }
    let sent: Vec<_> = (0..10).map(|n| n.to_string()).collect();
    assert_eq!(seen, sent);
}
