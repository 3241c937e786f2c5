//! What a running node leaves behind of its secrets: in its memory, and in its logs.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::memory::{Region, image};
use crate::secrets::{Secrets, contains, halves, spellings};
use crate::tokens::Tokens;
use crate::world::Process;

/// A producer whose ratchet turns each second, and who logs all there is.
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

    /// Waits for the next step; gives its index.
    fn turned(&mut self) -> usize {
        self.log.extend(self.process.hear("ratchet turned index="));
        let (_, index) = self.log.last().unwrap().rsplit_once('=').unwrap();
        index.parse().unwrap()
    }

    /// Sends a line, and hands out its key to bob.
    fn answer(&mut self, tokens: &Tokens) {
        writeln!(self.process.child.stdin.as_ref().unwrap(), "line").unwrap();
        let consume = ["consume", "t", "--node", "bob", "--from-beginning"];
        tokens.succeed(&[&consume[..], &["--count", "1", "--timeout", "60s"]].concat());
    }

    fn image(&self) -> Vec<Region> {
        image(self.process.child.id())
    }

    fn stop(&mut self) {
        self.process.terminate();
        assert_eq!(self.process.end(), 0);
    }
}

fn find<'r>(image: &'r [Region], secret: &[u8]) -> Option<&'r str> {
    let region = image.iter().find(|region| contains(&region.bytes, secret));
    region.map(|region| region.name.as_str())
}

/// Finds the step in use, and none before it, not even by half. While a step is taken into use, the one before it is still
/// there.
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

/// Looks at what the node was asked to sign and seal, too.
fn the_log_has_none(log: &[String], secrets: &Secrets) {
    let told = log.iter().any(|line| line.contains("keys handed out"));
    assert!(told, "{log:#?}");
    for secret in secrets.steps.iter().chain([&secrets.identity]) {
        for spelling in spellings(secret) {
            let line = log.iter().find(|line| line.contains(&spelling));
            assert_eq!(line, None);
        }
    }
}

/// SoftHSM is a library in the node's process, and frees the second half of an Ed25519 seed without wiping it, each time it
/// signs. So the halves are looked for in what is not freed: the C library overwrites the rest.
#[test]
fn a_node_on_a_token_holds_neither_its_signing_key_nor_past_steps() {
    let tokens = Tokens::new();
    tokens.world.provision("prodcon", "alice", &[]);
    tokens.world.provision("consumer", "bob", &[]);
    let secrets = Secrets::of(&tokens.world, "alice");
    tokens.import("alice");
    for overwrites_freed in [false, true] {
        let mut command = tokens.kc(&["produce", "t", "--node", "alice"]);
        if overwrites_freed {
            command.env("MALLOC_PERTURB_", "165");
        }
        let mut alice = Alice::start(&mut command);
        alice.turned();
        let started = alice.image();
        alice.turned();
        let index = alice.turned();
        let turned = alice.image();
        alice.answer(&tokens);
        alice.turned();
        let answered = alice.image();
        for image in [&turned, &answered] {
            past_steps_are_gone(image, &secrets, index);
        }
        for image in [&started, &turned, &answered] {
            assert_eq!(find(image, &secrets.identity), None);
            for half in halves(&secrets.identity) {
                assert!(!overwrites_freed || find(image, half).is_none());
            }
        }
        the_log_has_none(&alice.log, &secrets);
        alice.stop();
    }
}

#[test]
fn a_node_in_files_holds_its_signing_key_and_no_past_steps() {
    let tokens = Tokens::new();
    tokens.world.provision("prodcon", "alice", &[]);
    tokens.world.provision("consumer", "bob", &[]);
    let secrets = Secrets::of(&tokens.world, "alice");
    let mut alice = Alice::start(&mut tokens.kc(&["produce", "t", "--node", "alice"]));
    alice.answer(&tokens);
    let index = (0..4).map(|_| alice.turned()).last().unwrap();
    let image = alice.image();
    past_steps_are_gone(&image, &secrets, index);
    assert!(find(&image, &secrets.identity).is_some());
    the_log_has_none(&alice.log, &secrets);
    alice.stop();
}
