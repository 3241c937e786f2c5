//! `kc node keys`, and chains for the keys that it adds.

use serde_json::{Value, json};

use crate::world::{World, complaint, fail};

fn keys(world: &World, more: &[&str]) -> Value {
    world.json(&[&["node", "keys", "--node", "alice"], more].concat())
}

#[test]
fn keys_and_exchanges_are_shown_and_changed() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let before = keys(&world, &[]);
    assert_eq!(before["node"], "alice");
    assert_eq!(before["exchanges"], json!([5, 2, 1]));
    assert_eq!(before["legacy_requests"], false);
    let key = &before["keys"][0];
    assert_eq!((&key["type"], &key["certified"]), (&json!(1), &json!(true)));
    assert_eq!(key["fingerprint"].as_str().unwrap().len(), 16);

    let changed = keys(&world, &["--exchange", "1,5,1", "--legacy-requests", "on"]);
    assert_eq!(changed["exchanges"], json!([1, 5]));
    assert_eq!(changed["legacy_requests"], true);
    assert_eq!(changed["legacy_requests_sent"], false);
    assert_eq!(changed["keys"], before["keys"]);
    assert_eq!(keys(&world, &[]), changed);
    let people =
        |more: &[&str]| world.succeed(&[&["node", "keys", "--node", "alice"], more].concat());
    let withheld = people(&[]);
    assert!(
        withheld.contains("old peers: set, but NOT SENT"),
        "{withheld}"
    );
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("legacy requests are set but not sent");
    drop(alice);
    let sent = keys(&world, &["--exchange", "1"]);
    assert_eq!(sent["legacy_requests_sent"], true);
    people(&["--exchange", "1,5"]);
    let people = people(&["--legacy-requests", "off"]);
    assert!(
        people.contains("the preferred one first: 1, 5\n"),
        "{people}"
    );
    assert!(people.contains("old peers: off"), "{people}");
    for wrong in [
        ["--exchange", "3"],
        ["--add-key-type", "2"],
        ["--legacy-requests", "maybe"],
    ] {
        world.fail(
            &[&["node", "keys", "--node", "alice"][..], &wrong].concat(),
            2,
        );
    }
}

#[test]
fn a_running_node_shows_its_keys_and_changes_none() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    let crypto = world.read("alice.crypto");
    for change in [
        ["node", "keys", "--node", "alice", "--exchange", "1"].as_slice(),
        &["node", "keys", "--node", "alice", "--add-key-type", "4"],
        &["chain", "issue", "--node", "alice"],
    ] {
        let stderr = world.fail(change, 1);
        assert!(
            complaint(&stderr).contains("node is in use by process"),
            "{stderr}"
        );
    }
    assert_eq!(world.read("alice.crypto"), crypto);
    assert_eq!(keys(&world, &[])["keys"].as_array().unwrap().len(), 1);
}

#[test]
fn an_added_key_is_certified_by_a_root_of_its_type() {
    let world = World::new();
    world.provision("producer", "alice", &["--topics", "t.a"]);
    let old = keys(&world, &[])["keys"][0].clone();
    let added = keys(&world, &["--add-key-type", "4"]);
    assert_eq!(added["keys"][0], old);
    assert_eq!(added["keys"][1]["type"], 4);
    assert_eq!(added["keys"][1]["certified"], false);
    // No second key of the same type is added.
    assert_eq!(keys(&world, &["--add-key-type", "4"]), added);

    let issue = ["chain", "issue", "--node", "alice", "--key-type", "4"];
    let said = world.succeed(&issue);
    assert!(said.starts_with("chain1 certifies key "), "{said}");
    assert!(said.contains("was added to the allowlist"), "{said}");
    let after = keys(&world, &[]);
    assert_eq!(after["keys"][1]["certified"], true);
    // The node ignores the classical root until its configuration allows it.
    assert_eq!(after["keys"][0]["problem"]["check"], "C04");
    let stderr = world.fail(&["chain", "issue", "--node", "alice"], 5);
    assert!(
        complaint(&stderr).contains("allow_classical_root"),
        "{stderr}"
    );
    let config = String::from_utf8(world.read("alice.config")).unwrap();
    world.write(
        "alice.config",
        config.replacen("[alice]\n", "[alice]\nallow_classical_root : true\n", 1),
    );
    assert_eq!(keys(&world, &[])["keys"][0]["certified"], true);
    let again = world.json(&issue);
    assert_eq!(again["chain"], "chain1");
    assert_eq!(again["new_root"], Value::Null);

    // Chains are found by the keys that they certify, and written to the entries of these keys.
    let before = keys(&world, &[]);
    let config = String::from_utf8(world.read("alice.config")).unwrap();
    let swapped = config
        .replace("chain0 :", "chain- :")
        .replace("chain1 :", "chain0 :");
    world.write("alice.config", swapped.replace("chain- :", "chain1 :"));
    assert_eq!(keys(&world, &[]), before);
    assert_eq!(world.json(&issue)["chain"], "chain1");
    let certified = keys(&world, &[])["keys"].as_array().unwrap().clone();
    assert!(
        certified.iter().all(|key| key["certified"] == true),
        "{certified:?}"
    );
    let config = String::from_utf8(world.read("alice.config")).unwrap();
    let chain0 = config.lines().find(|line| line.starts_with("chain0 :"));
    assert!(swapped.contains(&chain0.unwrap().replace("chain0", "chain-")));
}

