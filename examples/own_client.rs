//! An application's own Kafka client, with the handles in front of it: sealing and opening need no
//! backend of ours. Here the client is a bare krafka; any other would do.
mod stage;

use std::time::Duration;

use kc::Outcome;
use krafka::consumer::AutoOffsetReset;
use krafka::{Kafka, Record};

const TOPIC: &str = "orders.new";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stage = stage::Stage::set().await?;
    let servers = stage.broker.address().to_string();
    let (sender, reader) = (
        stage.node("sender").open().await?,
        stage.node("reader").open().await?,
    );

    // Prepare once; from then on sealing neither waits nor allocates beyond its output.
    let serializer = sender.node.serializer();
    serializer.prepare(TOPIC).await?;
    let mut sealed = Vec::new();
    serializer.seal_value(TOPIC, b"one coffee", &mut sealed)?;
    let kafka = Kafka::builder(&servers).allow_auto_create_topics(true);
    let kafka = kafka.connect().await?;
    let producer = kafka.producer().build().await?;
    let _delivered = producer.send(Record::new(TOPIC, sealed)).await?;
    producer.close().await?;

    let deserializer = reader.node.deserializer();
    let consumer = kafka.consumer_without_group();
    let consumer = consumer.auto_offset_reset(AutoOffsetReset::Earliest);
    let consumer = consumer.build().await?;
    consumer.assign(TOPIC, vec![0]).await?;
    loop {
        for record in consumer.poll(Duration::from_secs(1)).await? {
            let value = record.value.clone().unwrap_or_default();
            // The first sight of a key waits for the exchange; `try_open_value` never waits.
            match deserializer.open_value(TOPIC, &value).await {
                Outcome::Plaintext(order) => {
                    println!("{}", String::from_utf8(order)?);
                    return Ok(());
                }
                other => println!("not opened: {}", other.name()),
            }
        }
    }
}
