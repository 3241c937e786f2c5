use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use kc::core::ratchet::Seed;
use kc::keystore_file::{NodeFiles, NodeLock, system_rng};
use serde_json::Value;

use crate::world::{CONSUME_ONE, PRODUCE_ALL, World, complaint, fail, seconds};

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
    assert!(seconds(&chain["expires"]) > 1e9);

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
            .contains("1 root topic has a new data key")
    );
    assert_eq!(status(&world, "alice")["running"]["command"], "produce");
}

/// An application that uses the library holds the lock and answers no requests of kc.
#[test]
fn a_node_that_another_program_has_open_is_in_use() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    let files = NodeFiles::beside(&world.path("alice.config")).unwrap();
    let lock = NodeLock::acquire(&files).unwrap();
    let own = std::process::id();
    let people = world.succeed(&["node", "status", "--node", "alice"]);
    assert!(
        people.contains(&format!("in use by process {own}")),
        "{people}"
    );
    assert!(!people.contains("not running"), "{people}");
    assert_eq!(status(&world, "alice")["in_use"]["process"], own);
    let stderr = world.fail(&["node", "rotate", "--node", "alice"], 1);
    assert!(
        complaint(&stderr).contains(&format!("in use by process {own}")),
        "{stderr}"
    );

    let bob = world.start(&["node", "serve", "--node", "bob"]);
    drop(bob);
    let listed = world.succeed(&["node", "list"]);
    assert!(
        listed.contains(&format!(
            "alice: in use, process {own}, chain valid until 20"
        )),
        "{listed}"
    );
    assert!(
        listed.contains("bob: stopped, chain valid until 20"),
        "{listed}"
    );
    drop(lock);
    assert_eq!(status(&world, "alice")["in_use"], Value::Null);
}

#[test]
fn nodes_are_listed_with_what_they_do() {
    let world = World::new();
    let stderr = world.fail(&["node", "list"], 0);
    assert!(
        stderr.contains("there are no nodes in this folder"),
        "{stderr}"
    );
    let root = world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &["--lifetime", "0s"]);
    world.write("carol.config", b"\xff");
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    let listed = world.succeed(&["node", "list", "--json"]);
    let lines = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    let [alice_line, bob, carol]: [Value; 3] = lines.collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(alice_line["state"], "running");
    assert_eq!(alice_line["command"], "node serve");
    assert_eq!(alice_line["process"], alice.child.id());
    assert_eq!(alice_line["roots"][0], root.as_str());
    assert_eq!(bob["state"], "stopped");
    assert!(bob["problem"].as_str().unwrap().contains("(C12)"), "{bob}");
    assert_eq!(carol["state"], "unreadable");
    let people = world.succeed(&["node", "list"]);
    assert!(
        people.contains("alice: running (node serve), process"),
        "{people}"
    );
}

#[test]
fn keys_have_the_names_of_nodes_that_are_known_here() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    world.write("in.txt", "a\n");
    let alice = world.start(&["produce", "t", "--node", "alice", "in.txt"]);
    alice.says("sent 1 records");
    world.succeed(&CONSUME_ONE);
    let people = world.succeed(&["node", "status", "--node", "alice"]);
    let given = people
        .lines()
        .find(|line| line.starts_with("data keys of t handed out"));
    assert!(
        given.unwrap().contains(" (bob) under root of trust"),
        "{people}"
    );
    let denied = world.succeed(&[
        "trust",
        "deny",
        "--of",
        "bob",
        "--publish",
        "--node",
        "alice",
    ]);
    assert!(denied.contains(" (bob) sent to topic denylist"), "{denied}");
    alice.says("was added to the denylist (a key of bob)");
    let listed = world.succeed(&["trust", "list", "--node", "alice"]);
    assert!(listed.contains(", a key of bob"), "{listed}");
}

#[test]
fn a_killed_node_is_not_taken_for_a_running_one() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let mut alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    alice.child.kill().unwrap();
    alice.child.wait().unwrap();
    assert!(world.path("alice.sock").exists());
    assert_eq!(status(&world, "alice")["running"], Value::Null);
    // Its remaining files do not prevent another start.
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    assert_eq!(status(&world, "alice")["running"]["command"], "node serve");
}

#[test]
fn serving_tells_which_keys_there_are() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let serve = || world.start(&["node", "serve", "--node", "alice"]);
    serve().says("alice hands out its retained data keys: none");
    world.write("in.txt", "a\n");
    for topic in ["t.a", "t.b", "u"] {
        let args = ["produce", topic, "--node", "alice", "--exit-after", "0s"];
        world.succeed(&[&args[..], &["in.txt"]].concat());
    }
    serve().says("alice hands out its retained data keys: t 2, u 1");
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
    alice.says("hands out its retained data keys");
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
        assert!(stderr.contains("expired at 20"), "{stderr}");
        assert!(
            stderr.contains("the clock of this host shows 20"),
            "{stderr}"
        );
        assert!(complaint(&stderr).contains("kc chain issue"), "{stderr}");
    }
    // The node keeps its key.
    let key = world.public_key("alice");
    world.succeed(&["chain", "issue", "--node", "alice"]);
    assert_eq!(world.public_key("alice"), key);
    world.write("in.txt", "a\n");
    world.succeed(&PRODUCE_ALL);
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

    // Without the ratchet, the index comes from the configuration.
    world.succeed(&[&produce[..], &["in.txt"]].concat());
    let before = next();
    fs::remove_file(world.path("alice.seed")).unwrap();
    world.provision("producer", "alice", &["--force"]);
    assert_eq!(next(), before);
}

