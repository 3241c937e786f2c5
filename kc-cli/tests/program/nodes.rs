use std::fs;
use std::os::unix::fs::PermissionsExt;

use kc::core::ratchet::Seed;
use kc::keystore_file::system_rng;
use serde_json::Value;

use crate::world::{World, complaint, fail};

fn status(world: &World, node: &str) -> Value {
    let json = world.succeed(&["node", "status", "--node", node, "--json"]);
    serde_json::from_str(&json).unwrap()
}

#[test]
fn a_node_tells_how_it_is_running_or_not() {
    let world = World::new();
    let root = world.provision("producer", "alice", &["--topics", "t.a,u"]);
    let before = status(&world, "alice");
    assert_eq!(before["running"], Value::Null);
    assert_eq!(before["roots"], Value::from([root.as_str()].as_slice()));
    let chain = &before["chains"][0];
    assert_eq!(chain["usages"], Value::from(["key-encrypt"].as_slice()));
    assert_eq!(chain["topics"], Value::from(["t", "u"].as_slice()));
    assert_eq!(chain["problem"], Value::Null);
    assert!(chain["expires"].as_f64().unwrap() > 1e9);

    world.write("in.txt", "a\n");
    let mut alice = world.start(&["produce", "t.b", "--node", "alice", "in.txt"]);
    alice.says("sent 1 records");
    let running = &status(&world, "alice")["running"];
    assert_eq!(running["process"], alice.child.id());
    assert_eq!(running["command"], "produce");
    assert_eq!(running["answered"], 0);
    for name in ["alice.sock", "alice.config", "alice.crypto", "alice.seed"] {
        let mode = fs::metadata(world.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    alice.terminate();
    assert_eq!(alice.end(), 0);
    assert!(!world.path("alice.sock").exists());
    let people = world.succeed(&["node", "status", "--node", "alice"]);
    assert!(people.contains("not running"), "{people}");
}

#[test]
fn a_running_node_turns_its_ratchet_when_told() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let rotate = ["node", "rotate", "--node", "alice"];
    let stderr = world.fail(&rotate, 0);
    assert!(stderr.contains("not running"), "{stderr}");

    world.write("in.txt", "a\n");
    let alice = world.start(&["produce", "t", "--node", "alice", "in.txt"]);
    alice.says("sent 1 records");
    assert!(
        world
            .succeed(&rotate)
            .contains("1 root topic has a new key")
    );
    assert_eq!(status(&world, "alice")["running"]["command"], "produce");
}

#[test]
fn a_killed_node_is_not_taken_for_a_running_one() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let mut alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out the keys");
    alice.child.kill().unwrap();
    alice.child.wait().unwrap();
    assert!(world.path("alice.sock").exists());
    assert_eq!(status(&world, "alice")["running"], Value::Null);
    // What it left does not keep it from starting again.
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out the keys");
    assert_eq!(status(&world, "alice")["running"]["command"], "node serve");
}

#[test]
fn serving_tells_which_keys_there_are() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let serve = || world.start(&["node", "serve", "--node", "alice"]);
    serve().says("alice hands out the keys it has kept: none");
    world.write("in.txt", "a\n");
    for topic in ["t.a", "t.b", "u"] {
        let args = ["produce", topic, "--node", "alice", "--exit-after", "0s"];
        world.succeed(&[&args[..], &["in.txt"]].concat());
    }
    serve().says("alice hands out the keys it has kept: t 2, u 1");
}

#[test]
fn a_node_in_a_folder_with_a_long_path_tells_how_it_is() {
    let world = World::new();
    let folder = format!(
        "{0}/{0}/{0}",
        "a-long-name-of-a-folder-of-some-sixty-characters-or-so"
    );
    fs::create_dir_all(world.path(&folder)).unwrap();
    world.provision("producer", "alice", &["--dir", &folder]);
    assert_eq!(status(&world, &folder)["running"], Value::Null);
    let mut alice = world.start(&["node", "serve", "--node", &folder]);
    alice.says("hands out the keys");
    let running = &status(&world, &folder)["running"];
    assert_eq!(running["process"], alice.child.id());
    let socket = world.path(&folder).join("alice.sock");
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    alice.terminate();
    assert_eq!(alice.end(), 0);
    assert!(!socket.exists());
}

