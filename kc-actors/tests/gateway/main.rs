//! A gateway whose broker is unreachable, or refuses it.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod stub;

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Addr};
use kc_actors::Clock;
use kc_actors::chain::ChainRole;
use kc_actors::controller::ControllerRole;
use kc_actors::exchange::ExchangeRole;
use kc_actors::gateway::{
    ControlTopic, GatewayActor, GatewayParts, SendRecord, Watch, WatchSubscriptions, Watched,
};
use kc_core::backend::{BackendError, BackendErrorKind};
use kc_core::types::{ManagementTopics, TopicScheme};
use stub::Stub;

fn gateway(stub: &Stub, watched: &Watched) -> Addr<GatewayActor> {
    let parts = GatewayParts {
        backend: Arc::new(stub.clone()),
        scheme: TopicScheme::default(),
        management: ManagementTopics::default(),
        group: "group".into(),
        chain: ChainRole::default(),
        exchange: ExchangeRole::default(),
        controller: ControllerRole::default(),
        watched: watched.clone(),
        clock: Clock::system(),
    };
    GatewayActor::new(parts).start()
}

async fn watch(gateway: &Addr<GatewayActor>, root_topic: &str) {
    let topic = ControlTopic::keys(&root_topic.into());
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
    // A second gateway takes its place, and continues with the same topics.
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

async fn publish(gateway: &Addr<GatewayActor>, root_topic: &str) -> Result<(), BackendError> {
    let message = SendRecord {
        topic: ControlTopic::keys(&root_topic.into()),
        kafka_key: Vec::new(),
        value: Vec::new(),
    };
    gateway.send(message).await.unwrap()
}

#[actix::test]
async fn a_topic_whose_creation_takes_its_time_holds_up_no_other() {
    tokio::time::pause();
    let stub = Stub::default();
    let slow = Duration::from_secs(10);
    stub.fail("create slow.keys", BackendErrorKind::Timeout, slow);
    let gateway = gateway(&stub, &Watched::default());
    publish(&gateway, "settled").await.unwrap();

    let start = tokio::time::Instant::now();
    let others = async {
        stub.called("create slow.keys", 1).await;
        publish(&gateway, "settled").await.unwrap();
        publish(&gateway, "new").await.unwrap();
        watch(&gateway, "settled").await;
        start.elapsed()
    };
    let waiting = async { tokio::join!(publish(&gateway, "slow"), publish(&gateway, "slow")) };
    let (others, (first, second)) = tokio::join!(others, waiting);
    assert!(others < Duration::from_secs(1), "{others:?}");
    assert_eq!(first.unwrap_err().kind(), BackendErrorKind::Timeout);
    assert_eq!(second.unwrap_err().kind(), BackendErrorKind::Timeout);
    // Both callers shared one attempt. (Timers are late by a millisecond.)
    assert_eq!(start.elapsed().as_secs(), slow.as_secs());

    stub.mend("create slow.keys");
    publish(&gateway, "slow").await.unwrap();
}

#[actix::test]
async fn a_broker_that_does_not_answer_is_waited_for_once_whatever_the_number_of_topics() {
    tokio::time::pause();
    // Shorter than the deadline for sending, so that every caller gets the reason.
    let request_timeout = Duration::from_secs(6);
    for connection in ["admin", "producer"] {
        let stub = Stub::default();
        stub.fail(connection, BackendErrorKind::Unreachable, request_timeout);
        let gateway = gateway(&stub, &Watched::default());
        let start = tokio::time::Instant::now();
        let roots = (0..50).map(|root_topic| {
            let gateway = gateway.clone();
            actix::spawn(async move { publish(&gateway, &root_topic.to_string()).await })
        });
        for sent in roots.collect::<Vec<_>>() {
            let error = sent.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Unreachable, "{error}");
        }
        assert_eq!(start.elapsed().as_secs(), request_timeout.as_secs());
        assert_eq!(stub.times(connection).len(), 1);
    }
}

#[actix::test]
async fn a_wrong_password_is_tried_once_a_minute_however_often_it_is_needed() {
    tokio::time::pause();
    let (stub, watched) = (Stub::default(), Watched::default());
    watch(&gateway(&stub, &watched), "read before").await;
    for call in ["admin", "producer", "log reader"] {
        stub.fail(call, BackendErrorKind::Authentication, Duration::ZERO);
    }
    let before = stub.times("log reader").len();
    let gateway = gateway(&stub, &watched);
    for _ in 0..600 {
        let refused = publish(&gateway, "t").await.unwrap_err();
        assert_eq!(refused.kind(), BackendErrorKind::Authentication);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert!((9..=11).contains(&stub.times("admin").len()));
    let readers = stub.times("log reader").len() - before;
    assert!((9..=11).contains(&readers), "{readers}");

    for call in ["admin", "producer", "log reader"] {
        stub.mend(call);
    }
    tokio::time::sleep(Duration::from_secs(61)).await;
    publish(&gateway, "t").await.unwrap();
    watch(&gateway, "t").await;
}

#[actix::test]
async fn a_password_that_is_changed_while_the_gateway_reads_is_tried_once_a_minute() {
    tokio::time::pause();
    let stub = Stub::default();
    let gateway = gateway(&stub, &Watched::default());
    watch(&gateway, "t").await;
    stub.fail("poll", BackendErrorKind::Authentication, Duration::ZERO);
    let before = stub.times("poll").len();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let polls = stub.times("poll").len() - before;
    assert!((9..=11).contains(&polls), "{polls}");
    // Another caller is not delayed meanwhile.
    watch(&gateway, "another").await;
}

#[actix::test]
async fn topics_of_strangers_hold_up_nothing_and_are_forgotten_when_they_are_gone() {
    tokio::time::pause();
    let stub = Stub::default();
    stub.list(&["a.subs", "stuck.subs", "no subscriptions"]);
    stub.fail(
        "watermarks stuck.subs",
        BackendErrorKind::Timeout,
        Duration::from_secs(1_000_000),
    );
    let gateway = gateway(&stub, &Watched::default());
    let interval = Duration::from_secs(10);
    gateway.send(WatchSubscriptions { interval }).await.unwrap();
    stub.called("watermarks stuck.subs", 1).await;
    stub.called("assign a.subs", 1).await;
    let before = stub.times("poll").len();
    tokio::time::sleep(Duration::from_secs(19)).await;
    // One poll takes a tenth of a second.
    assert!(stub.times("poll").len() - before > 150);
    watch(&gateway, "t").await;

    stub.list(&["stuck.subs"]);
    stub.called("unassign a.subs", 1).await;
    stub.list(&["a.subs"]);
    stub.called("assign a.subs", 2).await;
    let tried = stub.times("watermarks stuck.subs").len();
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(stub.times("watermarks stuck.subs").len(), tried);
    assert_eq!(stub.times("assign a.subs").len(), 2);
}

/// The behaviour of librdkafka's producer after a fatal error.
#[actix::test]
async fn a_producer_that_takes_nothing_any_more_is_replaced() {
    let stub = Stub::default();
    let gateway = gateway(&stub, &Watched::default());
    publish(&gateway, "t").await.unwrap();
    stub.fail("send t.keys", BackendErrorKind::Closed, Duration::ZERO);
    let error = publish(&gateway, "t").await.unwrap_err();
    assert!(error.is_retriable(), "{error}");
    stub.mend("send t.keys");
    publish(&gateway, "t").await.unwrap();
    assert_eq!(stub.times("producer").len(), 2);
    publish(&gateway, "t").await.unwrap();
    assert_eq!(stub.times("producer").len(), 2);
}
