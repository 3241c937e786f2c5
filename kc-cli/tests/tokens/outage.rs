//! The token of a running node becomes unavailable, and available again.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{ChildStdout, Command, Stdio};

use crate::faults::{
    DEVICE_REMOVED, Fault, GENERATE_KEY, HANG, LOGIN, PIN_INCORRECT, SIGN_INIT, faulty,
};
use crate::tokens::Tokens;
use crate::world::{Process, complaint, fail, succeed};

/// A running `kc` that reads lines, or prints them.
struct Piped {
    process: Process,
    printed: Lines<BufReader<ChildStdout>>,
}

impl Piped {
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::spawn(command);
        let stdout = process.child.stdout.take().unwrap();
        Self {
            process,
            printed: BufReader::new(stdout).lines(),
        }
    }

    fn send(&self, line: &str) {
        let mut stdin = self.process.child.stdin.as_ref().unwrap();
        writeln!(stdin, "{line}").unwrap();
    }

    /// Returns the next printed line.
    fn next(&mut self) -> String {
        self.printed.next().expect("one more line").unwrap()
    }

    fn stop(&mut self) {
        self.process.terminate();
        assert_eq!(self.process.end(), 0);
    }
}

/// Returns the command that sends lines from stdin as alice.
fn alice(tokens: &Tokens, more: &[&str]) -> Command {
    tokens.kc(&[&["produce", "t", "--node", "alice"], more].concat())
}

/// Returns the command that prints the records of the topic, and ends after `count` records or soon.
fn reader(tokens: &Tokens, node: &str, count: &str) -> Command {
    tokens.kc(&[
        "-v",
        "consume",
        "t",
        "--from-beginning",
        "--node",
        node,
        "--count",
        count,
        "--timeout",
        "60s",
    ])
}

/// Returns a world in which alice's keys are on a token that may fail; bob and carol read.
fn with_alice_on_a_token() -> Tokens {
    let tokens = faulty();
    tokens.world.provision("producer", "alice", &[]);
    tokens.import("alice");
    for node in ["bob", "carol"] {
        tokens.world.provision("consumer", node, &[]);
    }
    tokens
}

fn failing(tokens: &Tokens) -> Vec<String> {
    let status = tokens.world.succeed(&["node", "status", "--node", "alice"]);
    let failing = status.lines().filter(|line| line.contains("FAILED"));
    failing.map(str::to_owned).collect()
}

#[test]
fn a_running_node_goes_on_without_its_token_and_hands_out_keys_when_it_is_back() {
    let tokens = with_alice_on_a_token();
    let mut alice = Piped::start(&mut alice(&tokens, &[]));
    let mut bob = Piped::start(&mut reader(&tokens, "bob", "3"));
    alice.send("before");
    assert_eq!(bob.next(), "before");
    assert!(failing(&tokens).is_empty());

    let fault = Fault::gone(&tokens);
    alice.send("meanwhile");
    assert_eq!(bob.next(), "meanwhile");
    let mut carol = Piped::start(&mut reader(&tokens, "carol", "3"));
    let told = alice.process.says("this node cannot sign now");
    assert!(
        told.ends_with("C_GetSlotList returned DeviceRemoved"),
        "{told}"
    );
    assert!(alice.process.says("advice:").contains("insert the token"));
    for _ in 0..5 {
        carol.process.says("keys requested");
    }
    let failing_now = failing(&tokens);
    assert_eq!(failing_now.len(), 1, "{failing_now:?}");
    assert!(
        failing_now[0].starts_with("signing keys:"),
        "{failing_now:?}"
    );
    assert!(
        failing_now[0].contains("insert the token"),
        "{failing_now:?}"
    );

    drop(fault);
    let said = alice.process.hear("this node can sign again");
    assert_eq!(said.len(), 1, "the token is told of once, not {said:#?}");
    assert_eq!(carol.next(), "before");
    assert_eq!(carol.next(), "meanwhile");
    assert!(failing(&tokens).is_empty());
    alice.send("after");
    for reader in [&mut bob, &mut carol] {
        assert_eq!(reader.next(), "after");
        assert_eq!(reader.process.end(), 0);
    }
    alice.stop();
}

#[test]
fn a_token_that_hangs_is_told_and_holds_nothing_else_up() {
    let tokens = with_alice_on_a_token();
    let mut alice = Piped::start(&mut alice(&tokens, &[]));
    let mut bob = Piped::start(&mut reader(&tokens, "bob", "2"));
    alice.send("before");
    assert_eq!(bob.next(), "before");

    let fault = Fault::of(&tokens, SIGN_INIT, 0, HANG);
    let mut carol = Piped::start(&mut reader(&tokens, "carol", "2"));
    let told = alice.process.says("this node cannot sign now");
    assert!(told.ends_with("no answer in time"), "{told}");
    assert!(alice.process.says("advice:").contains("network"));
    assert_eq!(failing(&tokens).len(), 1);
    alice.send("meanwhile");
    assert_eq!(bob.next(), "meanwhile");
    assert_eq!(bob.process.end(), 0);

    drop(fault);
    alice.process.says("this node can sign again");
    assert_eq!(carol.next(), "before");
    assert_eq!(carol.next(), "meanwhile");
    assert_eq!(carol.process.end(), 0);
    assert!(failing(&tokens).is_empty());
    alice.stop();
}

