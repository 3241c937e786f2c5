//! Sends and receives JSON values with serde through the encrypted clients. A value can be any bytes.
mod stage;

use kc::{ConsumerRecord, Error, Producer, Record};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Reading {
    sensor: String,
    celsius: f64,
}

async fn send_json<T: Serialize>(producer: &Producer, topic: &str, value: &T) -> Result<(), Error> {
    let json = serde_json::to_vec(value).map_err(Error::other)?;
    producer.send(Record::to(topic).value(json)).await?;
    Ok(())
}

fn read_json<T: DeserializeOwned>(record: &ConsumerRecord) -> Result<T, Error> {
    serde_json::from_slice(record.value()).map_err(Error::other)
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let stage = stage::Stage::set().await?;
    let sender = stage.node("sender").open().await?;
    let reader = stage.node("reader").open().await?;
    let sent = Reading {
        sensor: "berlin-7".into(),
        celsius: 21.5,
    };
    send_json(&sender.producer().await?, "readings", &sent).await?;

    let mut consumer = reader
        .consumer(["readings"])
        .from_beginning()
        .join()
        .await?;
    if let Some(record) = consumer.next().await {
        let record = record?;
        let received: Reading = read_json(&record)?;
        assert_eq!(received, sent);
        println!("{received:?}");
        record.ack();
    }
    reader.close().await?;
    sender.close().await
}
