//! The program with a node's keys on a PKCS#11 token. Needs SoftHSM: Debian's package softhsm2.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[allow(dead_code, reason = "shared with other tests, which use more of it")]
#[path = "../program/world.rs"]
mod world;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use kc::core::store::NodeSecrets;
use world::{Process, World, complaint, fail, succeed};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "1234";

/// A world with a token.
struct Tokens {
    world: World,
    uri: String,
}

impl Tokens {
    fn new() -> Self {
        let world = World::new();
        fs::create_dir(world.path("tokens")).unwrap();
        let settings = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            world.path("tokens").display()
        );
        world.write("softhsm.conf", settings);
        let uri = format!("pkcs11:token=kc?module-path={MODULE}");
        let tokens = Self { world, uri };
        tokens.succeed(&["hsm", "init", &tokens.uri]);
        tokens
    }

    /// `kc` with the token and its PINs.
    fn kc(&self, args: &[&str]) -> Command {
        let mut command = self.world.kc(args);
        command
            .env("SOFTHSM2_CONF", self.world.path("softhsm.conf"))
            .env("KC_HSM_SO_PIN", "87654321")
            .env("KC_HSM_PIN", PIN);
        command
    }

    fn succeed(&self, args: &[&str]) -> String {
        String::from_utf8(succeed(&mut self.kc(args)).stdout).unwrap()
    }

    fn import(&self, node: &str) {
        self.succeed(&["hsm", "import", &self.uri, "--node", node, "--shred"]);
    }

    /// Sends a line by alice, and stays.
    fn produce(&self, line: &str) -> Process {
        self.world.write("line", format!("{line}\n"));
        let mut command = self.kc(&["produce", "t", "line", "--node", "alice"]);
        let producer = Process::spawn(&mut command);
        producer.says("all sent");
        producer
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

/// The secret of the first signing key in a `.crypto` file, after making sure that it would be found there.
fn identity(file: &[u8]) -> Vec<u8> {
    let secrets = NodeSecrets::decode(file).unwrap().secrets;
    let seed = secrets.signing_keys().next().unwrap().expose_ed25519_seed();
    assert!(contains(file, seed.expose()));
    seed.expose().to_vec()
}

/// Every file in a folder; those of the token have one of their own.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.is_file());
    files
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn a_node_moves_onto_a_token_and_goes_on_where_it_was() {
    for key_type in ["1", "4"] {
        let tokens = Tokens::new();
        let world = &tokens.world;
        let typed = ["--key-type", key_type];
        world.provision("prodcon", "alice", &typed);
        world.provision("consumer", "bob", &typed);
        let mut producer = tokens.produce("from a file");
        producer.terminate();
        assert_eq!(producer.end(), 0);
        let identity = identity(&world.read("alice.crypto"));
        let ratchet = world.read("alice.seed");
        // The secret is what the file ends with.
        let ratchet = &ratchet[ratchet.len() - 32..];

        tokens.import("alice");
        assert!(!world.path("alice.crypto").exists() && !world.path("alice.seed").exists());
        let mut producer = tokens.produce("from a token");
        let consume = ["consume", "t", "--node", "bob", "--from-beginning"];
        let read = tokens.succeed(&[&consume[..], &["--count", "2", "--timeout", "60s"]].concat());
        // Keys of before the move are still handed out.
        assert_eq!(read, "from a file\nfrom a token\n");
        producer.terminate();
        assert_eq!(producer.end(), 0);

        for (path, content) in files(&world.path("")) {
            assert!(!contains(&content, &identity), "a signing key in {path}");
            assert!(!contains(&content, ratchet), "a ratchet's secret in {path}");
        }
        let listed = tokens.succeed(&["hsm", "list", &tokens.uri]);
        for private in listed.lines().filter(|line| !line.contains("public key")) {
            assert!(private.ends_with("sensitive non-extractable"), "{private}");
        }
    }
}

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

    // Past keys still open, and so does the half of the signing key that the token cannot hold.
    let mut serving = tokens.kc(&["node", "serve", "--node", "alice"]);
    let _serving = Process::spawn(serving.stdout(Stdio::null()));
    let consume = ["consume", "t", "--node", "bob", "--from-beginning"];
    let read = tokens.succeed(&[&consume[..], &["--count", "1", "--timeout", "60s"]].concat());
    assert_eq!(read, "before\n");
}

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

#[test]
fn what_is_wrong_with_a_token_is_told_with_advice() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    world.provision("producer", "alice", &[]);
    tokens.import("alice");
    let serve = ["node", "serve", "--node", "alice"];
    let refused_as = |command: &mut Command, exit, told: &str| {
        let stderr = fail(command, exit);
        assert!(complaint(&stderr).contains(told), "{stderr}");
        assert!(!stderr.contains(PIN), "{stderr}");
    };
    let refused = |command: &mut Command, told| refused_as(command, 1, told);
    refused(tokens.kc(&serve).env("KC_HSM_PIN", "9999"), "wrong");
    refused_as(tokens.kc(&serve).env_remove("KC_HSM_PIN"), 2, "pin-source");
    let again = ["hsm", "import", &tokens.uri, "--node", "alice"];
    refused(&mut tokens.kc(&again), "on a token already");
    fs::rename(world.path("tokens"), world.path("away")).unwrap();
    fs::create_dir(world.path("tokens")).unwrap();
    refused(&mut tokens.kc(&serve), "insert the token");
    let elsewhere = "pkcs11:token=kc?module-path=/bin/true";
    refused(
        &mut tokens.kc(&["hsm", "doctor", elsewhere]),
        "not a PKCS#11 module",
    );
}
