//! Trust that changes while nodes run.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kc::Clock;
use kc::core::chain::{Constraints, MaxAge, encode_certificate};
use kc::core::keys::{KeyType, SigningKey, VerifyingKey};
use kc::core::provision::{derive_root, sign_request};
use kc::core::store::config::{NodeConfig, Section, Value};
use kc::core::wire::Writer;
use kc::keystore_file::system_rng;
use serde_json::Value as Json;

use crate::world::{Process, World, complaint, fail};

const DENYLIST: &str = "KC_CONFIG__NODE__MGMT_TOPIC_DENYLIST";
const HOUR: Duration = Duration::from_secs(3600);

/// Starts a consumer; its lines are read by [`line`].
fn consume(world: &World, node: &str, env: &[(&str, &str)]) -> Process {
    let mut command = world.kc(&["consume", "t", "--node", node, "--from-beginning"]);
    command.envs(env.iter().copied());
    Process::spawn(command.stdout(Stdio::piped()))
}

fn produce(world: &World, text: &str, env: &[(&str, &str)]) -> Process {
    let file = format!("{text}.txt");
    world.write(&file, format!("{text}\n"));
    let mut command = world.kc(&["produce", "t", "--node", "alice", &file]);
    let process = Process::spawn(command.envs(env.iter().copied()));
    process.says("sent 1 records");
    process
}

/// The next line on stdout.
fn line(process: &mut Process) -> String {
    let stdout = process.child.stdout.as_mut().unwrap();
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stdout.read_exact(&mut byte).unwrap();
        line.extend(byte);
    }
    String::from_utf8(line).unwrap().trim().to_owned()
}

fn stop(mut process: Process) {
    process.terminate();
    assert_eq!(process.end(), 0);
}

fn list(world: &World, node: &str) -> Json {
    let json = world.succeed(&["trust", "list", "--node", node, "--json"]);
    serde_json::from_str(&json).unwrap()
}

