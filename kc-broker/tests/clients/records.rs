//! Records in and out.

use bytes::Bytes;
use kc_broker::Broker;
use krafka::producer::Acks;
use krafka::{Compression, Record};

use crate::{connect, read, reader, send};

#[tokio::test]
async fn a_record_comes_out_as_it_went_in() {
    let broker = Broker::builder().start().await.unwrap();
    let producer = connect(&broker).await.producer().build().await.unwrap();
    let sent = Record::new("t", "value")
        .key("key")
        .header("h", "1")
        .header("a", "2")
        .header("h", "3");
    send(&producer, sent).await;
    send(&producer, Record::new("t", "")).await;
    send(&producer, Record::tombstone("t", "key")).await;
    let consumer = reader(&broker, "t", &[0]).await;
    let records = read(&consumer, 3).await;
    assert_eq!(records[0].key, Some(Bytes::from("key")));
    assert_eq!(records[0].value, Some(Bytes::from("value")));
    let headers = records[0].headers.iter().map(|h| h.0.as_str());
    assert_eq!(headers.collect::<Vec<_>>(), ["h", "a", "h"]);
    assert_eq!(records[1].key, None);
    assert_eq!(records[1].value, Some(Bytes::new()));
    assert_eq!(records[2].value, None);
    let offsets: Vec<i64> = records.iter().map(|r| r.offset).collect();
    assert_eq!(offsets, [0, 1, 2]);
    producer.close().await.unwrap();
    consumer.close().await.unwrap();
}

#[tokio::test]
async fn a_record_of_900_kb_fits_and_one_of_2_mb_does_not() {
    let broker = Broker::builder().start().await.unwrap();
    let kafka = connect(&broker).await;
    let producer = kafka
        .producer()
        .max_request_size(4 << 20)
        .build()
        .await
        .unwrap();
    let large = Bytes::from(vec![7; 900_000]);
    send(&producer, Record::new("t", large.clone())).await;
    let too_large = Record::new("t", vec![7; 2_000_000]);
    assert!(producer.send(too_large).await.is_err());
    let consumer = reader(&broker, "t", &[0]).await;
    assert_eq!(read(&consumer, 1).await[0].value, Some(large));
    producer.close().await.unwrap();
    consumer.close().await.unwrap();
}

#[tokio::test]
async fn all_ways_to_send_arrive_in_order() {
    let broker = Broker::builder().start().await.unwrap();
    for acks in [Acks::None, Acks::Leader, Acks::All] {
        for compression in [Compression::None, Compression::Gzip, Compression::Lz4] {
            let topic = format!("{acks:?}-{compression:?}");
            let producer = connect(&broker)
                .await
                .producer()
                .acks(acks)
                .idempotent(acks == Acks::All)
                .compression(compression)
                .build()
                .await
                .unwrap();
            let mut sent = Vec::new();
            for i in 0..100 {
                let record = Record::new(topic.as_str(), i.to_string());
                sent.push(producer.enqueue(record).await.unwrap());
            }
            for delivery in sent {
                assert!(delivery.await.unwrap().offset >= -1);
            }
            producer.close().await.unwrap();
            let consumer = reader(&broker, &topic, &[0]).await;
            let records = read(&consumer, 100).await;
            let in_order = records.iter().zip(0..).all(|(record, i): (_, i32)| {
                record.offset == i64::from(i) && record.value == Some(i.to_string().into())
            });
            assert!(in_order, "{topic}");
            consumer.close().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_consumer_can_begin_inside_a_batch() {
    let broker = Broker::builder().start().await.unwrap();
    let producer = connect(&broker).await.producer().build().await.unwrap();
    let mut sent = Vec::new();
    for i in 0..10 {
        let record = Record::new("t", i.to_string()).timestamp(1_000 + i);
        sent.push(producer.enqueue(record).await.unwrap());
    }
    producer.flush().await.unwrap();
    for (delivery, offset) in sent.into_iter().zip(0..) {
        assert_eq!(delivery.await.unwrap().offset, offset);
    }
    let consumer = reader(&broker, "t", &[0]).await;
    consumer.seek("t", 0, 7).await.unwrap();
    assert_eq!(read(&consumer, 3).await[0].offset, 7);
    consumer.seek_to_timestamp("t", 0, 1_004).await.unwrap();
    assert_eq!(read(&consumer, 6).await[0].offset, 4);
    assert_eq!(consumer.fetch_watermarks("t", 0).await.unwrap(), (0, 10));
    producer.close().await.unwrap();
    consumer.close().await.unwrap();
}

#[tokio::test]
async fn a_waiting_consumer_gets_what_is_sent() {
    let broker = Broker::builder().start().await.unwrap();
    let producer = connect(&broker).await.producer().build().await.unwrap();
    send(&producer, Record::new("t", "first")).await;
    let consumer = reader(&broker, "t", &[0]).await;
    read(&consumer, 1).await;
    let waiting = tokio::spawn(async move {
        let records = read(&consumer, 1).await;
        consumer.close().await.unwrap();
        records
    });
    send(&producer, Record::new("t", "second")).await;
    assert_eq!(waiting.await.unwrap()[0].value, Some(Bytes::from("second")));
    producer.close().await.unwrap();
}

#[tokio::test]
async fn without_auto_creation_a_topic_must_be_made() {
    let broker = Broker::builder().auto_create(false).start().await.unwrap();
    let kafka = connect(&broker).await;
    let patience = std::time::Duration::from_millis(300);
    let producer = kafka.producer().max_block(patience).build().await.unwrap();
    assert!(producer.send(Record::new("t", "x")).await.is_err());
    let topics = kafka.admin().list_topics(Default::default()).await.unwrap();
    assert!(topics.is_empty());
    producer.close().await.unwrap();
}

#[tokio::test]
async fn a_full_memory_fails_the_send_at_once() {
    let broker = Broker::builder()
        .memory_limit(10_000)
        .start()
        .await
        .unwrap();
    let producer = connect(&broker).await.producer().build().await.unwrap();
    send(&producer, Record::new("t", vec![0; 5_000])).await;
    let refused = producer.send(Record::new("t", vec![0; 5_000])).await;
    let error = refused.unwrap_err();
    assert!(!error.is_retriable(), "{error}");
    assert!(error.to_string().contains("PolicyViolation"), "{error}");
    producer.close().await.unwrap();
}
