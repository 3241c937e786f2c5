//! Many producers of one root topic, and a consumer that meets them all at once.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use kc::Node;

use crate::clients::{DEADLINE, consumer, record, take, values};

/// Sends some records by each producer, then joins the consumer. Returns the time from its first poll to the last
/// record.
pub(crate) async fn meet(producers: &[Node], reader: &Node, topic: &str, each: usize) -> Duration {
    let mut sent = HashSet::new();
    for (number, node) in producers.iter().enumerate() {
        let producer = node.producer().await.unwrap();
        for n in 0..each {
            let value = format!("{number} {n}");
            producer
                .enqueue(record(topic, value.as_str()))
                .await
                .unwrap()
                .await
                .unwrap();
            sent.insert(value);
        }
        producer.close_within(DEADLINE).await.unwrap();
    }
    let mut reading = consumer(reader, topic).await;
    let since = Instant::now();
    let read = take(&mut reading, sent.len()).await;
    let took = since.elapsed();
    assert_eq!(values(&read).into_iter().collect::<HashSet<_>>(), sent);
    took
}
