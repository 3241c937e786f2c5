//! A relay that consumes a record, works slowly, produces a record, acknowledges the first record, and finally closes
//! the node: `cargo run --example relay`.
mod stage;

use std::time::Duration;

use kc::{Error, Node, Record};

/// Reads `readings` and writes `alarms` until `stop` resolves.
async fn relay(node: &Node, stop: impl Future) -> Result<(), Error> {
    let producer = node.producer().await?;
    let mut consumer = node.consumer(["readings"]).from_beginning().join().await?;
    let mut stop = std::pin::pin!(stop);
    loop {
        let record = tokio::select! {
            next = consumer.next() => match next { Some(record) => record?, None => break },
            _ = &mut stop => break,
        };
        let alarm = work(record.value()).await;
        producer.send(Record::to("alarms").value(alarm)).await?;
        // Acknowledged only now, so that the record is delivered again after a crash.
        record.ack();
    }
    Ok(())
}

/// Works slowly. The relay stays in its consumer group during the work.
async fn work(reading: &[u8]) -> String {
    tokio::time::sleep(Duration::from_millis(300)).await;
    format!("alarm: {}", String::from_utf8_lossy(reading))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    // In a real program: Node::open("relay").
    let stage = stage::Stage::set().await?;
    let sender = stage.node("sender").open().await?;
    let node = stage.node("relay").open().await?;
    let reader = stage.node("reader").open().await?;

    let producer = sender.producer().await?;
    for reading in ["21.5", "22.0", "22.5"] {
        producer.send(Record::to("readings").value(reading)).await?;
    }
    let mut alarms = reader.consumer(["alarms"]).from_beginning().join().await?;
    // In a real program: tokio::signal::ctrl_c().
    let seen = async {
        for _ in 0..3 {
            if let Some(Ok(alarm)) = alarms.next().await {
                println!("{}", String::from_utf8_lossy(alarm.value()));
                alarm.ack();
            }
        }
    };
    relay(&node, seen).await?;
    for node in [sender, node, reader] {
        node.close().await?;
    }
    Ok(())
}
