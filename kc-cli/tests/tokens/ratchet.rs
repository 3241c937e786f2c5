//! A ratchet on a token cannot be restored from a copy, unless the token itself can.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kc::core::message::Envelope;
use serde_json::Value;

use crate::tokens::Tokens;
use crate::world::{complaint, fail};

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

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (path, name) = entry
            .map(|entry| (entry.path(), entry.file_name()))
            .unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// The documentation describes this limit, and the remaining guarantee: no key and nonce is used twice.
#[test]
fn a_software_token_that_is_put_back_with_its_node_is_not_noticed() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    tokens.provision("producer", "alice", &[]);
    let files = ["alice.config", "alice.ratchet"];
    copy(&world.path("tokens"), &world.path("backup"));
    let before = files.map(|file| world.read(file));
    for _ in 0..2 {
        let mut producer = tokens.produce("the same line");
        producer.terminate();
        assert_eq!(producer.end(), 0);
        fs::remove_dir_all(world.path("tokens")).unwrap();
        copy(&world.path("backup"), &world.path("tokens"));
        for (file, content) in files.iter().zip(&before) {
            world.write(file, content);
        }
    }

    let raw = ["consume", "t", "--raw", "--json", "--count", "2"];
    let raw = tokens.succeed(&[&raw[..], &["-b", &world.address]].concat());
    let sealed = raw.lines().map(|line| {
        let record: Value = serde_json::from_str(line).unwrap();
        STANDARD.decode(record["value"].as_str().unwrap()).unwrap()
    });
    let sealed: Vec<_> = sealed.collect();
    let [first, second] = &sealed[..] else {
        panic!("{sealed:?}");
    };
    let [first, second] = [first, second].map(|sealed| Envelope::parse(sealed).unwrap());
    assert_eq!(first.key_id, second.key_id);
    assert_ne!(first.body.unwrap().0, second.body.unwrap().0);
}
