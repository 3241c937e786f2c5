//! Brokers that go away and come back, as the events of a node report them.

use kc::core::backend::{Backend, TopicSpec};
use kc::core::provision::Role;
use kc::{EventListener, NodeEvent};
use kc_broker::Broker;

use crate::fleet::{DEADLINE, Fleet, record};

/// Waits until each of the functions has found its event, in any order.
async fn all(events: &mut EventListener, wanted: &[fn(&NodeEvent) -> bool]) {
    let mut missing = wanted.to_vec();
    let finding = async {
        while !missing.is_empty() {
            let event = events.next().await.unwrap();
            missing.retain(|is_wanted| !is_wanted(&event));
        }
    };
    tokio::time::timeout(DEADLINE, finding).await.unwrap();
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
    all(
        &mut events,
        &[
            |event| matches!(event, NodeEvent::BrokersLost { .. }),
            |event| matches!(event, NodeEvent::ProducerFails { queued: 1, .. }),
        ],
    )
    .await;

    // The broker has lost its topics. Producers do not create them again.
    let _broker = Broker::builder().listen(address).start().await.unwrap();
    let admin = plain.admin().await.unwrap();
    let spec = TopicSpec::data("t", 1);
    admin.create_topic(&spec, DEADLINE).await.unwrap();
    all(
        &mut events,
        &[
            |event| matches!(event, NodeEvent::BrokersBack { after } if after.as_secs() > 0),
            |event| matches!(event, NodeEvent::ProducerWorks { .. }),
        ],
    )
    .await;
    queued.await.unwrap();
}
