//! Brokers that go away and come back, as the events of a node report them.

use std::time::Duration;

use kc::core::backend::{Backend, TopicSpec};
use kc::core::provision::Role;
use kc::{EventListener, NodeEvent};
use kc_broker::Broker;

use crate::fleet::{DEADLINE, Fleet, record};

async fn until<T>(events: &mut EventListener, wanted: impl Fn(NodeEvent) -> Option<T>) -> T {
    let finding = async {
        loop {
            if let Some(found) = wanted(events.next().await.unwrap()) {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, finding).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_reported_with_the_queued_records_and_its_end() {
    let fleet = Fleet::start().await;
    fleet.provision("p", Role::Producer, "root");
    // The queued record must outlive the outage on a slow computer, too.
    let p = fleet.options("p").kafka("delivery_timeout_ms", "300000");
    let p = p.open().await.unwrap();
    let producer = p.producer().await.unwrap();
    producer.send(record("t", "before")).await.unwrap();
    let mut events = p.events();
    let (address, plain) = (fleet.broker.address(), fleet.plain());
    fleet.broker.shutdown().await;

    let queued = producer.enqueue(record("t", "meanwhile")).await.unwrap();
    let reason = until(&mut events, |event| match event {
        NodeEvent::BrokersLost {
            reason,
            answered: true,
        } => Some(reason),
        _ => None,
    });
    assert!(!reason.await.is_empty());
    let count = until(&mut events, |event| match event {
        NodeEvent::ProducerFails { queued, .. } => Some(queued),
        _ => None,
    });
    assert_eq!(count.await, 1);

    // The broker has lost its topics. Producers do not create them again.
    let _broker = Broker::builder().listen(address).start().await.unwrap();
    let admin = plain.admin().await.unwrap();
    let spec = TopicSpec::data("t", 1);
    admin.create_topic(&spec, DEADLINE).await.unwrap();
    let after = until(&mut events, |event| match event {
        NodeEvent::BrokersBack { after } => Some(after),
        _ => None,
    });
    assert!(after.await > Duration::from_secs(1));
    queued.await.unwrap();
    until(&mut events, |event| {
        matches!(event, NodeEvent::ProducerWorks { .. }).then_some(())
    })
    .await;
}
