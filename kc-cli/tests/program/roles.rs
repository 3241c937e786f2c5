//! `kc controller` and `kc chain-server`.

use std::process::Stdio;

use crate::trust::DENY_BOB;
use crate::world::{Process, World, complaint, seconds};

#[test]
fn a_limited_consumer_reads_once_a_controller_vouches_for_it() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer-limited", "bob", &[]);
    world.provision("controller", "carl", &[]);
    world.write("in.txt", "a\n");
    let _alice = world.start(&["produce", "t", "--node", "alice", "in.txt"]);
    let args = ["consume", "t", "--node", "bob", "--from-beginning"];
    let mut bob = world.kc(&[&args[..], &["--count", "1"]].concat());
    let mut bob = Process::spawn(bob.stdout(Stdio::piped()));
    bob.says("no controller is running");

    let mut carl = world.start(&["controller", "--node", "carl"]);
    carl.says("carl vouches for requests of all root topics");
    assert_eq!(bob.output(), "a\n");
    assert_eq!(bob.end(), 0);
    let status = world.succeed(&["node", "status", "--node", "carl"]);
    assert!(status.contains("running: controller"), "{status}");
    assert!(!status.contains("requests vouched for: 0"), "{status}");
    carl.terminate();
    assert_eq!(carl.end(), 0);
}

#[test]
fn a_chain_server_renews_the_chain_of_an_enrolled_key() {
    let world = World::new();
    world.provision("chain-server", "server", &[]);
    world.provision("producer", "alice", &["--lifetime", "1h"]);
    let keys = world.succeed(&["node", "keys", "--node", "alice", "--json"]);
    let keys: serde_json::Value = serde_json::from_str(&keys).unwrap();
    let key = keys["keys"][0]["public"].as_str().unwrap();
    let enroll = ["chain", "enroll", "--server", "server", "--name", "alice"];
    let enroll = [&enroll[..], &["--key", key, "--role", "producer"]].concat();
    world.succeed(&enroll);

    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    let mut server = world.start(&["chain-server", "--node", "server"]);
    server.says("server renews the chains of 1 key");
    alice.says("uses a new certificate chain for its key");
    let status = world.succeed(&["node", "status", "--node", "alice", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let week = 6.5 * 86_400.0;
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let expires = seconds(&status["chains"][0]["expires"]);
    assert!(expires > now.as_secs_f64() + week, "{expires}");
    server.terminate();
    assert_eq!(server.end(), 0);
}

#[test]
fn an_administrator_signs_denials() {
    let world = World::new();
    world.provision("administrator", "admin", &[]);
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    world.succeed(&[&DENY_BOB[..], &["--signer", "admin"]].concat());
    let stderr = world.fail(&[&DENY_BOB[..], &["--signer", "bob"]].concat(), 5);
    assert!(complaint(&stderr).contains("(check C14)"), "{stderr}");
}

#[test]
fn a_denial_outlives_the_lists_of_a_node_that_is_provisioned_anew() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    let mut alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    world.succeed(&DENY_BOB);
    alice.says("was added to the denylist");
    alice.terminate();
    assert_eq!(alice.end(), 0);

    world.provision("producer", "alice", &["--force"]);
    let lists = ["trust", "list", "--node", "alice", "--json"];
    assert!(world.succeed(&lists).contains("\"denylist\":[]"));
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("was added to the denylist");
    assert!(!world.succeed(&lists).contains("\"denylist\":[]"));
}

#[test]
fn who_may_not_is_refused_at_start() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let stderr = world.fail(&["controller", "--node", "alice"], 5);
    assert!(complaint(&stderr).contains("may not vouch for requests"));
    assert!(complaint(&stderr).contains("(check C14)"));
    let old = ["--lifetime", "0s"];
    world.provision("chain-server", "server", &old);
    let stderr = world.fail(&["chain-server", "--node", "server"], 5);
    assert!(complaint(&stderr).contains("(check C12)"), "{stderr}");
    world.provision("controller", "carl", &[]);
    let nobody = ["controller", "--node", "carl", "-b", "127.0.0.1:1"];
    world.fail(&nobody, 4);
}