fn root_key(world: &World, node: &str) -> String {
    list(world, node)["allowlist"][0]["key"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn key_of(world: &World, node: &str) -> VerifyingKey {
    let config = world.path(&format!("{node}.config"));
    kc::signing_keys_of(config.to_str().unwrap())
        .unwrap()
        .remove(0)
}

fn chain_of(
    root_password: &str,
    key: &VerifyingKey,
    constraints: &Constraints,
    lifetime: Duration,
) -> Vec<u8> {
    let root: SigningKey = derive_root(root_password.as_bytes(), KeyType::Ed25519)
        .unwrap()
        .key;
    let end = MaxAge::until(Clock::system().now().plus(lifetime));
    let to_sign = encode_certificate(
        end,
        &constraints.encode_usages_first(),
        |writer| key.write_to(writer),
        (0, |_| {}),
    );
    let link = sign_request(&root, &to_sign, &mut system_rng().unwrap()).unwrap();
    let mut writer = Writer::new();
    writer.array(1).bytes(&link);
    writer.into_vec()
}

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
    // He does not hear that he is denied, and goes on asking.
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
        alice.says(&format!("{fingerprint} came onto the denylist"));
        carol.says(&format!("{fingerprint} came onto the denylist"));
    }
    bob.says("this node is on the denylist");
    stop(alice);

    // What she knows now, she has from her configuration.
    let alice = produce(&world, "two", &[(DENYLIST, "elsewhere")]);
    alice.says("check=C11");
    assert_eq!(line(&mut carol), "two");
    stop(carol);
    for mut denied in [bob, dave] {
        denied.terminate();
        assert_eq!(denied.output(), "");
        // He has seen a record that he cannot open.
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
    alice.says("came onto the allowlist");
    assert_eq!(line(&mut bob), "one");
    stop(alice);
    assert_eq!(list(&world, "alice")["allowlist"][1]["key"], other.as_str());
}

#[test]
fn a_node_is_told_by_itself_whom_to_trust() {
    let world = World::new();
    let root = world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &["--key-type", "4"]);
    let hybrid = root_key(&world, "bob");
    let key = key_of(&world, "bob");
    let fingerprint = key.fingerprint();
    let hex: String = key
        .to_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    world.write("key", &hex);
    world.write("key.bin", key.to_bytes());
    let base64 = BASE64.encode(key.to_bytes());
    for how in [
        ["@key"].as_slice(),
        &["@key.bin"],
        &[&hex],
        &[&base64],
        &["--of", "bob"],
    ] {
        let deny = [&["trust", "deny", "--node", "alice"], how].concat();
        assert!(world.succeed(&deny).contains(&fingerprint));
        assert_eq!(
            list(&world, "alice")["denylist"][0]["fingerprint"],
            fingerprint.as_str()
        );
        let stderr = world.fail(&deny, 5);
        assert!(complaint(&stderr).contains("(check M03)"), "{stderr}");
        let remove = [&deny[..], &["--remove"]].concat();
        world.succeed(&remove);
        assert_eq!(list(&world, "alice")["denylist"], Json::Array(vec![]));
        assert!(complaint(&world.fail(&remove, 1)).contains("kc trust list"));
    }

    let allow = [
        "trust",
        "allow",
        "--node",
        "alice",
        &hybrid,
        "--topics",
        "a.b,^c.*$",
    ];
    world.succeed(&allow);
    let roots = &list(&world, "alice")["allowlist"];
    assert_eq!(roots[0]["name"], "rot0");
    assert_eq!(roots[0]["fingerprint"], root.as_str());
    assert!(roots[0]["ignored"].as_str().unwrap().contains("hybrid"));
    assert_eq!(roots[1]["type"], 4);
    assert_eq!(roots[1]["topics"], Json::from(["a", "^c.*$"].as_slice()));
    assert_eq!(roots[1]["ignored"], Json::Null);
    world.fail(&allow, 5);
    let people = world.succeed(&["trust", "list", "--node", "alice"]);
    assert!(people.contains("IGNORED: classical half"), "{people}");
    assert!(people.contains(&hybrid), "{people}");

    let temporary = kc::core::chain::TEMPORARY_ROOT.to_bytes();
    let stderr = world.fail(
        &[
            "trust",
            "allow",
            "--node",
            "alice",
            &BASE64.encode(temporary),
        ],
        5,
    );
    assert!(complaint(&stderr).contains("public"), "{stderr}");
}

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
    alice.says("hands out the keys");
    assert!(world.succeed(&deny).contains("signed by node admin"));
    alice.says("came onto the denylist");
    // That the administrator has it already says nothing of the others.
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
    let world = World::new();
    world.provision("consumer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    let deny = [
        "trust",
        "deny",
        "--of",
        "bob",
        "--publish",
        "--node",
        "alice",
    ];
    let stderr = fail(world.kc(&deny).env("KC_ROOT_PASSWORD", "rot"), 5);
    assert!(complaint(&stderr).contains("(check C04)"), "{stderr}");
    assert!(
        complaint(&stderr).contains("wrong root password?"),
        "{stderr}"
    );
    let stderr = fail(world.kc(&deny).env_remove("KC_ROOT_PASSWORD"), 2);
    assert!(
        complaint(&stderr).contains("--root-password-file"),
        "{stderr}"
    );
    let ended = [&deny[..], &["--lifetime", "0s"]].concat();
    assert!(world.fail(&ended, 5).contains("(check C12)"));

    world.succeed(&["trust", "deny", "--of", "bob", "--node", "alice"]);
    let stderr = world.fail(&deny, 5);
    assert!(complaint(&stderr).contains("(check M03)"), "{stderr}");
    // Others may not know.
    world.succeed(&[
        "trust",
        "deny",
        "--of",
        "bob",
        "--publish",
        "-b",
        &world.address,
    ]);

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
    // Nobody listens at port 1.
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
    alice.says("hands out the keys");
    let revoke = ["trust", "revoke", "--node", "bob", "--publish"];
    assert!(complaint(&world.fail(&revoke, 2)).contains("--yes"));
    world.succeed(&[&revoke[..], &["--yes"]].concat());
    let listed = |node| {
        format!(
            "{} came onto the denylist",
            key_of(&world, node).fingerprint()
        )
    };
    alice.says(&listed("bob"));
    let bob = world.start(&["consume", "t", "--node", "bob"]);
    bob.says("this node is on the denylist");

    // To be kept where the keys are not.
    let kept = world.succeed(&["trust", "revoke", "--node", "carol"]);
    world.write("revocation", &kept);
    for how in [kept.trim(), "revocation"] {
        world.succeed(&["trust", "publish", how, "-b", &world.address]);
    }
    alice.says(&listed("carol"));
    let again = ["trust", "publish", "revocation", "--node", "alice"];
    assert!(world.fail(&again, 5).contains("(check M03)"));
    let garbage = ["trust", "publish", "AAAA", "-b", &world.address];
    assert!(complaint(&world.fail(&garbage, 5)).contains("(check C01)"));
}

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
    let garbage = ["chain", "publish", "AAAA", "-b", &world.address];
    assert!(complaint(&world.fail(&garbage, 5)).contains("(check C01)"));
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
    let left = status["chains"][0]["expires"].as_f64().unwrap() - Clock::system().now().as_secs();
    assert!(left > HOUR.as_secs_f64(), "{left}");
    assert_eq!(status["chains"][0]["problem"], Json::Null);
    // It goes on with it: the one before granted every topic.
    let stderr = world.fail(&["consume", "u", "--node", "bob"], 5);
    assert!(complaint(&stderr).contains("(check C13)"), "{stderr}");
    world.fail(&["consume", "t", "--node", "bob", "--timeout", "500ms"], 3);
}

#[test]
fn side_topics_out_of_reach_are_told_once() {
    let mut world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    stop(produce(&world, "one", &[]));
    let bob = consume(&world, "bob", &[]);
    bob.says("Unanswered");
    world.kill_broker();
    bob.says("the side topics of t cannot be reached");
}

#[test]
fn the_end_of_a_chain_is_told_before_it_comes() {
    let world = World::new();
    world.provision("consumer", "bob", &["--lifetime", "20s"]);
    let bob = world.start(&["consume", "t", "--node", "bob"]);
    let told = bob.says("the certificate chain of this node's key");
    assert!(told.contains("kc chain publish"), "{told}");
}
