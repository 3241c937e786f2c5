//! A supervisor that starts a node again and again, with a PIN that the token refuses.

use std::fs;

use serde_json::Value;

use crate::faults::faulty;
use crate::tokens::{PIN, Tokens};
use crate::world::{complaint, fail, succeed};

const SERVE: [&str; 4] = ["node", "serve", "--node", "alice"];

impl Tokens {
    fn logins(&self) -> usize {
        self.world.read("logins").len()
    }

    /// Starts alice with a PIN that the token refuses. Returns the error, and the number of logins at the token.
    fn refuses(&self, pin: &str) -> (String, usize) {
        let before = self.logins();
        let stderr = fail(self.kc(&SERVE).env("KC_HSM_PIN", pin), 1);
        assert!(!stderr.contains(pin), "{stderr}");
        (complaint(&stderr).to_owned(), self.logins() - before)
    }

    fn starts(&self) {
        let produce = ["produce", "t", "lines", "--node", "alice"];
        self.world.write("lines", "line\n");
        succeed(&mut self.kc(&[&produce[..], &["--exit-after", "0s"]].concat()));
    }
}

fn with_alice() -> Tokens {
    let tokens = faulty();
    tokens.provision("producer", "alice", &[]);
    tokens
}

#[test]
fn a_refused_pin_costs_one_try_however_often_the_node_is_started() {
    let tokens = with_alice();
    let (told, tries) = tokens.refuses("wrong-one");
    assert!(told.contains("is wrong"), "{told}");
    assert_eq!(tries, 1);
    for _ in 0..3 {
        let (told, tries) = tokens.refuses("wrong-one");
        assert!(told.contains("alice.refused)"), "{told}");
        assert_eq!(tries, 0);
    }
    // With the correct PIN, the node works as before.
    tokens.starts();
    assert!(!tokens.world.path("alice.refused").exists());
    assert_eq!(tokens.refuses("wrong-one").1, 1);
}

#[test]
fn the_third_pin_is_left_to_a_person() {
    let tokens = with_alice();
    for wrong in ["wrong-one", "wrong-two"] {
        assert_eq!(tokens.refuses(wrong).1, 1);
    }
    let stored = String::from_utf8(tokens.world.read("alice.refused")).unwrap();
    assert_eq!(stored.lines().count(), 2);
    assert!(!stored.contains("wrong"), "{stored}");
    for pin in ["wrong-three", PIN] {
        let (told, tries) = tokens.refuses(pin);
        assert!(
            told.contains("delete the file that records refused PINs"),
            "{told}"
        );
        assert_eq!(tries, 0);
    }
    fs::remove_file(tokens.world.path("alice.refused")).unwrap();
    tokens.starts();
}

/// If a token reports that another user's PIN was wrong, at most one try is used.
#[test]
fn the_tries_of_others_count() {
    let tokens = with_alice();
    tokens.world.write("count-low", "");
    assert_eq!(tokens.refuses("wrong-one").1, 1);
    let (told, tries) = tokens.refuses("wrong-two");
    assert!(
        told.contains("only a PIN typed at a prompt is tried"),
        "{told}"
    );
    assert_eq!(tries, 0);
}

/// Every command that may ask for a PIN accepts a file.
#[test]
fn a_file_has_the_pin_for_every_command_that_may_ask() {
    let tokens = with_alice();
    let world = &tokens.world;
    tokens.succeed(&["hsm", "import-root", &tokens.uri]);
    let object = |label: &str| {
        let object = format!("token=kc;object={label}");
        tokens.uri.replace("token=kc", &object)
    };
    let root_key = object("kc-root:root:id");
    let provisioner = object("kc-provisioner:consumer:id");
    let root = tokens.succeed(&["chain", "root"]);
    let root = root.trim();
    let requests = ["chain", "provisioners", "--json", "--root-public", root];
    let requests = tokens.succeed(&requests);
    let request: Value = serde_json::from_str(requests.lines().next().unwrap()).unwrap();
    world.write("request", request["request"].as_str().unwrap());
    world.write("wrong", "wrong-one");
    world.write("right", PIN);
    let by_node = |command: &[&'static str]| [command, &["--node", "alice"]].concat();
    let deny = ["trust", "deny", root, "--publish", "-b", &world.address];
    let new = ["provision", "consumer", "--node", "new"];
    let by_provisioner = ["--root-public", root, "--signed-provisioner", "AAAA"];
    let by_provisioner = [
        &new[..],
        &by_provisioner,
        &["--provisioner-key", &provisioner],
    ]
    .concat();
    for command in [
        by_node(&["produce", "t"]),
        by_node(&["consume", "t"]),
        by_node(&["controller"]),
        by_node(&["chain-server"]),
        by_node(&["node", "serve"]),
        by_node(&["node", "keys", "--add-key-type", "4"]),
        by_node(&["trust", "revoke"]),
        by_node(&["hsm", "rotate-opaque"]),
        by_node(&["hsm", "renew-ratchet"]),
        [&deny[..], &["--signer", "alice"]].concat(),
        [&deny[..], &["--root-key", &root_key]].concat(),
        vec!["chain", "root", "--root-key", &root_key],
        vec!["chain", "sign", "request", "--yes", "--root-key", &root_key],
        by_provisioner,
        [&new[..], &["--keystore", &tokens.uri]].concat(),
        vec!["hsm", "list", &tokens.uri],
    ] {
        let flag = if command.contains(&"--provisioner-key") {
            "--provisioner-pin-file"
        } else {
            "--pin-file"
        };
        let mut told = tokens.kc(&[&command[..], &[flag, "wrong"]].concat());
        let stderr = fail(told.env_remove("KC_HSM_PIN"), 1);
        assert!(
            complaint(&stderr).contains("PIN of token \"kc\" is wrong"),
            "{stderr}"
        );
        // A refused PIN that is not remembered.
        let _ = fs::remove_file(world.path("alice.refused"));
    }
    let produce = by_node(&["produce", "t", "lines", "--exit-after", "0s"]);
    let chain_root = vec!["chain", "root", "--root-key", &root_key];
    world.write("lines", "line\n");
    for command in [produce, chain_root] {
        let mut told = tokens.kc(&[&command[..], &["--pin-file", "right"]].concat());
        succeed(told.env_remove("KC_HSM_PIN"));
    }
    // The file has priority over the environment.
    let mut told = tokens.kc(&["node", "serve", "--node", "alice", "--pin-file", "wrong"]);
    fail(&mut told, 1);
}
