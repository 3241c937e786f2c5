//! An actor of one's own among a node's: it sees every request before the exchange does, counts who asks for
//! which topic, and passes on what the exchange is to answer.
mod stage;

use std::collections::BTreeMap;

use actix::{Actor, Context, Handler, Message, MessageResult, ResponseFuture};
use kc::actors::Slot;
use kc::actors::exchange::SideRecords;
use kc::core::types::{RootTopic, SideTopic};

const TOPIC: &str = "readings";

/// Counts requests, by root topic.
struct Auditor {
    exchange: Slot<SideRecords>,
    requests: BTreeMap<RootTopic, usize>,
}

/// Asks what has been counted.
#[derive(Message)]
#[rtype(result = "BTreeMap<RootTopic, usize>")]
struct AskRequests;

impl Actor for Auditor {
    type Context = Context<Self>;
}

impl Handler<SideRecords> for Auditor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, records: SideRecords, _: &mut Self::Context) -> Self::Result {
        for record in records.0.iter() {
            if record.side == SideTopic::Requests {
                *self.requests.entry(record.root_topic.clone()).or_default() += 1;
            }
        }
        let exchange = self.exchange.clone();
        Box::pin(async move {
            if exchange.send(records).await.is_err() {
                eprintln!("the exchange has stopped; the node restarts it");
            }
        })
    }
}

impl Handler<AskRequests> for Auditor {
    type Result = MessageResult<AskRequests>;

    fn handle(&mut self, _: AskRequests, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.requests.clone())
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stage = stage::Stage::set().await?;
    let (sender, reader) = (
        stage.node("sender").open().await?,
        stage.node("reader").open().await?,
    );
    let records = &sender.node.roles().exchange.records;
    let auditor = Auditor {
        exchange: records.own(),
        requests: BTreeMap::new(),
    };
    let auditor = auditor.start();
    records.replace(&auditor);

    let serializer = sender.node.serializer();
    serializer.prepare(TOPIC).await?;
    let mut sealed = Vec::new();
    serializer.seal_value(TOPIC, b"21.5 degrees", &mut sealed)?;
    let opened = reader.node.deserializer().open_value(TOPIC, &sealed).await;
    let opened = opened.into_plaintext().map_err(|why| why.name())?;

    let requests = auditor.send(AskRequests).await?;
    assert_eq!(requests.get(TOPIC), Some(&1));
    println!(
        "{}, after {requests:?} requests",
        String::from_utf8(opened)?
    );
    Ok(())
}
