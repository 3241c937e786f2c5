//! Nodes that are provisioned on a token.

use std::fs;
use std::process::Command;

use kc::core::ratchet::Seed;
use serde_json::Value;

use crate::tokens::Tokens;
use crate::world::{complaint, fail, succeed};

impl Tokens {
    /// Provisions a node on the token; its configuration names the broker.
    pub(crate) fn provision(&self, role: &str, node: &str, more: &[&str]) -> String {
        String::from_utf8(succeed(&mut self.begin(role, node, more)).stdout).unwrap()
    }

    fn begin(&self, role: &str, node: &str, more: &[&str]) -> Command {
        let servers = &self.world.address;
        let provision = ["provision", role, "--node", node, "-b", servers];
        self.kc(&[&provision[..], &["--keystore", &self.uri], more].concat())
    }

    /// Alice sends a line, and bob reads it.
    pub(crate) fn exchange(&self, line: &str) {
        let mut producer = self.produce(line);
        assert_eq!(self.read("1"), format!("{line}\n"));
        producer.terminate();
        assert_eq!(producer.end(), 0);
    }

    fn keys(&self, node: &str, changes: &[&str]) -> Value {
        let keys = ["node", "keys", "--node", node, "--json"];
        serde_json::from_str(&self.succeed(&[&keys[..], changes].concat())).unwrap()
    }
}

#[test]
fn a_node_begins_on_a_token_and_leaves_no_secret_in_files() {
    for key_type in ["1", "4"] {
        let tokens = Tokens::new();
        let typed = ["--key-type", key_type];
        tokens.provision("prodcon", "alice", &typed);
        tokens.provision("prodcon", "bob", &typed);
        for node in ["alice", "bob"] {
            for file in ["crypto", "seed"] {
                let path = tokens.world.path(&format!("{node}.{file}"));
                assert!(!path.exists(), "{}", path.display());
            }
        }
        tokens.exchange("by tokens alone");
    }
}

#[test]
fn keys_that_were_drawn_before_are_those_of_the_node() {
    let tokens = Tokens::new();
    let generate = ["hsm", "generate", &tokens.uri, "--node", "alice", "--json"];
    let drawn: Value = serde_json::from_str(&tokens.succeed(&generate)).unwrap();
    // Not without --adopt.
    let stderr = fail(&mut tokens.kc(&generate), 1);
    assert!(complaint(&stderr).contains("--adopt"), "{stderr}");
    let again = tokens.succeed(&[&generate[..], &["--adopt"]].concat());
    assert_eq!(serde_json::from_str::<Value>(&again).unwrap(), drawn);
    let stderr = fail(&mut tokens.begin("producer", "alice", &[]), 1);
    assert!(complaint(&stderr).contains("--adopt"), "{stderr}");
    tokens.provision("producer", "alice", &["--adopt"]);
    assert_eq!(
        tokens.keys("alice", &[])["keys"][0]["public"],
        drawn["public"]
    );

    // A token that cannot hold all parts of a key gets no key in advance.
    let hybrid = [&generate[..], &["--key-type", "4"]].concat();
    let stderr = fail(&mut tokens.kc(&hybrid), 1);
    assert!(complaint(&stderr).contains("--keystore"), "{stderr}");
}

#[test]
fn two_nodes_of_one_id_on_one_token_leave_each_other_alone() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    fs::create_dir(world.path("elsewhere")).unwrap();
    tokens.provision("producer", "alice", &[]);
    tokens.provision("consumer", "bob", &[]);
    let key = |node: &str| tokens.keys(node, &[])["keys"][0]["public"].clone();
    let listed = || tokens.succeed(&["hsm", "list", &tokens.uri]);
    let (first, before) = (key("alice"), listed());

    let elsewhere = |more| {
        let mut second = tokens.begin("producer", "alice", &["--dir", "elsewhere", more]);
        second.env("KC_ROOT_PASSWORD", "of another root of trust");
        second
    };
    for more in ["--json", "--adopt"] {
        let stderr = fail(&mut elsewhere(more), 1);
        assert!(complaint(&stderr).contains("--force"), "{stderr}");
        assert_eq!(listed(), before);
        assert!(!world.path("elsewhere/alice.config").exists());
    }
    succeed(&mut elsewhere("--force"));
    assert_eq!(key("alice"), first);
    assert_ne!(key("elsewhere/alice.config"), first);
    for line in before.lines() {
        assert!(listed().contains(line), "{line}");
    }
    tokens.exchange("by the first");
}

