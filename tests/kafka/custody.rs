//! A custodian hands out the data keys of a producer that has ended, also if the custodian was closed meanwhile.

use std::time::Duration;

use kc::core::backend::TopicSpec;
use kc::core::provision::Role;
use kc::{BackendChoice, Clock, Custodian, Node, NodeBuilder, Record};
use kc_testkit::kafka::{Listener, Version};
use libtest_mimic::Trial;

use crate::backends::FULL;
use crate::brokers::shared;
use crate::clients::{DEADLINE, consumer, take};
use crate::fleet::{Fleet, create_root};
use crate::trial;

const PARTITIONS: usize = 3;
const RECORDS: usize = 1000;
/// The time between the end of the producer and the start of the consumer, by the clock of the nodes.
const LATER: Duration = Duration::from_secs(3600);
/// Longer than any wait of this test: a custodian that is closed must leave its group.
const SESSION_TIMEOUT: &str = "300000";

pub(crate) fn trials() -> Vec<Trial> {
    let trials = FULL.into_iter().map(|choice| {
        let name = format!("custody::{choice}::a_consumer_reads_after_the_producer_has_ended");
        trial(name, move || read_later(choice))
    });
    trials.collect()
}

async fn read_later(choice: BackendChoice) {
    let fleet = Fleet::on(shared(Version::V4).address(Listener::Plaintext));
    let root = format!("custody-{choice}");
    let topic = format!("{root}.b");
    let sender = format!("{root}-sender");
    let sender = fleet.open(&sender, Role::Producer, choice).await;
    create_root(&sender, &root).await;
    let admin = sender.backend().admin().await.unwrap();
    let spec = TopicSpec::data(&topic, i32::try_from(PARTITIONS).unwrap());
    admin.create_topic(&spec, DEADLINE).await.unwrap();
    admin.close().await;

    let id = format!("{root}-custodian");
    let keeping = |options: NodeBuilder| {
        // The broker has topics of other trials with the same root of trust.
        let custodian = Custodian::new().topics([&topic]);
        let options = options.custodian(custodian);
        options.kafka("session_timeout_ms", SESSION_TIMEOUT).open()
    };
    let options = fleet.options(&id, Role::Prodcon, choice);
    let keeper = keeping(options).await.unwrap();
    let identities = keeper.status().await.unwrap().trust.identities;
    let keys: Vec<_> = identities.iter().map(|it| it.key.fingerprint()).collect();
    send(&sender, &topic, 0..RECORDS / 2).await;
    close(keeper).await;
    let keeper = keeping(fleet.provisioned(&id, choice)).await.unwrap();
    // The other half needs another data key, of which only the reopened custodian can learn.
    assert_eq!(sender.actors().rotate().await.unwrap(), 1);
    send(&sender, &topic, RECORDS / 2..RECORDS).await;
    sender.await_custodian(&keys, DEADLINE).await.unwrap();
    close(sender).await;
    close(keeper).await;

    let options = later(fleet.provisioned(&id, choice));
    let keeper = keeping(options).await.unwrap();
    let reader = fleet.options(&format!("{root}-reader"), Role::Consumer, choice);
    let reader = later(reader).open().await.unwrap();
    let mut consumer = consumer(&reader, &topic).await;
    let mut read = vec![Vec::<usize>::new(); PARTITIONS];
    for record in take(&mut consumer, RECORDS).await {
        let number = String::from_utf8(record.value().to_vec()).unwrap();
        read[usize::try_from(record.partition()).unwrap()].push(number.parse().unwrap());
    }
    let sent = (0..PARTITIONS).map(|partition| (partition..RECORDS).step_by(PARTITIONS).collect());
    assert_eq!(read, sent.collect::<Vec<Vec<_>>>());
    let more = tokio::time::timeout(Duration::from_secs(1), consumer.next()).await;
    assert!(more.is_err(), "{more:?}");
    consumer.close_within(DEADLINE).await.unwrap();
    close(reader).await;
    close(keeper).await;
}

/// Lets a node run [`LATER`] by its clock.
fn later(options: NodeBuilder) -> NodeBuilder {
    let clock = Clock::system();
    options.clock(Clock::new(move || clock.now().plus(LATER)))
}

/// Sends these numbers to the partitions in turn.
async fn send(node: &Node, topic: &str, numbers: std::ops::Range<usize>) {
    let producer = node.producer().await.unwrap();
    let mut deliveries = Vec::new();
    for number in numbers {
        let partition = i32::try_from(number % PARTITIONS).unwrap();
        let record = Record::to(topic)
            .partition(partition)
            .value(number.to_string());
        deliveries.push(producer.enqueue(record).await.unwrap());
    }
    for delivery in deliveries {
        delivery.await.unwrap();
    }
    producer.close_within(DEADLINE).await.unwrap();
}

async fn close(node: Node) {
    node.close_within(DEADLINE).await.unwrap();
}