#[test]
fn a_node_ends_in_order_while_its_token_is_away() {
    let tokens = faulty();
    tokens.world.provision("producer", "alice", &[]);
    tokens.world.provision("consumer", "bob", &[]);
    tokens.import("alice");
    let mut producer = Piped::start(&mut alice(&tokens, &[]));
    let raw = ["consume", "t", "--raw", "-b", &tokens.world.address];
    let arrived = |count| {
        let raw = [&raw[..], &["--count", count, "--timeout", "60s"]].concat();
        succeed(&mut tokens.kc(&raw));
    };
    producer.send("before");
    arrived("1");
    let fault = Fault::gone(&tokens);
    producer.send("meanwhile");
    arrived("2");
    producer.stop();

    drop(fault);
    let mut serving = Piped::start(&mut tokens.kc(&["node", "serve", "--node", "alice"]));
    let mut bob = Piped::start(&mut reader(&tokens, "bob", "2"));
    for line in ["before", "meanwhile"] {
        assert_eq!(bob.next(), line);
    }
    serving.stop();
}

#[test]
fn the_ratchet_waits_for_its_token() {
    let tokens = faulty();
    tokens.world.provision("producer", "alice", &[]);
    tokens.world.provision("consumer", "bob", &[]);
    tokens.import("alice");
    let mut command = alice(&tokens, &["-v"]);
    let often = ("KC_CONFIG__NODE__CRYPTO_RATCHET_INTERVAL", "1");
    let mut alice = Piped::start(command.env(often.0, often.1));
    alice.send("before");
    alice.process.says("ratchet turned index=1");

    let fault = Fault::gone(&tokens);
    let turned = alice.process.hear("the ratchet cannot turn now");
    let turned = turned.iter().filter(|line| line.contains("ratchet turned"));
    let latest = 1 + turned.count();
    assert!(alice.process.says("advice:").contains("insert the token"));
    alice.send("meanwhile");

    drop(fault);
    let said = [latest + 1, latest + 2].map(|index| {
        let turned = format!("ratchet turned index={index}");
        alice.process.hear(&turned)
    });
    let said = said.concat();
    let told = |text: &str| said.iter().filter(|line| line.contains(text)).count();
    assert_eq!(told("ratchet turned"), 2, "{said:#?}");
    assert_eq!(told("the ratchet turns again"), 1, "{said:#?}");
    assert_eq!(told("cannot turn"), 0, "{said:#?}");
    alice.send("after");
    let mut bob = Piped::start(&mut reader(&tokens, "bob", "3"));
    for line in ["before", "meanwhile", "after"] {
        assert_eq!(bob.next(), line);
    }
    assert_eq!(bob.process.end(), 0);
    alice.stop();
}

#[test]
fn a_token_that_comes_back_with_another_pin_is_told_of_again() {
    let tokens = faulty();
    tokens.world.provision("producer", "alice", &[]);
    tokens.import("alice");
    let mut command = alice(&tokens, &["-v"]);
    let often = ("KC_CONFIG__NODE__CRYPTO_RATCHET_INTERVAL", "1");
    let mut alice = Piped::start(command.env(often.0, often.1));
    alice.send("before");
    alice.process.says("ratchet turned index=1");

    let fault = Fault::gone(&tokens);
    alice.process.says("the ratchet cannot turn now");
    assert!(alice.process.says("advice:").contains("insert the token"));
    fault.becomes(LOGIN, 0, PIN_INCORRECT);
    let told = alice.process.says("the ratchet cannot turn now");
    assert!(told.contains("PIN"), "{told}");
    assert!(alice.process.says("advice:").contains("correct the PIN"));
    alice.stop();
}

/// The token is available when the node starts, and unavailable when it needs its first key.
#[test]
fn a_producer_without_a_key_ends_with_advice_and_sends_all_the_next_time() {
    let tokens = faulty();
    tokens.world.provision("producer", "alice", &[]);
    tokens.world.provision("consumer", "bob", &[]);
    tokens.import("alice");
    tokens.world.write("lines", "one\ntwo\n");
    let produce = || alice(&tokens, &["lines"]);
    let fault = Fault::of(&tokens, GENERATE_KEY, 0, DEVICE_REMOVED);
    let stderr = fail(&mut produce(), 1);
    assert!(complaint(&stderr).contains("insert the token"), "{stderr}");
    let raw = ["consume", "t", "--raw", "-b", &tokens.world.address];
    tokens
        .world
        .fail(&[&raw[..], &["--timeout", "1s"]].concat(), 3);

    drop(fault);
    let mut alice = Piped::start(&mut produce());
    alice.process.says("sent 2 records");
    let mut bob = Piped::start(&mut reader(&tokens, "bob", "2"));
    assert_eq!(
        (bob.next(), bob.next()),
        ("one".to_owned(), "two".to_owned())
    );
    alice.stop();
}

/// The self-test is the last signature of the token until it is available again.
#[test]
fn a_consumer_asks_for_keys_as_soon_as_its_token_is_back() {
    let tokens = faulty();
    tokens.world.provision("producer", "alice", &[]);
    tokens.world.provision("consumer", "bob", &[]);
    tokens.import("bob");
    let _alice = tokens.produce("line");
    let fault = Fault::of(&tokens, SIGN_INIT, 1, DEVICE_REMOVED);
    let mut bob = Piped::start(&mut reader(&tokens, "bob", "1"));
    bob.process.says("this node cannot sign now");
    assert!(bob.process.says("advice:").contains("insert the token"));

    drop(fault);
    let said = bob.process.hear("this node can sign again");
    let wrong = ["cannot sign", "cannot be reached"];
    let wrong = |line: &&String| wrong.iter().any(|wrong| line.contains(wrong));
    assert_eq!(said.iter().find(wrong), None);
    assert_eq!(bob.next(), "line");
    assert_eq!(bob.process.end(), 0);
}
