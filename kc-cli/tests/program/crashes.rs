//! A producer that is killed at any time.

use std::collections::HashSet;
use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kc::core::message::Envelope;
use serde_json::Value;

use crate::world::{Process, World};

const KILLS: u64 = 200;

/// A value that must never repeat: key index, component, salt.
type Use = (String, &'static str, Vec<u8>);

#[test]
fn a_producer_killed_200_times_repeats_no_key_and_nonce_and_all_its_records_open() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    world.provision("consumer", "bob", &[]);
    let lines = "key of the line::value of the line\n".repeat(50);
    for kill in 0..KILLS {
        let args = ["-v", "produce", "t", "--node", "alice"];
        let mut command = world.kc(&[&args[..], &["--key-separator", "::"]].concat());
        let mut alice = Process::spawn(command.stdin(Stdio::piped()));
        let mut stdin = alice.child.stdin.take().unwrap();
        stdin.write_all(lines.as_bytes()).unwrap();
        // Kills are spread over the whole start; every second one is after the ratchet has turned.
        if kill % 2 == 0 {
            alice.says("ratchet turned");
        }
        thread::sleep(Duration::from_millis(kill * 37 % 200));
        alice.child.kill().unwrap();
        alice.child.wait().unwrap();
    }

    let count = world.end_of("t");
    let wanted = count.to_string();
    let raw = ["consume", "t", "--raw", "--json", "-b", &world.address];
    let raw = world.succeed(&[&raw[..], &["--timeout", "60s", "--count", &wanted]].concat());
    let mut uses: HashSet<Use> = HashSet::new();
    assert_eq!(raw.lines().count(), count);
    for (offset, line) in raw.lines().enumerate() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(record["offset"], offset);
        for component in ["key", "value"] {
            let sealed = BASE64.decode(record[component].as_str().unwrap()).unwrap();
            let envelope = Envelope::parse(&sealed).unwrap();
            let salt = envelope.body.unwrap().0.to_vec();
            let used = (envelope.key_id.to_string(), component, salt);
            assert!(uses.insert(used.clone()), "used twice: {used:?}");
        }
    }
    let keys: HashSet<_> = uses.iter().map(|(key, _, _)| key).collect();
    assert!(keys.len() > 20, "{count} records of {} keys", keys.len());

    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    let args = ["consume", "t", "--node", "bob", "--from-beginning"];
    let opened = world.succeed(&[&args[..], &["--timeout", "60s", "--count", &wanted]].concat());
    assert_eq!(opened, "value of the line\n".repeat(count));
}

#[test]
#[cfg(target_os = "linux")]
fn a_crash_writes_no_keys_to_a_disk() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let alice = world.start(&["node", "serve", "--node", "alice"]);
    alice.says("hands out its retained data keys");
    let limits = format!("/proc/{}/limits", alice.child.id());
    let limits = std::fs::read_to_string(limits).unwrap();
    let mut lines = limits.lines();
    let core = lines.find_map(|line| line.strip_prefix("Max core file size"));
    let core: Vec<_> = core.unwrap().split_whitespace().collect();
    assert_eq!(core, ["0", "0", "bytes"]);
}
