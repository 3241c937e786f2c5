//! A backend of the application, which counts the records that another backend sends. It passes the conformance suite
//! (`cargo test --example own_backend`), as every backend must.
mod counting;
#[path = "../stage/mod.rs"]
mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kc::backend_pure::PureBackend;
use kc::{Error, Record};

use crate::counting::Counting;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let stage = stage::Stage::set().await?;
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    // Called four times: for sending and for reading, of messages and of control topics.
    let sender = stage.node("sender").own_backend(move |settings| {
        let inner = Arc::new(PureBackend::new(settings)?);
        let sent = Arc::clone(&counter);
        Ok(Arc::new(Counting { inner, sent }))
    });
    let sender = sender.open().await?;
    let producer = sender.producer().await?;
    for reading in ["21.5", "22.0"] {
        producer.send(Record::to("readings").value(reading)).await?;
    }
    sender.close().await?;
    let sent = sent.load(Ordering::Relaxed);
    println!("{sent} records sent, including those in control topics");
    Ok(())
}

#[cfg(test)]
mod conformance {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use kc::Backend;
    use kc_testkit::backend::impatient;

    use super::*;

    fn counting(bootstrap: &str) -> Box<dyn Backend> {
        let settings = impatient(bootstrap).unwrap();
        let inner = Arc::new(PureBackend::new(settings).unwrap());
        let sent = Arc::default();
        Box::new(Counting { inner, sent })
    }

    kc_testkit::backend_conformance!(counting);
}
