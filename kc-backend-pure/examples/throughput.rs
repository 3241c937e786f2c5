//! Measures the throughput of the pure backend, to and from the embedded broker in this process:
//!
//! ```sh
//! cargo run --release -p kc-backend-pure --example throughput
//! ```

use std::error::Error;
use std::time::{Duration, Instant};

use kc_backend_pure::PureBackend;
use kc_core::backend::{
    Backend, ClientSettings, GroupStart, OutgoingRecord, Subscription, TopicSpec,
};

const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = kc_broker::Broker::builder()
        .memory_limit(1 << 30)
        .start()
        .await?;
    let servers = broker.address().to_string();
    let settings = [
        ("bootstrap_servers", servers.as_str()),
        ("max_poll_records", "5000"),
    ];
    let backend = PureBackend::new(ClientSettings::parse(settings)?)?;

    let start = Instant::now();
    through(&backend, "first", 1, 200).await?;
    println!("first record on a new broker: {:?}", start.elapsed());
    for (topic, count, size) in [("small", 500_000, 200), ("large", 20_000, 10_240)] {
        let (sending, receiving) = through(&backend, topic, count, size).await?;
        let rate = |time: Duration| f64::from(count) / time.as_secs_f64() / 1_000.0;
        println!(
            "{count} records of {size} bytes: sent at {:.0}, received at {:.0} thousand a second",
            rate(sending),
            rate(receiving),
        );
    }
    broker.shutdown().await;
    Ok(())
}

/// Sends and receives records, and returns the time that each took.
async fn through(
    backend: &PureBackend,
    topic: &str,
    count: u32,
    size: usize,
) -> Result<(Duration, Duration), Box<dyn Error>> {
    let admin = backend.admin().await?;
    let spec = TopicSpec::data(topic, 1);
    admin.create_topic(&spec, DEADLINE).await?;
    admin.close().await;

    let producer = backend.producer().await?;
    let start = Instant::now();
    for _ in 0..count {
        let record = OutgoingRecord {
            topic: topic.to_owned(),
            value: Some(vec![b'x'; size]),
            ..OutgoingRecord::default()
        };
        drop(producer.enqueue(record).await?);
    }
    producer.flush(DEADLINE).await?;
    let sending = start.elapsed();
    producer.close(DEADLINE).await?;

    let topics = Subscription::to([topic]);
    let start = Instant::now();
    let mut consumer = backend
        .group_consumer("throughput", &topics, GroupStart::Earliest)
        .await?;
    let mut left = usize::try_from(count)?;
    while left > 0 {
        left -= consumer.poll(Duration::from_secs(1)).await?.records.len();
    }
    let receiving = start.elapsed();
    consumer.close(DEADLINE).await?;
    Ok((sending, receiving))
}