#[test]
fn a_renewed_chain_grants_what_the_old_one_did() {
    let world = World::new();
    world.provision(
        "consumer-limited",
        "bob",
        &["--topics", "t.a,u", "--lifetime", "0s", "--pathlen", "3"],
    );
    let chain = || {
        let status = world.json(&["node", "status", "--node", "bob"]);
        status["chains"][0].clone()
    };
    assert_eq!(chain()["problem"]["check"], "C12");
    world.succeed(&["chain", "issue", "--node", "bob", "--lifetime", "1d"]);
    assert_eq!(chain()["problem"], Value::Null);
    assert_eq!(chain()["topics"], json!(["t", "u"]));
    assert_eq!(chain()["usages"], json!(["key-encrypt-subscribe"]));
    let printed = world.line(&["chain", "issue", "--node", "bob", "--print"]);
    let seen = world.json(&["chain", "inspect", &printed, "--node", "bob"]);
    assert_eq!(seen["certificates"][1]["pathlen"], 3);
    let widened = [
        "chain", "issue", "--node", "bob", "--role", "consumer", "--topics", "v.w",
    ];
    world.succeed(&widened);
    assert_eq!(chain()["topics"], json!(["v"]));
    let printed = world.line(&["chain", "issue", "--node", "bob", "--print"]);
    let seen = world.json(&["chain", "inspect", &printed, "--node", "bob"]);
    assert_eq!(seen["certificates"][1]["pathlen"], 1);
    assert_eq!(
        chain()["usages"],
        json!(["key-encrypt-request", "key-encrypt-subscribe"])
    );
}

#[test]
fn another_root_is_trusted_only_if_it_is_meant() {
    let world = World::new();
    let root = world.provision("producer", "alice", &[]);
    let before = world.read("alice.config");
    let issue = ["chain", "issue", "--node", "alice"];
    let stderr = fail(world.kc(&issue).env("KC_ROOT_PASSWORD", "rot"), 5);
    assert!(
        complaint(&stderr).contains("wrong root password?"),
        "{stderr}"
    );
    assert_eq!(world.read("alice.config"), before);
    let meant = [&issue[..], &["--new-root"]].concat();
    crate::world::succeed(world.kc(&meant).env("KC_ROOT_PASSWORD", "rot"));
    let status = world.json(&["node", "status", "--node", "alice"]);
    assert_eq!(status["roots"][0], root.as_str());
    assert_eq!(status["roots"].as_array().unwrap().len(), 2);
    let alice = world.public_key("alice");
    // The passwords suffice; the node's files are not needed.
    let role = ["--role", "producer", "--lifetime", "1d"];
    let chain = world.line(&[&["chain", "issue", "--for", &alice][..], &role].concat());
    world.succeed(&["chain", "install", "--node", "alice", &chain]);
    let status = world.json(&["node", "status", "--node", "alice"]);
    assert_eq!(status["chains"].as_array().unwrap().len(), 1);
    assert_eq!(status["chains"][0]["problem"], Value::Null);
    world.fail(&["chain", "issue"], 2);
    world.fail(&["chain", "issue", "--for", &alice], 2);
}