#[test]
fn a_node_that_is_not_made_leaves_nothing_on_the_token() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    tokens.provision("producer", "alice", &[]);
    let before = tokens.succeed(&["hsm", "list", &tokens.uri]);
    let mut other = tokens.begin("producer", "alice", &["--force"]);
    let stderr = fail(other.env("KC_ROOT_PASSWORD", "of another root of trust"), 5);
    assert!(complaint(&stderr).contains("wrong root"), "{stderr}");
    assert_eq!(tokens.succeed(&["hsm", "list", &tokens.uri]), before);

    // No keys remain of a node whose files cannot be written.
    fs::create_dir(world.path("carol.crypto")).unwrap();
    fail(&mut tokens.begin("producer", "carol", &[]), 1);
    assert_eq!(tokens.succeed(&["hsm", "list", &tokens.uri]), before);
}

#[test]
fn a_node_that_takes_the_place_of_another_goes_on_past_its_ratchet() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    tokens.provision("producer", "alice", &[]);
    tokens.provision("consumer", "bob", &[]);
    tokens.exchange("by the first");
    let used = used_steps(&tokens);
    assert!(used > 0);

    // Even if its configuration is gone, the keys are not taken.
    fs::remove_file(world.path("alice.config")).unwrap();
    for more in [&[][..], &["--adopt"]] {
        let stderr = fail(&mut tokens.begin("producer", "alice", more), 1);
        assert!(complaint(&stderr).contains("--force"), "{stderr}");
    }
    tokens.provision("producer", "alice", &["--force"]);
    assert_eq!(used_steps(&tokens), used);
    let mut producer = tokens.produce("by the second");
    assert!(used_steps(&tokens) > used);
    producer.terminate();
    assert_eq!(producer.end(), 0);
}

#[test]
fn a_node_that_goes_back_to_files_goes_on_past_its_ratchet() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    tokens.provision("producer", "alice", &[]);
    let mut producer = tokens.produce("by a token");
    producer.terminate();
    assert_eq!(producer.end(), 0);
    let used = used_steps(&tokens);
    assert!(used > 0);

    fs::remove_file(world.path("alice.config")).unwrap();
    let provision = ["provision", "producer", "--node", "alice"];
    let stderr = fail(&mut tokens.kc(&provision), 1);
    assert!(complaint(&stderr).contains("alice.ratchet"), "{stderr}");
    assert!(complaint(&stderr).contains("--force"), "{stderr}");
    tokens.succeed(&[&provision[..], &["--force"]].concat());
    let seed = Seed::decode(&world.read("alice.seed")).unwrap();
    assert_eq!(seed.index(), used);
}

/// Returns the number of steps that alice's ratchet has taken, from the id of its key on the token, which is the index.
fn used_steps(tokens: &Tokens) -> u64 {
    let listed = tokens.succeed(&["hsm", "list", &tokens.uri]);
    let label = tokens.label("ratchet");
    let mut lines = listed.lines();
    let ratchet = lines.find(|line| line.starts_with(&label));
    let mut words = ratchet.unwrap().split_whitespace();
    let id = words.find(|word| word.len() == 16 && word.chars().all(|c| c.is_ascii_hexdigit()));
    u64::from_str_radix(id.unwrap(), 16).unwrap()
}

