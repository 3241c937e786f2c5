//! Sends a record, and receives it: `cargo run --example quick_start`.
mod stage;

use std::time::Duration;

use kc::{Error, Record};

#[tokio::main]
async fn main() -> Result<(), Error> {
    // In a real program: kc::Node::open("sender").
    let stage = stage::Stage::set().await?;
    let sender = stage.node("sender").open().await?;
    let reader = stage.node("reader").open().await?;

    let producer = sender.producer().await?;
    let record = Record::to("readings").key("a").value("21.5 degrees");
    producer.send(record).await?;

    let mut consumer = reader
        .consumer(["readings"])
        .from_beginning()
        .join()
        .await?;
    if let Some(record) = consumer.next().await {
        let record = record?;
        println!("{}", String::from_utf8_lossy(record.value()));
        record.ack();
    }
    reader.close().await?;
    // Consumers get the data keys only while the sender runs: here until none has asked for a second.
    sender.serve_keys(Duration::from_secs(1)).await;
    sender.close().await
}