#[test]
fn an_expired_chain_is_told_and_refused() {
    let world = World::new();
    world.provision("producer", "alice", &["--lifetime", "0s"]);
    assert_eq!(
        status(&world, "alice")["chains"][0]["problem"]["check"],
        "C12"
    );
    for args in [
        ["produce", "t", "--node", "alice"].as_slice(),
        &["node", "serve", "--node", "alice"],
    ] {
        let stderr = world.fail(args, 5);
        assert!(stderr.contains("(check C12)"), "{stderr}");
    }
}

#[test]
fn topics_are_created_once() {
    let world = World::with_broker(&["--no-auto-create"]);
    let args = [
        "topics",
        "create",
        "t.a",
        "t.b",
        "-b",
        &world.address,
        "--partitions",
        "2",
    ];
    let names = ["t.a", "t.reqs", "t.keys", "t.subs", "t.b"];
    let lines = |done: &str| names.map(|name| format!("{done} {name}\n")).concat();
    assert_eq!(world.succeed(&args), lines("created"));
    assert_eq!(world.succeed(&args), lines("exists"));
}

#[test]
fn a_node_that_takes_the_place_of_another_repeats_none_of_its_keys() {
    let world = World::new();
    world.write("in.txt", "a\n");
    let next = || Seed::decode(&world.read("alice.seed")).unwrap().index();
    world.provision("producer", "alice", &[]);
    let produce = ["produce", "t", "--node", "alice", "--exit-after", "0s"];
    world.succeed(&[&produce[..], &["in.txt"]].concat());
    let before = next();
    assert!(before > 0);
    world.provision("producer", "alice", &["--force"]);
    assert_eq!(next(), before);

    // By its configuration, if its ratchet is lost.
    world.succeed(&[&produce[..], &["in.txt"]].concat());
    let before = next();
    fs::remove_file(world.path("alice.seed")).unwrap();
    world.provision("producer", "alice", &["--force"]);
    assert_eq!(next(), before);
}

/// A ratchet that a token has sealed tells its index in clear.
#[test]
fn a_node_in_files_goes_on_past_a_ratchet_that_was_on_a_token() {
    let world = World::new();
    let sealed = |index: u64| [&b"KCR1"[..], &index.to_be_bytes(), &[0; 60]].concat();
    world.write("alice.ratchet", sealed(7));
    let provision = ["provision", "producer", "--node", "alice"];
    let stderr = world.fail(&provision, 1);
    assert!(complaint(&stderr).contains("alice.ratchet"), "{stderr}");
    assert!(complaint(&stderr).contains("--force"), "{stderr}");
    // One without a ratchet forgets nothing.
    world.provision("consumer", "alice", &["--force"]);
    world.provision("producer", "alice", &["--force"]);
    let seed = Seed::decode(&world.read("alice.seed")).unwrap();
    assert_eq!(seed.index(), 7);
    assert!(!world.path("alice.ratchet").exists());

    // No step of it was used.
    world.write("bob.ratchet", sealed(0));
    world.provision("producer", "bob", &[]);
}

#[test]
fn a_node_without_a_ratchet_remembers_that_of_the_one_before() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let seed = Seed::generate_from(7, &mut system_rng().unwrap());
    world.write("alice.seed", seed.encode().expose());
    world.provision("chain-server", "alice", &["--force"]);
    assert!(!world.path("alice.seed").exists());
    world.provision("producer", "alice", &["--force"]);
    let seed = Seed::decode(&world.read("alice.seed")).unwrap();
    assert_eq!(seed.index(), 7);
}

#[test]
fn a_folder_that_is_not_there_is_told_before_a_password_is_asked_for() {
    let world = World::new();
    let provision = [
        "provision",
        "producer",
        "--node",
        "alice",
        "--dir",
        "nowhere",
    ];
    let mut command = world.kc(&provision);
    let stderr = fail(command.env_remove("KC_ROOT_PASSWORD"), 1);
    assert!(complaint(&stderr).contains("nowhere"), "{stderr}");
}