#[test]
fn a_lost_ratchet_is_begun_anew() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    tokens.provision("producer", "alice", &[]);
    tokens.provision("consumer", "bob", &[]);
    let mut producer = tokens.produce("before");
    producer.terminate();
    assert_eq!(producer.end(), 0);
    let used = used_steps(&tokens);
    fs::remove_file(world.path("alice.ratchet")).unwrap();
    let serve = ["node", "serve", "--node", "alice"];
    let stderr = fail(&mut tokens.kc(&serve), 1);
    assert!(complaint(&stderr).contains("renew-ratchet"), "{stderr}");

    tokens.succeed(&["hsm", "renew-ratchet", "--node", "alice"]);
    assert!(used_steps(&tokens) > used);
    let mut producer = tokens.produce("after");
    assert_eq!(tokens.read("2"), "before\nafter\n");
    producer.terminate();
    assert_eq!(producer.end(), 0);
}

#[test]
fn the_keys_of_a_node_are_changed_where_they_are() {
    let tokens = Tokens::new();
    tokens.provision("producer", "alice", &[]);
    tokens.provision("consumer", "bob", &["--key-type", "4"]);
    let first = tokens.keys("alice", &[])["keys"][0]["public"].clone();
    let changes = ["--exchange", "2,1", "--legacy-requests", "on"];
    let changed = tokens.keys("alice", &changes);
    assert_eq!(changed["exchanges"], Value::from([2, 1].as_slice()));
    assert_eq!(changed["legacy_requests"], true);

    let keys = tokens.keys("alice", &["--add-key-type", "4"])["keys"].clone();
    assert_eq!(keys[0]["public"], first);
    assert_eq!(keys[1]["type"], 4);
    assert_eq!(keys[1]["certified"], false);
    let issue = ["chain", "issue", "--role", "producer", "--node", "alice"];
    tokens.succeed(&[&issue[..], &["--key-type", "4"]].concat());
    assert_eq!(tokens.keys("alice", &[])["keys"][1]["certified"], true);
    tokens.exchange("by the second key");
}

#[test]
fn a_move_is_finished_by_doing_it_again() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    world.provision("producer", "alice", &[]);
    let seed = world.read("alice.seed");
    let import = ["hsm", "import", &tokens.uri, "--node", "alice"];
    tokens.succeed(&import);
    assert!(world.path("alice.crypto").exists() && !world.path("alice.seed").exists());
    // The state after an interruption before the end.
    world.write("alice.seed", seed);
    tokens.succeed(&[&import[..], &["--shred"]].concat());
    assert!(!world.path("alice.crypto").exists() && !world.path("alice.seed").exists());
    let stderr = fail(&mut tokens.kc(&import), 1);
    assert!(complaint(&stderr).contains("already"), "{stderr}");
}

#[test]
fn a_move_is_finished_wherever_the_files_are() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    world.provision("producer", "alice", &[]);
    let [keys, ratchet] = ["alice.crypto", "alice.seed"].map(|file| {
        let elsewhere = format!("keys/{file}");
        fs::create_dir_all(world.path("keys")).unwrap();
        fs::rename(world.path(file), world.path(&elsewhere)).unwrap();
        world.path(&elsewhere)
    });
    tokens.reconfigure("file#", "file#keys/");
    let seed = fs::read(&ratchet).unwrap();
    let import = ["hsm", "import", &tokens.uri, "--node", "alice"];
    tokens.succeed(&import);
    assert!(keys.exists() && !ratchet.exists());
    // The state after an interruption before the end.
    fs::write(&ratchet, seed).unwrap();
    let left = "[alice-hsm]\nleft_ratchet : file#keys/alice.seed\n";
    tokens.reconfigure("[alice-hsm]\n", left);

    tokens.succeed(&[&import[..], &["--shred"]].concat());
    assert!(!keys.exists() && !ratchet.exists());
    let config = tokens.configuration();
    assert!(!config.contains("keys/"), "{config}");
    let stderr = fail(&mut tokens.kc(&import), 1);
    assert!(complaint(&stderr).contains("already"), "{stderr}");
}
