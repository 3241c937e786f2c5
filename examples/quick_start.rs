//! Ten lines to send, ten to receive: `cargo run --example quick_start`.
mod stage;

use std::time::Duration;

use kc::{ForeignPolicy, GroupStart, PlainRecord, Subscription};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stage = stage::Stage::set().await?;
    let sender = stage.node("sender").open().await?;
    let record = PlainRecord {
        topic: "readings".into(),
        value: Some(b"21.5 degrees".to_vec()),
        ..PlainRecord::default()
    };
    sender.producer().await?.send(record).await?.await?;

    let reader = stage.node("reader").open().await?;
    let (topics, start) = (Subscription::to(["readings"]), GroupStart::Earliest);
    let joined = reader.consumer(None, &topics, start, ForeignPolicy::Fail);
    let mut consumer = joined.await?;
    let mut read = Vec::new();
    while read.is_empty() {
        read = consumer.poll(100, Duration::from_secs(1)).await?;
    }
    let value = read.swap_remove(0).value.unwrap_or_default();
    println!("{}", String::from_utf8(value)?);
    Ok(())
}
