//! Trust that changes while nodes run.

mod chains;
mod own;
mod running;
mod updates;

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use kc::Clock;
use kc::core::chain::{Constraints, MaxAge, encode_certificate};
use kc::core::keys::{KeyType, SigningKey, VerifyingKey};
use kc::core::provision::{derive_root, sign_request};
use kc::core::wire::Writer;
use kc::keystore_file::system_rng;
use serde_json::Value as Json;

use crate::world::{Process, World};

const HOUR: Duration = Duration::from_secs(3600);

/// Sends an update to all nodes that denies bob's key; alice's configuration names the broker.
pub(super) const DENY_BOB: [&str; 7] = [
    "trust",
    "deny",
    "--of",
    "bob",
    "--publish",
    "--node",
    "alice",
];

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

/// Returns the next line on stdout.
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
    kc::maintenance::signing_keys_of(config.to_str().unwrap())
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
