//! Provisioning with the passwords in different places, and the files that people carry between them.

use kc::Clock;
use kc::core::kem::{DecapsulationKey, Suite, sealed};
use kc::core::provision::{NewNode, Role, request_node};
use kc::core::types::TopicScheme;
use serde_json::Value;

use crate::world::{CONSUME_ONE, World, complaint, fail, succeed};

/// Returns the request of a provisioner, and its revocation.
fn provisioner(world: &World, name: &str, root: &str) -> (String, String) {
    let args = ["chain", "provisioners", "--json", "--root-public", root];
    let mut command = world.kc(&args);
    let printed = succeed(command.env_remove("KC_ROOT_PASSWORD")).stdout;
    let lines: Vec<Value> = String::from_utf8(printed)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    let found = lines
        .iter()
        .find(|line| line["provisioner"] == name)
        .unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("request"), text("revocation"))
}

fn sign(world: &World, request: &str) -> String {
    world.line(&["chain", "sign", "--yes", request])
}

#[test]
fn nodes_made_in_all_three_ways_exchange_keys() {
    let world = World::new();
    let root = world.line(&["chain", "root"]);
    world.write("root", format!("{root}\n"));
    let fingerprint = world.provision("controller", "carol", &[]);

    let (request, _) = provisioner(&world, "producer", "root");
    world.write("signed", sign(&world, &request));
    let under = [
        "provision",
        "producer",
        "--json",
        "--node",
        "alice",
        "-b",
        &world.address,
        "--root-public",
        "root",
        "--signed-provisioner",
        "signed",
    ];
    let made = succeed(world.kc(&under).env_remove("KC_ROOT_PASSWORD")).stdout;
    let made: Value = serde_json::from_slice(&made).unwrap();
    assert_eq!(made["root"], fingerprint.as_str());

    let by_hand = [
        "provision",
        "consumer",
        "--node",
        "bob",
        "-b",
        &world.address,
        "--root-public",
        &root,
        "--by-hand",
    ];
    let mut command = world.kc(&by_hand);
    let command = command
        .env_remove("KC_ROOT_PASSWORD")
        .env_remove("KC_PROVISIONING_PASSWORD");
    world.write("request", succeed(command).stdout);
    world.fail(&["consume", "t", "--node", "bob"], 5);
    world.write("answer", sign(&world, "request"));
    let said = world.succeed(&["chain", "install", "--node", "bob", "answer"]);
    assert!(said.starts_with("chain0 certifies key "), "{said}");

    world.write("in.txt", "hello\n");
    let alice = world.start(&["produce", "t", "--node", "alice", "in.txt"]);
    alice.says("sent 1 records");
    let read = world.succeed(&CONSUME_ONE);
    assert_eq!(read, "hello\n");
}

#[test]
fn a_certificate_for_somebody_else_is_not_taken() {
    let world = World::new();
    let root = world.line(&["chain", "root"]);
    let (request, _) = provisioner(&world, "consumer", &root);
    let consumers = sign(&world, &request);
    let provision = |role, more: &[&str], exit| {
        let args = ["provision", role, "--node", "n", "--root-public", &root];
        let stderr = world.fail(&[&args, more].concat(), exit);
        assert!(!world.path("n.config").exists());
        complaint(&stderr).to_owned()
    };
    let signed = ["--signed-provisioner", &consumers];
    assert!(provision("producer", &signed, 5).contains("for another key"));
    assert!(provision("chain-server", &signed, 2).contains("--by-hand"));
    assert!(provision("producer", &[], 2).contains("--signed-provisioner"));
    assert!(provision("producer", &["--signed-provisioner", &root], 5).contains("(check C0"));

    let by_hand = |node: &str| {
        let args = [
            "provision",
            "consumer",
            "--node",
            node,
            "--root-public",
            &root,
            "--by-hand",
        ];
        world.line(&args)
    };
    let (bob, eve) = (by_hand("bob"), by_hand("eve"));
    let before = world.read("bob.config");
    let install = |signed: &str| world.fail(&["chain", "install", "--node", "bob", signed], 5);
    assert!(install(&sign(&world, &eve)).contains("(check M04)"));
    let sign_as = ["chain", "sign", "--yes", &bob];
    let stranger = succeed(world.kc(&sign_as).env("KC_ROOT_PASSWORD", "stranger")).stdout;
    let stranger = String::from_utf8(stranger).unwrap();
    assert!(complaint(&install(stranger.trim())).contains("(check C04)"));
    assert!(install(&bob).contains("(check C04)"));
    assert_eq!(world.read("bob.config"), before);
}

