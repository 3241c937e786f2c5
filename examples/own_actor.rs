//! An actor of the application in a node: it counts each request before the exchange receives it.
mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Actor, Context, Handler, ResponseFuture};
use kc::Error;
use kc::actors::Slot;
use kc::actors::exchange::SideRecords;
use kc::core::types::SideTopic;

/// Counts requests, and forwards all records.
struct Auditor {
    exchange: Slot<SideRecords>,
    requests: Arc<AtomicUsize>,
}

impl Actor for Auditor {
    type Context = Context<Self>;
}

impl Handler<SideRecords> for Auditor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, records: SideRecords, _: &mut Self::Context) -> Self::Result {
        let requests = records.0.iter();
        let requests = requests.filter(|record| record.side == SideTopic::Requests);
        self.requests.fetch_add(requests.count(), Ordering::Relaxed);
        let exchange = self.exchange.clone();
        Box::pin(async move {
            if exchange.send(records).await.is_err() {
                eprintln!("the exchange has stopped; the node will restart it");
            }
        })
    }
}

#[actix::main]
async fn main() -> Result<(), Error> {
    let stage = stage::Stage::set().await?;
    let sender = stage.node("sender").open().await?;
    let reader = stage.node("reader").open().await?;
    let records = &sender.actors().roles().exchange.records;
    let requests = Arc::new(AtomicUsize::new(0));
    let auditor = Auditor {
        exchange: records.own(),
        requests: Arc::clone(&requests),
    };
    records.replace(&auditor.start());

    let sealer = sender.sealer("readings").await?;
    let sealed = sealer.seal_value(b"21.5 degrees")?;
    let opened = reader.opener().open_value("readings", &sealed).await?;
    let opened = String::from_utf8_lossy(&opened);
    let requests = requests.load(Ordering::Relaxed);
    assert_eq!(requests, 1);
    println!("{opened}, after {requests} request");
    Ok(())
}
