//! Secrets that a running node leaves in its memory and in its logs.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::memory::{Region, image};
use crate::secrets::{Secrets, contains, count, halves, spellings};
use crate::tokens::Tokens;
use crate::world::{Process, succeed};

/// Makes the GNU C library overwrite freed memory, without a cache that returns it unchanged.
const OVERWRITE_FREED: &str = "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0";

/// A producer whose ratchet turns each second, with all logs.
struct Alice {
    process: Process,
    log: Vec<String>,
}

impl Alice {
    fn start(command: &mut Command) -> Self {
        let command = command
            .env("RUST_LOG", "trace")
            .env("KC_CONFIG__NODE__CRYPTO_RATCHET_INTERVAL", "1")
            .stdin(Stdio::piped());
        Self {
            process: Process::spawn(command),
            log: Vec::new(),
        }
    }

    /// Waits for the next step. Returns its index.
    fn turned(&mut self) -> usize {
        self.log.extend(self.process.hear("ratchet turned index="));
        let (_, index) = self.log.last().unwrap().rsplit_once('=').unwrap();
        index.parse().unwrap()
    }

    /// Sends a line, and hands out its data key to bob, who asks once. After that nothing is left to sign.
    fn answer(&mut self, tokens: &Tokens) {
        writeln!(self.process.child.stdin.as_ref().unwrap(), "line").unwrap();
        let consume = ["consume", "t", "--node", "bob", "--from-beginning"];
        let mut bob = tokens.kc(&[&consume[..], &["--count", "1", "--timeout", "60s"]].concat());
        succeed(bob.env("KC_CONFIG__NODE__CRYPTO_SUB_INTERVAL", "60"));
        self.log.extend(self.process.hear("keys handed out"));
    }

    fn image(&self) -> Vec<Region> {
        image(self.process.child.id())
    }

    fn stop(&mut self) {
        self.process.terminate();
        assert_eq!(self.process.end(), 0);
    }
}

/// Returns a producer with keys of this type, still in files, and a consumer.
fn alice_and_bob(key_type: &str) -> (Tokens, Secrets) {
    let tokens = Tokens::new();
    let typed = ["--key-type", key_type];
    tokens.world.provision("producer", "alice", &typed);
    tokens.world.provision("consumer", "bob", &typed);
    let secrets = Secrets::of(&tokens.world, "alice");
    (tokens, secrets)
}

fn produce(tokens: &Tokens) -> Command {
    tokens.kc(&["produce", "t", "--node", "alice"])
}

fn find<'r>(image: &'r [Region], secret: &[u8]) -> Option<&'r str> {
    let region = image.iter().find(|region| contains(&region.bytes, secret));
    region.map(|region| region.name.as_str())
}

/// Checks that the memory contains the step in use, and no half of a step before it. While a step is replaced, the step
/// before it is still in memory.
fn past_steps_are_gone(image: &[Region], secrets: &Secrets, index: usize) {
    let mut in_use = secrets.steps[index - 1..].iter();
    assert!(
        in_use.any(|secret| find(image, secret).is_some()),
        "the step in use was not found"
    );
    for (past, secret) in secrets.steps[..index - 1].iter().enumerate() {
        for half in halves(secret) {
            assert_eq!(find(image, half), None, "step {past} at step {index}");
        }
    }
}

fn the_log_has_none(log: &[String], secrets: &Secrets) {
    for spelling in secrets.all().flat_map(|secret| spellings(secret)) {
        let line = log.iter().find(|line| line.contains(&spelling));
        assert_eq!(line, None);
    }
}

#[test]
fn a_node_on_a_token_holds_neither_its_signing_key_nor_past_steps() {
    nothing_is_left("1");
}

#[test]
fn a_node_with_a_hybrid_key_on_a_token_holds_neither_it_nor_past_steps() {
    nothing_is_left("4");
}

/// SoftHSM is a library in the node's process. With each signature it frees the second half of an Ed25519 seed without
/// wiping it. Therefore the test searches only memory that is not freed: the C library overwrites the rest.
fn nothing_is_left(key_type: &str) {
    let (tokens, secrets) = alice_and_bob(key_type);
    tokens.import("alice");
    for overwrites_freed in [false, true] {
        let mut command = produce(&tokens);
        if overwrites_freed {
            command.env("GLIBC_TUNABLES", OVERWRITE_FREED);
        }
        let mut alice = Alice::start(&mut command);
        alice.turned();
        let started = alice.image();
        alice.turned();
        let index = alice.turned();
        let turned = alice.image();
        alice.answer(&tokens);
        let answered = alice.image();
        for image in [&turned, &answered] {
            past_steps_are_gone(image, &secrets, index);
        }
        for image in [&started, &turned, &answered] {
            let halves_of = |secret: &Vec<u8>| halves(secret).map(|half| find(image, half));
            assert_eq!(find(image, &secrets.ed25519), None);
            if overwrites_freed {
                assert_eq!(halves_of(&secrets.ed25519), [None; 2]);
            }
            let slh_dsa = secrets.slh_dsa.as_ref().map(halves_of);
            assert_eq!(slh_dsa.unwrap_or_default(), [None; 2]);
        }
        the_log_has_none(&alice.log, &secrets);
        alice.stop();
    }
}

#[test]
fn a_node_in_files_holds_its_signing_key_and_no_past_steps() {
    let (tokens, secrets) = alice_and_bob("1");
    let mut alice = Alice::start(&mut produce(&tokens));
    alice.answer(&tokens);
    let index = (0..4).map(|_| alice.turned()).last().unwrap();
    let image = alice.image();
    past_steps_are_gone(&image, &secrets, index);
    assert!(find(&image, &secrets.ed25519).is_some());
    the_log_has_none(&alice.log, &secrets);
    alice.stop();
}

#[test]
fn the_step_in_use_is_held_once() {
    for on_a_token in [false, true] {
        let (tokens, secrets) = alice_and_bob("1");
        if on_a_token {
            tokens.import("alice");
        }
        let alice = tokens.produce("line");
        let image = image(alice.child.id());
        for half in halves(&secrets.steps[0]) {
            let copies = image.iter().map(|region| count(&region.bytes, half));
            assert_eq!(copies.sum::<usize>(), 1, "on a token: {on_a_token}");
        }
    }
}
