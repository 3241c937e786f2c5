//! A ratchet on a token cannot be put back.

use crate::tokens::Tokens;
use crate::world::{complaint, fail};

#[test]
fn a_ratchet_that_is_put_back_is_refused() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    world.provision("producer", "alice", &[]);
    tokens.import("alice");
    let earlier = world.read("alice.ratchet");
    let mut producer = tokens.produce("one");
    producer.terminate();
    assert_eq!(producer.end(), 0);
    let later = world.read("alice.ratchet");

    world.write("alice.ratchet", earlier);
    let produce = [
        "produce",
        "t",
        "line",
        "--node",
        "alice",
        "--exit-after",
        "0s",
    ];
    let stderr = fail(&mut tokens.kc(&produce), 1);
    assert!(complaint(&stderr).contains("gone"), "{stderr}");
    world.write("alice.ratchet", later);
    tokens.succeed(&produce);
}