#[test]
fn a_root_signs_what_somebody_has_looked_at() {
    let world = World::new();
    let root = world.line(&["chain", "root"]);
    let by_hand = [
        "provision",
        "chain-server",
        "--node",
        "carol",
        "--topics",
        "t",
        "--root-public",
        &root,
        "--by-hand",
    ];
    let request = world.line(&by_hand);
    let stderr = world.fail(&["chain", "sign", &request], 2);
    assert!(complaint(&stderr).contains("--yes"), "{stderr}");
    for told in [
        "usages: key-encrypt, key-encrypt-subscribe",
        "topics: t",
        "path length: at most 2 further certificates",
    ] {
        assert!(stderr.contains(told), "{stderr}");
    }
    let signed = sign(&world, &request);
    // A signed certificate is not a request, and other bytes are not signed.
    for wrong in [&signed, "AAAA"] {
        world.fail(&["chain", "sign", "--yes", wrong], 5);
    }
    world.fail(&["chain", "sign", "--yes", "no-base64"], 2);
    let unasked = ["chain", "sign", "--yes", &request];
    fail(world.kc(&unasked).env_remove("KC_ROOT_PASSWORD"), 2);
    world.succeed(&["chain", "install", "--node", "carol", &signed]);
    let seen = world.json(&["chain", "inspect", &signed, "--node", "carol"]);
    assert_eq!(seen["verdict"]["valid"], true);
}

#[test]
fn a_request_cannot_look_like_another() {
    let world = World::new();
    let topics = ["t\n  usages: none\u{202e}".to_owned()];
    let scheme = TopicScheme::default();
    let node = NewNode {
        topics: &topics,
        ..NewNode::new("eve", Role::Consumer, &scheme)
    };
    let now = Clock::system().now();
    let made = request_node(&node, now, &mut kc::keystore_file::system_rng().unwrap()).unwrap();
    world.write("request", &made.to_sign);
    let request = "request";
    let stderr = world.fail(&["chain", "sign", request], 2);
    let usages = "\n  usages: key-encrypt-request, key-encrypt-subscribe\n";
    assert!(stderr.contains(usages), "{stderr}");
    let topics = "\n  topics: \"t\\n  usages: none\\u{202e}\"\n";
    assert!(stderr.contains(topics), "{stderr}");
}

#[test]
fn a_hybrid_root_elsewhere_makes_hybrid_nodes() {
    let world = World::new();
    let root = world.line(&["chain", "root", "--key-type", "4"]);
    let by_hand = [
        "provision",
        "consumer",
        "--node",
        "bob",
        "--root-public",
        &root,
        "--by-hand",
    ];
    let signed = sign(&world, &world.line(&by_hand));
    world.write("signed", signed);
    world.succeed(&["chain", "install", "--node", "bob", "signed"]);
    let keys = world.json(&["node", "keys", "--node", "bob"]);
    assert_eq!(keys["keys"][0]["type"], 4);
    assert_eq!(keys["keys"][0]["certified"], true);
}

#[test]
fn the_first_secret_is_sealed_to_the_escrow_key_and_printed_once() {
    let world = World::new();
    let key = DecapsulationKey::generate(
        Suite::MlKem1024,
        &mut kc::keystore_file::system_rng().unwrap(),
    );
    world.write(
        "escrow",
        encode(&kc::core::kem::PublicKey::from(key.encapsulation_key().clone()).to_bytes()),
    );
    let provision = [
        "provision",
        "producer",
        "--node",
        "alice",
        "--escrow-key",
        "escrow",
    ];
    let printed = world.succeed(&provision);
    let sealed_secret = printed
        .lines()
        .find_map(|line| line.strip_prefix("escrow "))
        .unwrap();
    let secret = sealed::open(&decode(sealed_secret), &key).unwrap();
    let seed = world.read("alice.seed");
    let of_seed = |part: &[u8]| seed.windows(part.len()).any(|window| window == part);
    assert!(of_seed(secret.expose()));
    let without = world.succeed(&["provision", "producer", "--node", "bob"]);
    assert!(!without.contains("escrow"), "{without}");
    world.fail(
        &[
            "provision",
            "chain-server",
            "--node",
            "carol",
            "--escrow-key",
            "escrow",
        ],
        2,
    );
    world.fail(
        &[
            "provision",
            "producer",
            "--node",
            "dave",
            "--escrow-key",
            "AAAA",
        ],
        2,
    );
    let root = world.line(&["chain", "root"]);
    let by_hand = [
        "provision",
        "producer",
        "--node",
        "dave",
        "--escrow-key",
        "escrow",
        "--by-hand",
        "--root-public",
        &root,
    ];
    assert!(complaint(&world.fail(&by_hand, 2)).contains("--json"));
    let made = world.json(&by_hand);
    assert!(made["request"].is_string() && made["escrow"].is_string());
}

fn encode(bytes: &[u8]) -> String {
    kc::core::store::config::Value::from(bytes).encode()
}

fn decode(text: &str) -> Vec<u8> {
    match kc::core::store::config::Value::decode(&format!("base64#{text}")) {
        Some(kc::core::store::config::Value::Bytes(bytes)) => bytes,
        other => panic!("{other:?}"),
    }
}
