//! Published updates reach running nodes.

use super::{consume, key_of, line, list, produce, root_key, stop};
use crate::world::{World, complaint, until};

const DENYLIST: &str = "KC_CONFIG__NODE__MGMT_TOPIC_DENYLIST";

#[test]
fn a_consumer_denied_at_run_time_reads_nothing_under_the_next_key_and_the_others_go_on() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    for node in ["bob", "carol", "dave"] {
        world.provision("consumer", node, &[]);
    }
    let alice = produce(&world, "one", &[]);
    let mut bob = consume(&world, "bob", &[]);
    let mut carol = consume(&world, "carol", &[]);
    // Dave does not learn of his denial, and continues to ask.
    let mut dave = consume(&world, "dave", &[(DENYLIST, "elsewhere")]);
    for consumer in [&mut bob, &mut carol, &mut dave] {
        assert_eq!(line(consumer), "one");
    }

    for node in ["bob", "dave"] {
        let denied = world.succeed(&[
            "trust",
            "deny",
            "--of",
            node,
            "--publish",
            "--node",
            "carol",
        ]);
        let fingerprint = key_of(&world, node).fingerprint();
        assert!(denied.contains(&fingerprint), "{denied}");
        alice.says(&format!("{fingerprint} was added to the denylist"));
        carol.says(&format!("{fingerprint} was added to the denylist"));
    }
    bob.says("a key of this node's chain was denied");
    stop(alice);

    // She knows the denial only from her configuration.
    let alice = produce(&world, "two", &[(DENYLIST, "elsewhere")]);
    alice.says("check=C11");
    assert_eq!(line(&mut carol), "two");
    stop(carol);
    let waits = |node| {
        let status = world.json(&["node", "status", "--node", node]);
        status["running"]["waiting_records"]["t"] == 1
    };
    for node in ["bob", "dave"] {
        until("the status shows the record that waits", || waits(node));
    }
    for mut denied in [bob, dave] {
        denied.terminate();
        assert_eq!(denied.output(), "");
        // Dave has received a record that he cannot open.
        assert_eq!(denied.end(), 3);
    }
    let denylist = &list(&world, "alice")["denylist"];
    assert_eq!(denylist.as_array().unwrap().len(), 2);
    assert!(denylist[0]["name"].as_str().unwrap().starts_with("base64#"));

    let stderr = world.fail(&["consume", "t", "--node", "bob"], 5);
    assert!(complaint(&stderr).contains("(check C11)"), "{stderr}");
}

#[test]
fn a_root_that_is_published_lets_its_nodes_read() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision_under("other root", "consumer", "bob", &[]);
    let (root, other) = (root_key(&world, "alice"), root_key(&world, "bob"));
    world.succeed(&["trust", "allow", &root, "--node", "bob"]);
    let alice = produce(&world, "one", &[]);
    let mut bob = consume(&world, "bob", &[]);
    alice.says("check=C04");
    world.succeed(&["trust", "allow", &other, "--publish", "--node", "alice"]);
    alice.says("was added to the allowlist");
    assert_eq!(line(&mut bob), "one");
    stop(alice);
    assert_eq!(list(&world, "alice")["allowlist"][1]["key"], other.as_str());
}

#[test]
fn side_topics_out_of_reach_are_told_once() {
    let mut world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    stop(produce(&world, "one", &[]));
    let bob = consume(&world, "bob", &[("RUST_LOG", "kc=debug")]);
    bob.says("no node has answered the requests");
    world.kill_broker();
    let said: Vec<_> = (0..3)
        .flat_map(|_| bob.hear("request not sent yet"))
        .collect();
    let told = |line: &&String| line.contains("cannot be sent to the side topics of t");
    assert_eq!(said.iter().filter(told).count(), 1, "{said:#?}");
}
