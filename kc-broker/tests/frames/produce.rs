//! Records, seen from the wire.

use kafka_protocol::messages::*;
use kc_broker::{BATCH_OVERHEAD_BYTES, Broker};

use crate::wire::{NO_PRODUCER, Wire, batch, produce_request, text, topic};

fn fetch(min_bytes: usize) -> FetchRequest {
    let partition = fetch_request::FetchPartition::default().with_partition_max_bytes(1 << 20);
    let asked = fetch_request::FetchTopic::default()
        .with_topic(topic("t"))
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_min_bytes(i32::try_from(min_bytes).unwrap())
        .with_max_wait_ms(i32::MAX)
        .with_topics(vec![asked])
}

fn producer_id_request() -> InitProducerIdRequest {
    InitProducerIdRequest::default().with_transactional_id(None)
}

#[tokio::test]
async fn a_repeat_of_an_idempotent_producer_is_stored_once() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    wire.metadata("t", true).await;
    let producer = wire.call(4, &producer_id_request()).await;
    let id = producer.producer_id.0;
    for _ in 0..2 {
        let stored = wire.produce("t", batch((id, 0, 0), b"first")).await;
        assert_eq!((stored.error_code, stored.base_offset), (0, 0));
    }
    let stored = wire.produce("t", batch((id, 0, 1), b"second")).await;
    assert_eq!((stored.error_code, stored.base_offset), (0, 1));
    let gap = wire.produce("t", batch((id, 0, 7), b"gap")).await;
    assert_eq!((gap.error_code, gap.base_offset), (45, -1));
    let newer = wire.produce("t", batch((id, 1, 0), b"newer")).await;
    assert_eq!(newer.base_offset, 2);
    let stale = wire.produce("t", batch((id, 0, 2), b"stale")).await;
    assert_eq!(stale.error_code, 47);
}

#[tokio::test]
async fn each_producer_gets_an_id_of_its_own_but_no_transactions() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    let first = wire.call(4, &producer_id_request()).await;
    let second = wire.call(4, &producer_id_request()).await;
    assert_ne!(first.producer_id, second.producer_id);
    let id = TransactionalId(text("tx"));
    let transactional = InitProducerIdRequest::default().with_transactional_id(Some(id.clone()));
    assert_eq!(wire.call(4, &transactional).await.error_code, 53);
    let coordinator = FindCoordinatorRequest::default().with_key_type(1);
    assert_eq!(wire.call(2, &coordinator).await.error_code, 53);
    wire.metadata("t", true).await;
    let request = produce_request("t", batch(NO_PRODUCER, b"x"), -1);
    let refused = wire.call(9, &request.with_transactional_id(Some(id))).await;
    assert_eq!(refused.responses[0].partition_responses[0].error_code, 53);
}

#[tokio::test]
async fn a_full_memory_is_an_error_that_says_so() {
    let record = batch(NO_PRODUCER, b"x");
    let room = 2 * (record.len() + BATCH_OVERHEAD_BYTES);
    let broker = Broker::builder().memory_limit(room).start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    wire.metadata("t", true).await;
    wire.produce("t", record.clone()).await;
    wire.produce("t", record.clone()).await;
    let refused = wire.produce("t", record.clone()).await;
    assert_eq!(refused.error_code, 44);
    let message = refused.error_message.unwrap();
    assert!(message.contains(&format!("memory limit of {room} bytes")));
    // What is stored stays, and a deletion makes room.
    let fetched = wire.call(11, &fetch(1)).await;
    assert_eq!(fetched.responses[0].partitions[0].high_watermark, 2);
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![topic("t")]);
    wire.call(4, &delete).await;
    wire.metadata("t", true).await;
    assert_eq!(wire.produce("t", record).await.error_code, 0);
}

#[tokio::test]
async fn bad_records_are_refused_by_code() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    wire.metadata("t", true).await;
    let good = batch(NO_PRODUCER, b"x");
    assert_eq!(wire.produce("missing", good.clone()).await.error_code, 3);
    let mut corrupt = good.to_vec();
    *corrupt.last_mut().unwrap() ^= 1;
    assert_eq!(wire.produce("t", corrupt.into()).await.error_code, 2);
    let mut old = good.to_vec();
    old[16] = 1;
    assert_eq!(wire.produce("t", old.into()).await.error_code, 43);
    let large = batch(NO_PRODUCER, &vec![0; 1_048_588]);
    assert_eq!(wire.produce("t", large).await.error_code, 10);
    let odd_acks = wire.call(9, &produce_request("t", good, 7)).await;
    assert_eq!(odd_acks.responses[0].partition_responses[0].error_code, 21);
}

#[tokio::test]
async fn without_acks_there_is_no_answer() {
    let broker = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(broker.address()).await;
    wire.metadata("t", true).await;
    wire.send(9, &produce_request("t", batch(NO_PRODUCER, b"x"), 0))
        .await;
    let fetched = wire.call(11, &fetch(1)).await;
    assert_eq!(fetched.responses[0].partitions[0].high_watermark, 1);
    // Refused, there is only one way to tell.
    wire.send(9, &produce_request("missing", batch(NO_PRODUCER, b"x"), 0))
        .await;
    wire.expect_hang_up().await;
}

#[tokio::test]
async fn a_fetch_waits_for_as_much_as_it_wants() {
    let broker = Broker::builder().start().await.unwrap();
    let mut producer = Wire::connect(broker.address()).await;
    producer.metadata("t", true).await;
    let record = batch(NO_PRODUCER, b"x");
    let mut consumer = Wire::connect(broker.address()).await;
    consumer.send(11, &fetch(2 * record.len())).await;
    producer.produce("t", record.clone()).await;
    producer.produce("t", record.clone()).await;
    // If nothing woke it, it would come empty when its time is up.
    let fetched = consumer.receive::<FetchRequest>(11).await;
    let records = fetched.responses[0].partitions[0].records.as_ref().unwrap();
    assert_eq!(records.len(), 2 * record.len());
}

#[tokio::test]
async fn a_waiting_fetch_hears_that_its_topic_is_deleted() {
    let broker = Broker::builder().start().await.unwrap();
    let mut admin = Wire::connect(broker.address()).await;
    admin.metadata("t", true).await;
    let mut consumer = Wire::connect(broker.address()).await;
    consumer.send(11, &fetch(1)).await;
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![topic("t")]);
    admin.call(4, &delete).await;
    let fetched = consumer.receive::<FetchRequest>(11).await;
    assert_eq!(fetched.responses[0].partitions[0].error_code, 3);
}

#[tokio::test]
async fn topics_come_on_demand_only_if_all_agree() {
    let willing = Broker::builder().start().await.unwrap();
    let mut wire = Wire::connect(willing.address()).await;
    assert_eq!(wire.metadata("t", false).await.topics[0].error_code, 3);
    assert_eq!(wire.metadata("a b", true).await.topics[0].error_code, 17);
    assert_eq!(wire.metadata("t", true).await.topics[0].error_code, 0);
    assert_eq!(
        wire.metadata("t", false).await.topics[0].partitions.len(),
        1
    );
    let unwilling = Broker::builder().auto_create(false).start().await.unwrap();
    let mut wire = Wire::connect(unwilling.address()).await;
    assert_eq!(wire.metadata("t", true).await.topics[0].error_code, 3);
}
