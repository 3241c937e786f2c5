//! An application with librdkafka clients of its own, that keeps them: `cargo run -p rdkafka-app`. Only what
//! stands between it and its clients is new: a value is sealed before it is sent, and opened when it was read.
#[path = "../../stage/mod.rs"]
mod stage;

use std::time::Duration;

use kc::Outcome;
use rdkafka::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};

const TOPIC: &str = "orders.new";
const ORDERS: [&str; 3] = ["one coffee", "two teas", "the bill"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stage = stage::Stage::set().await?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stage.broker.address().to_string());

    let sender = stage.node("sender").open().await?;
    let serializer = sender.node.serializer();
    serializer.prepare(TOPIC).await?;
    let producer: FutureProducer = config.create()?;
    for order in ORDERS {
        let mut sealed = Vec::new();
        serializer.seal_value(TOPIC, order.as_bytes(), &mut sealed)?;
        let record: FutureRecord<'_, str, [u8]> = FutureRecord::to(TOPIC).payload(&sealed);
        let sent = producer.send(record, Duration::from_secs(10)).await;
        sent.map_err(|(error, _)| error)?;
    }

    let reader = stage.node("reader").open().await?;
    let deserializer = reader.node.deserializer();
    config.set("group.id", "baristas");
    config.set("auto.offset.reset", "earliest");
    config.set("enable.auto.commit", "false");
    let consumer: StreamConsumer = config.create()?;
    consumer.subscribe(&[TOPIC])?;
    for _ in ORDERS {
        let record = consumer.recv().await?;
        let value = record.payload().unwrap_or_default();
        // The first sight of a key waits for the exchange; `try_open_value` never waits.
        match deserializer.open_value(TOPIC, value).await {
            Outcome::Plaintext(order) => println!("{}", String::from_utf8(order)?),
            other => println!("not opened: {}", other.name()),
        }
        consumer.commit_message(&record, CommitMode::Async)?;
    }
    Ok(())
}
