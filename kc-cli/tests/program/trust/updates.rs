//! The signers of updates, and updates that are not sent.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kc::core::chain::Constraints;
use kc::core::store::config::{NodeConfig, Section, Value};
use serde_json::Value as Json;

use super::{DENY_BOB, HOUR, chain_of, key_of};
use crate::world::{World, complaint, fail};

#[test]
fn an_administrator_signs_what_its_chain_grants() {
    let world = World::new();
    for (role, node) in [
        ("producer", "alice"),
        ("consumer", "bob"),
        ("consumer", "admin"),
    ] {
        world.provision(role, node, &[]);
    }
    let deny = [
        "trust",
        "deny",
        "--of",
        "bob",
        "--publish",
        "--signer",
        "admin",
    ];
    let stderr = world.fail(&deny, 5);
    assert!(complaint(&stderr).contains("key-denylist"), "{stderr}");
    assert!(stderr.contains("(check C14)"), "{stderr}");

    let may = |path_length| Constraints {
        usages: Some(vec!["key-denylist".into()]),
        topics: None,
        path_length: Some(path_length),
    };
    let certify = |path_length| {
        let chain = chain_of("root", &key_of(&world, "admin"), &may(path_length), HOUR);
        let config = String::from_utf8(world.read("admin.config")).unwrap();
        let mut config = NodeConfig::parse(&config).unwrap();
        config
            .set(Section::CHAINS, "chain0", &Value::Bytes(chain))
            .unwrap();
        world.write("admin.config", config.render().as_bytes());
    };
    certify(0);
    assert!(world.fail(&deny, 5).contains("(check C15)"));
    certify(1);
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    assert!(world.succeed(&deny).contains("signed by node admin"));
    alice.says("was added to the denylist");
    let stderr = world.fail(&deny, 0);
    assert!(
        stderr.contains("nodes of the Python peer ignore denylist updates"),
        "{stderr}"
    );
    assert!(stderr.contains("kc trust deny KEY --node PATH"), "{stderr}");
    // The entry on the administrator's own list does not stop the update.
    world.succeed(&["trust", "deny", "--of", "bob", "--node", "admin"]);
    world.succeed(&deny);
    let allow = [
        "trust",
        "allow",
        "--of",
        "bob",
        "--publish",
        "--signer",
        "admin",
    ];
    assert!(world.fail(&allow, 5).contains("(check C14)"));
}

#[test]
fn an_update_that_nobody_would_take_is_not_sent() {
    let world = World::with_broker(&["--no-auto-create"]);
    world.provision("consumer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    let stderr = fail(world.kc(&DENY_BOB).env("KC_ROOT_PASSWORD", "rot"), 5);
    assert!(complaint(&stderr).contains("(check C04)"), "{stderr}");
    assert!(
        complaint(&stderr).contains("wrong root password?"),
        "{stderr}"
    );
    let stderr = fail(world.kc(&DENY_BOB).env_remove("KC_ROOT_PASSWORD"), 2);
    assert!(
        complaint(&stderr).contains("--root-password-file"),
        "{stderr}"
    );
    let ended = [&DENY_BOB[..], &["--lifetime", "0s"]].concat();
    assert!(world.fail(&ended, 5).contains("(check C12)"));

    world.succeed(&["trust", "deny", "--of", "bob", "--node", "alice"]);
    let stderr = world.fail(&DENY_BOB, 5);
    assert!(complaint(&stderr).contains("(check M03)"), "{stderr}");
    // Other nodes may lack the entry.
    world.succeed(&[
        "trust",
        "deny",
        "--of",
        "bob",
        "--publish",
        "-b",
        &world.address,
    ]);

    // Only this update was sent, under its key.
    let raw = [
        "consume",
        "denylist",
        "--raw",
        "--json",
        "-b",
        &world.address,
    ];
    let mut raw = world.kc(&[&raw[..], &["--timeout", "2s"]].concat());
    let raw = String::from_utf8(raw.output().unwrap().stdout).unwrap();
    let record: Json = serde_json::from_str(raw.trim()).unwrap();
    let key = BASE64.encode(key_of(&world, "bob").to_bytes());
    assert_eq!(record["key"], key.as_str());

    for args in [
        ["trust", "deny", "--of", "bob", "--publish"].as_slice(),
        &["trust", "deny", "--of", "bob"],
        &["trust", "deny", "--of", "bob", "AAAA", "--node", "alice"],
        &["trust", "deny", "--node", "alice"],
        &["trust", "deny", "AAAA", "--node", "alice"],
        &[
            "trust",
            "deny",
            "--of",
            "bob",
            "--remove",
            "--publish",
            "--node",
            "alice",
        ],
        &["trust", "publish", "no file"],
    ] {
        world.fail(args, 2);
    }
    // No broker listens on port 1.
    let nowhere = [
        "trust",
        "deny",
        "--of",
        "bob",
        "--publish",
        "-b",
        "127.0.0.1:1",
    ];
    assert!(complaint(&world.fail(&nowhere, 4)).contains("127.0.0.1:1"));
}

#[test]
fn a_node_revokes_itself() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    for node in ["bob", "carol"] {
        world.provision("consumer", node, &[]);
    }
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    let revoke = ["trust", "revoke", "--node", "bob", "--publish"];
    assert!(complaint(&world.fail(&revoke, 2)).contains("--yes"));
    world.succeed(&[&revoke[..], &["--yes"]].concat());
    let listed = |node| {
        format!(
            "{} was added to the denylist",
            key_of(&world, node).fingerprint()
        )
    };
    alice.says(&listed("bob"));
    let bob = world.start(&["consume", "t", "--node", "bob"]);
    bob.says("a key of this node's chain was denied");

    // The revocation is printed in advance, to be stored in another place than the keys.
    let kept = world.succeed(&["trust", "revoke", "--node", "carol"]);
    world.write("revocation", &kept);
    for how in [kept.trim(), "revocation"] {
        world.succeed(&["trust", "publish", how, "-b", &world.address]);
    }
    alice.says(&listed("carol"));
    // Alice has never seen that key, so she stores only its hash, and not in her files.
    world.succeed(&["trust", "publish", "revocation", "--node", "alice"]);
    world.provision("consumer", "dave", &[]);
    let carol = world.public_key("carol");
    world.succeed(&["trust", "deny", &carol, "--node", "dave"]);
    let again = ["trust", "publish", "revocation", "--node", "dave"];
    let stderr = world.fail(&again, 5);
    assert!(complaint(&stderr).contains("(check M03)"), "{stderr}");
    assert!(stderr.contains("a node without this entry"), "{stderr}");
    let garbage = ["trust", "publish", "AAAA", "-b", &world.address];
    assert!(complaint(&world.fail(&garbage, 5)).contains("(check C01)"));
}

#[test]
fn hybrid_keys_deny_and_are_denied() {
    let world = World::new();
    for (role, node) in [
        ("producer", "alice"),
        ("consumer", "bob"),
        ("consumer", "carol"),
    ] {
        world.provision(role, node, &["--key-type", "4"]);
    }
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    // The classical half of the root is another root.
    assert!(world.fail(&DENY_BOB, 5).contains("(check C04)"));
    world.succeed(&[&DENY_BOB[..], &["--key-type", "4"]].concat());
    world.succeed(&["trust", "revoke", "--node", "carol", "--publish", "--yes"]);
    for node in ["bob", "carol"] {
        let fingerprint = key_of(&world, node).fingerprint();
        alice.says(&format!("{fingerprint} was added to the denylist"));
    }
}
