//! Chains that are published.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kc::Clock;
use kc::core::chain::Constraints;
use serde_json::Value as Json;

use super::{HOUR, chain_of, key_of, stop};
use crate::world::{World, complaint, seconds};

#[test]
fn a_running_node_adopts_a_chain_and_keeps_it() {
    let world = World::new();
    world.provision("consumer", "bob", &["--lifetime", "1h"]);
    let bob = world.start(&["consume", "t", "--node", "bob"]);
    let may = Constraints {
        usages: Some(vec!["key-encrypt-request".into()]),
        topics: Some(vec!["t".into()]),
        path_length: Some(1),
    };
    let key = key_of(&world, "bob");
    let chain = |password| chain_of(password, &key, &may, 2 * HOUR);
    world.write("chain", chain("root"));
    world.write("forged", BASE64.encode(chain("rot")));
    let stderr = world.fail(&["chain", "publish", "forged", "--node", "bob"], 5);
    assert!(complaint(&stderr).contains("(check C04)"), "{stderr}");
    assert!(stderr.contains("a root that the nodes trust"), "{stderr}");
    let whole = chain("root");
    let cut_off = BASE64.encode(&whole[..whole.len() - 9]);
    let cut_off = ["chain", "publish", &cut_off, "-b", &world.address];
    let stderr = world.fail(&cut_off, 5);
    assert!(complaint(&stderr).contains("(check C01)"), "{stderr}");
    assert!(stderr.contains("damaged or incomplete"), "{stderr}");
    assert!(!stderr.contains("a root that"), "{stderr}");
    world.fail(&["chain", "publish", "no file", "--node", "bob"], 2);
    world.fail(&["chain", "publish", "chain", "-b", "127.0.0.1:1"], 4);

    for whereto in [["--node", "bob"], ["-b", &world.address]] {
        let sent = world.succeed(&[&["chain", "publish", "chain"], &whereto[..]].concat());
        assert!(sent.contains(&key.fingerprint()), "{sent}");
    }
    bob.says("new certificate chain");
    stop(bob);
    let status = world.succeed(&["node", "status", "--node", "bob", "--json"]);
    let status: Json = serde_json::from_str(&status).unwrap();
    let left = seconds(&status["chains"][0]["expires"]) - Clock::system().now().as_secs();
    assert!(left > HOUR.as_secs_f64(), "{left}");
    assert_eq!(status["chains"][0]["problem"], Json::Null);
    // Bob uses the new chain; the chain before granted every topic.
    let stderr = world.fail(&["consume", "u", "--node", "bob"], 5);
    assert!(complaint(&stderr).contains("(check C13)"), "{stderr}");
    world.fail(&["consume", "t", "--node", "bob", "--timeout", "500ms"], 3);
}

#[test]
fn the_end_of_a_chain_is_told_before_it_comes() {
    let world = World::new();
    world.provision("consumer", "bob", &["--lifetime", "20s"]);
    let bob = world.start(&["consume", "t", "--node", "bob"]);
    let told = bob.says("the certificate chain of this node's key");
    assert!(told.contains("kc chain publish"), "{told}");
}
