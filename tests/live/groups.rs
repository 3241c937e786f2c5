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
