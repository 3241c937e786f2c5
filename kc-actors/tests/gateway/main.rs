//! The gateway, while its broker is away or refuses it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod stub;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr};
use kc_actors::messages::{ControlTopic, Watch};
use kc_actors::{GatewayActor, GatewayParts, Port, Watched};
use kc_core::backend::BackendErrorKind;
use kc_core::types::{ManagementTopics, TopicScheme};
use stub::Stub;

fn gateway(stub: &Stub, watched: &Watched) -> Addr<GatewayActor> {
    let parts = GatewayParts {
        backend: Arc::new(stub.clone()),
        scheme: TopicScheme::default(),
        management: ManagementTopics::default(),
        group: "group".into(),
        records: Port::unconnected(),
        subscriptions: Port::unconnected(),
        trust: Port::unconnected(),
        watched: watched.clone(),
    };
    GatewayActor::new(parts).start()
}

async fn watch(gateway: &Addr<GatewayActor>, root: &str) {
    let topic = ControlTopic::keys(&root.into());
    let watched = gateway.send(Watch { topic }).await;
    watched.unwrap().unwrap();
}

#[actix::test]
async fn a_gateway_that_cannot_read_leaves_the_thread_to_others() {
    let (stub, watched) = (Stub::default(), Watched::default());
    watch(&gateway(&stub, &watched), "t").await;
    stub.fail(
        "log reader",
        BackendErrorKind::Unreachable,
        Duration::from_millis(1),
    );
    // Another takes its place, and goes on with what it read.
    let _gateway = gateway(&stub, &watched);
    stub.called("log reader", 2).await;
    let end = Instant::now() + Duration::from_millis(100);
    let mut longest = Duration::ZERO;
    while Instant::now() < end {
        let turn = Instant::now();
        tokio::task::yield_now().await;
        longest = longest.max(turn.elapsed());
    }
    assert!(longest < Duration::from_secs(1), "held up for {longest:?}");
}
