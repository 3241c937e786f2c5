//! An application that keeps its own librdkafka clients: `cargo run -p rdkafka-app`. Only two steps are new: a value
//! is sealed before it is sent, and opened after it was read.
#[path = "../../stage/mod.rs"]
mod stage;

use std::time::Duration;

use kc::Error;
use rdkafka::ClientConfig;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};

const TOPIC: &str = "orders.new";
const ORDERS: [&str; 3] = ["one coffee", "two teas", "the bill"];

#[tokio::main]
async fn main() -> Result<(), Error> {
    let stage = stage::Stage::set().await?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stage.broker.address().to_string());

    let sender = stage.node("sender").open().await?;
    let sealer = sender.sealer(TOPIC).await?;
    let producer: FutureProducer = config.create().map_err(Error::other)?;
    for order in ORDERS {
        let sealed = sealer.seal_value(order.as_bytes())?;
        let record: FutureRecord<'_, str, [u8]> = FutureRecord::to(TOPIC).payload(&sealed);
        let sent = producer.send(record, Duration::from_secs(10)).await;
        sent.map_err(|(error, _)| Error::other(error))?;
    }

    let reader = stage.node("reader").open().await?;
    let opener = reader.opener();
    config.set("group.id", "baristas");
    config.set("auto.offset.reset", "earliest");
    config.set("enable.auto.commit", "false");
    let consumer: StreamConsumer = config.create().map_err(Error::other)?;
    consumer.subscribe(&[TOPIC]).map_err(Error::other)?;
    for _ in ORDERS {
        let record = consumer.recv().await.map_err(Error::other)?;
        let value = record.payload().unwrap_or_default();
        // The first message that needs a missing data key waits for the key exchange. `try_open_value` never waits.
        match opener.open_value(TOPIC, value).await {
            Ok(order) => println!("{}", String::from_utf8_lossy(&order)),
            Err(failure) => println!("not opened: {failure}"),
        }
        let committed = consumer.commit_message(&record, CommitMode::Async);
        committed.map_err(Error::other)?;
    }
    Ok(())
}