/// A ratchet that a token has sealed shows its index in plain text.
#[test]
fn a_node_in_files_goes_on_past_a_ratchet_that_was_on_a_token() {
    let world = World::new();
    let sealed = |index: u64| [&b"KCR1"[..], &index.to_be_bytes(), &[0; 60]].concat();
    world.write("alice.ratchet", sealed(7));
    let provision = ["provision", "producer", "--node", "alice"];
    let stderr = world.fail(&provision, 1);
    assert!(complaint(&stderr).contains("alice.ratchet"), "{stderr}");
    assert!(complaint(&stderr).contains("--force"), "{stderr}");
    // A node without a ratchet forgets nothing.
    world.provision("consumer", "alice", &["--force"]);
    world.provision("producer", "alice", &["--force"]);
    let seed = Seed::decode(&world.read("alice.seed")).unwrap();
    assert_eq!(seed.index(), 7);
    assert!(!world.path("alice.ratchet").exists());

    // No step of this ratchet was used.
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

/// As with a configuration and secrets that Kubernetes mounts read-only.
#[test]
fn a_consumer_writes_only_to_its_state_dir() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    let mounted = world.path("mounted");
    let state = world.path("state");
    fs::create_dir(&mounted).unwrap();
    let text = String::from_utf8(world.read("bob.config")).unwrap();
    let (node, state_dir) = ("[bob]\n", state.display());
    let text = text.replacen(node, &format!("{node}state_dir : {state_dir}\n"), 1);
    fs::write(mounted.join("bob.config"), text.replace('\n', "\r\n")).unwrap();
    fs::rename(world.path("bob.crypto"), mounted.join("bob.crypto")).unwrap();
    fs::remove_file(world.path("bob.config")).unwrap();
    let content = || {
        let read = |name| fs::read(mounted.join(name)).unwrap();
        let names = fs::read_dir(&mounted).unwrap();
        let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        (names, read("bob.config"), read("bob.crypto"))
    };
    let before = content();

    world.write("in.txt", "a\n");
    let mut alice = world.start(&["produce", "t", "--node", "alice", "in.txt"]);
    alice.says("sent 1 records");
    let bob = mounted.join("bob.config");
    let bob = bob.to_str().unwrap();
    let consume = [
        "consume",
        "t",
        "--node",
        bob,
        "--from-beginning",
        "--count",
        "1",
    ];
    assert_eq!(world.succeed(&consume), "a\n");
    alice.terminate();
    alice.end();

    // A list is state, too.
    let key = status(&world, "alice")["chains"][0]["key"].clone();
    world.succeed(&["trust", "deny", "--of", "alice", "--node", bob]);
    let lists = world.succeed(&["trust", "list", "--node", bob]);
    assert!(lists.contains(key.as_str().unwrap()), "{lists}");
    assert_eq!(content(), before);
    assert!(state.join("bob.state").exists() && state.join("bob.lock").exists());
}

/// As with files that another user made, or a volume that is mounted read-only.
#[test]
fn a_folder_that_cannot_be_written_is_reported_before_anything_is_sent() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.write("in.txt", "a\n");
    world.create("t", 1);
    let other = User::without_rights_in(&world);
    let stderr = fail(&mut other.kc(&PRODUCE_ALL), 1);
    let folder = world.path("").canonicalize().unwrap();
    let complaint = complaint(&stderr);
    assert!(complaint.contains(folder.to_str().unwrap()), "{stderr}");
    assert!(stderr.contains("`state_dir`"), "{stderr}");
    assert_eq!(world.end_of("t"), 0);
}

/// A user that may read the files of a folder, and may not write to it.
struct User<'w>(&'w World, Option<u32>);

impl<'w> User<'w> {
    /// Takes the right to write to the folder away. The superuser always has it, and therefore becomes another user, who
    /// owns the files but not the folder.
    fn without_rights_in(world: &'w World) -> Self {
        const NOBODY: u32 = 65534;
        let folder = world.path("");
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            for file in fs::read_dir(&folder).unwrap() {
                chown(file.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
            }
            // The other user may have no access to the folder of the build.
            fs::copy(env!("CARGO_BIN_EXE_kc"), world.path("kc")).unwrap();
        }
        fs::set_permissions(&folder, Permissions::from_mode(0o555)).unwrap();
        Self(world, is_root.then_some(NOBODY))
    }

    fn kc(&self, args: &[&str]) -> Command {
        let command = self.0.kc(args);
        let Some(user) = self.1 else { return command };
        let mut other = Command::new(self.0.path("kc"));
        other.args(command.get_args()).uid(user).gid(user);
        other.current_dir(self.0.path("")).stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => other.env(name, value),
                None => other.env_remove(name),
            };
        }
        other
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        // The folder can be removed again.
        let _ = fs::set_permissions(self.0.path(""), Permissions::from_mode(0o755));
    }
}
