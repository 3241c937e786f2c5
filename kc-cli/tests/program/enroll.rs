//! `kc chain enroll`.

use serde_json::{Value, json};

use crate::world::{World, complaint, seconds};

const ENROLL: [&str; 4] = ["chain", "enroll", "--server", "server"];

fn enrolled(world: &World, name: &str) -> Value {
    let config = String::from_utf8(world.read("server.config")).unwrap();
    let start = format!("{name} : ");
    let entry = config.lines().find_map(|line| line.strip_prefix(&start));
    world.json(&["chain", "inspect", entry.unwrap()])["certificates"][0].clone()
}

#[test]
fn a_key_is_granted_what_its_node_holds_unless_it_is_said() {
    let world = World::new();
    world.provision("chain-server", "server", &[]);
    world.provision("producer", "alice", &["--topics", "t", "--lifetime", "1h"]);
    world.succeed(&[&ENROLL[..], &["--of", "alice"]].concat());
    let entry = enrolled(&world, "alice");
    assert_eq!(entry["topics"], json!(["t"]));
    assert_eq!(entry["usages"], json!(["key-encrypt"]));
    assert_eq!(entry["pathlen"], 1);

    let key = world.public_key("alice");
    let by_key = [&ENROLL[..], &["--key", &key, "--name", "again"]].concat();
    world.succeed(&by_key);
    assert_eq!(enrolled(&world, "again")["topics"], json!(["t"]));
    let wider = [&by_key[..], &["--force", "--topics", "t,u"]].concat();
    world.succeed(&wider);
    assert_eq!(enrolled(&world, "again")["topics"], json!(["t", "u"]));

    // The path length of the node's chain is granted only together with the role of this chain.
    world.provision("producer", "dave", &["--topics", "t", "--pathlen", "3"]);
    let of_dave = [&ENROLL[..], &["--of", "dave"]].concat();
    world.succeed(&of_dave);
    assert_eq!(enrolled(&world, "dave")["pathlen"], 3);
    let other_role = ["--force", "--role", "consumer-limited"];
    world.succeed(&[&of_dave[..], &other_role].concat());
    assert_eq!(enrolled(&world, "dave")["pathlen"], 1);

    // The program knows nothing about a node whose files are elsewhere.
    std::fs::remove_file(world.path("alice.config")).unwrap();
    let by_key = [
        &ENROLL[..],
        &["--key", &key, "--name", "bob", "--role", "producer"],
    ]
    .concat();
    let stderr = world.fail(&by_key, 2);
    assert!(complaint(&stderr).contains("--topics"), "{stderr}");
    world.succeed(&[&by_key[..], &["--topics", "^.*$"]].concat());
    assert_eq!(enrolled(&world, "bob")["topics"], json!(["^.*$"]));
}

#[test]
fn a_running_chain_server_takes_a_key_and_the_node_its_chain() {
    let world = World::new();
    world.provision("chain-server", "server", &[]);
    world.provision("producer", "alice", &[]);
    let mut server = world.kc(&["chain-server", "--node", "server"]);
    let server = crate::world::Process::spawn(server.env("KC_CONFIG__NODE__INTERVAL_SECS", "0.2"));
    server.says("server renews the chains of 0 keys");
    let enroll = [&ENROLL[..], &["--of", "alice"]].concat();
    let stderr = world.fail(&enroll, 0);
    assert!(stderr.contains("check M05"), "{stderr}");
    assert!(!stderr.contains("issues and renews the chain"), "{stderr}");
    let shorten = "kc chain issue --node alice --lifetime 7d";
    assert!(stderr.contains(shorten), "{stderr}");
    let stderr = world.fail(&enroll, 1);
    assert!(complaint(&stderr).contains("--force"), "{stderr}");

    // The command that the warning named.
    let shorten: Vec<_> = shorten.split(' ').skip(1).collect();
    world.succeed(&shorten);
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    let stderr = world.fail(&[&enroll[..], &["--force"]].concat(), 0);
    assert!(!stderr.contains("M05"), "{stderr}");
    alice.says("uses a new certificate chain for its key");
    let status = world.json(&["node", "status", "--node", "alice"]);
    let left = seconds(&status["chains"][0]["expires"]) - kc::Clock::system().now().as_secs();
    assert!(left > 6.0 * 86_400.0 && left < 8.0 * 86_400.0, "{left}");
}
