use std::num::NonZero;

use kc::Record;
use kc::core::provision::Role;

use crate::fleet::Fleet;
use crate::membership::members_come_and_go;

#[tokio::test(flavor = "multi_thread")]
async fn members_that_join_and_leave_cost_no_record_and_no_order() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    let mut members = Vec::new();
    for id in ["first", "second", "third"] {
        fleet.provision(id, Role::Consumer, "root");
        let options = fleet.options(id).kafka("heartbeat_interval_ms", "100");
        members.push(options.open().await.unwrap());
    }
    let sender = fleet.open("sender").await;
    members_come_and_go("t", &sender, [&members[0], &members[1], &members[2]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_several_threads_open_keep_their_order() {
    const COUNT: usize = 400;
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let sender = fleet.open("sender").await;
    let producer = sender.producer().await.unwrap();
    let value = |number: usize| vec![number.to_be_bytes()[7]; 10_000 + number];
    let records = (0..COUNT).map(|number| Record::to("t").key("all").value(value(number)));
    let sent = producer.send_batch(records).await.unwrap();
    assert_eq!(sent.len(), COUNT);

    let reader = fleet.open("reader").await;
    let consumer = reader.consumer(["t"]).from_beginning();
    let consumer = consumer.threads(NonZero::new(4).unwrap());
    let mut consumer = consumer.join().await.unwrap();
    for number in 0..COUNT {
        let record = consumer.next().await.unwrap().unwrap();
        assert_eq!(record.key(), Some(&b"all"[..]));
        assert_eq!(record.value(), value(number), "{number}");
    }
}
