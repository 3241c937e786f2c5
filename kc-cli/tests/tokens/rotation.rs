//! A new key for the values that a token seals.

use std::process::Stdio;

use crate::tokens::Tokens;
use crate::world::{Process, complaint, fail};

#[test]
fn a_new_key_for_values_keeps_them() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    world.provision("producer", "alice", &["--key-type", "4"]);
    world.provision("consumer", "bob", &["--key-type", "4"]);
    tokens.import("alice");
    let mut producer = tokens.produce("before");
    producer.terminate();
    assert_eq!(producer.end(), 0);
    tokens.succeed(&["hsm", "rotate-opaque", "--node", "alice"]);

    // Retained keys still open, and so does the half of the signing key that the token cannot hold.
    let mut serving = tokens.kc(&["node", "serve", "--node", "alice"]);
    let _serving = Process::spawn(serving.stdout(Stdio::null()));
    assert_eq!(tokens.read("1"), "before\n");
}

#[test]
fn a_configuration_of_before_a_rotation_is_not_taken_for_one_of_a_node_in_files() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    tokens.provision("producer", "alice", &[]);
    let mut producer = tokens.produce("before");
    producer.terminate();
    assert_eq!(producer.end(), 0);
    let before = world.read("alice.config");
    tokens.succeed(&["hsm", "rotate-opaque", "--node", "alice"]);

    world.write("alice.config", before);
    let stderr = fail(&mut tokens.kc(&["node", "serve", "--node", "alice"]), 1);
    let complaint = complaint(&stderr);
    assert!(
        complaint.contains("check that this token and this node sealed it"),
        "{stderr}"
    );
    assert!(!complaint.contains(".crypto"), "{stderr}");
}
