//! An application that keeps its own Kafka client. Sealing and opening need no backend of kc. The client here is
//! krafka; any other works as well.
mod stage;

use std::time::Duration;

use kc::Error;
use krafka::consumer::AutoOffsetReset;
use krafka::{Kafka, Record};

const TOPIC: &str = "orders.new";

#[tokio::main]
async fn main() -> Result<(), Error> {
    let stage = stage::Stage::set().await?;
    let servers = stage.broker.address().to_string();
    let sender = stage.node("sender").open().await?;
    let reader = stage.node("reader").open().await?;
    let kafka = Kafka::builder(&servers).allow_auto_create_topics(true);
    let kafka = kafka.connect().await.map_err(Error::other)?;

    // The sealer is prepared once. Sealing then never waits.
    let sealer = sender.sealer(TOPIC).await?;
    let sealed = sealer.seal_value(b"one coffee")?;
    let producer = kafka.producer().build().await.map_err(Error::other)?;
    let sent = producer.send(Record::new(TOPIC, sealed)).await;
    let _delivered = sent.map_err(Error::other)?;
    producer.close().await.map_err(Error::other)?;

    let opener = reader.opener();
    let consumer = kafka.consumer_without_group();
    let consumer = consumer.auto_offset_reset(AutoOffsetReset::Earliest);
    let consumer = consumer.build().await.map_err(Error::other)?;
    let assigned = consumer.assign(TOPIC, vec![0]).await;
    assigned.map_err(Error::other)?;
    loop {
        let records = consumer.poll(Duration::from_secs(1)).await;
        for record in records.map_err(Error::other)? {
            let value = record.value.clone().unwrap_or_default();
            // The first message that needs a missing data key waits for the key exchange. `try_open_value` never
            // waits.
            match opener.open_value(TOPIC, &value).await {
                Ok(order) => {
                    println!("{}", String::from_utf8_lossy(&order));
                    return Ok(());
                }
                Err(failure) => println!("not opened: {failure}"),
            }
        }
    }
}
