//! Three members of one group, with one backend and with several.

use kc::BackendChoice::{self, Pure, Rdkafka};
use kc::core::provision::Role;
use kc_testkit::kafka::{Listener, Version};
use libtest_mimic::Trial;

use crate::brokers::shared;
use crate::fleet::Fleet;
use crate::membership::members_come_and_go;
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    let groups = [
        ("pure", Version::V4, [Pure, Pure, Pure]),
        ("rdkafka", Version::V4, [Rdkafka, Rdkafka, Rdkafka]),
        ("mixed", Version::V4, [Pure, Rdkafka, Pure]),
        ("mixed", Version::V3_9, [Rdkafka, Pure, Rdkafka]),
    ];
    let trials = groups.into_iter().map(|(name, version, members)| {
        let name = format!("groups::{name}_on_{version}");
        trial(name, move || come_and_go(version, members))
    });
    trials.collect()
}

async fn come_and_go(version: Version, members: [BackendChoice; 3]) {
    let fleet = Fleet::on(shared(version).address(Listener::Plaintext));
    let topic = format!("groups-{}-{}", members[0], members[1]);
    let sender = fleet.open("sender", Role::Producer, members[0]).await;
    let mut nodes = Vec::new();
    for (number, choice) in members.into_iter().enumerate() {
        let id = format!("member{number}");
        nodes.push(fleet.open(&id, Role::Consumer, choice).await);
    }
    members_come_and_go(&topic, &sender, [&nodes[0], &nodes[1], &nodes[2]]).await;
}
