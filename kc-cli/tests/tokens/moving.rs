//! A node moves onto a token.

use std::fs;
use std::path::Path;

use crate::secrets::{Secrets, contains};
use crate::tokens::Tokens;

/// Returns all files in a folder, except for those of the token, which have a folder of their own.
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
        let secrets = Secrets::of(world, "alice");

        tokens.import("alice");
        assert!(!world.path("alice.crypto").exists() && !world.path("alice.seed").exists());
        let mut producer = tokens.produce("from a token");
        // Data keys from before the move are still handed out.
        assert_eq!(tokens.read("2"), "from a file\nfrom a token\n");
        producer.terminate();
        assert_eq!(producer.end(), 0);

        for (path, content) in files(&world.path("")) {
            let found = secrets.all().any(|secret| contains(&content, secret));
            assert!(!found, "{path}");
        }
        let listed = tokens.succeed(&["hsm", "list", &tokens.uri]);
        for private in listed.lines().filter(|line| !line.contains("public key")) {
            assert!(private.ends_with("sensitive non-extractable"), "{private}");
        }
    }
}

#[test]
fn nodes_that_run_at_the_same_time_share_a_token() {
    let tokens = Tokens::new();
    tokens.world.provision("producer", "alice", &[]);
    tokens.world.provision("consumer", "bob", &[]);
    for node in ["alice", "bob"] {
        tokens.import(node);
    }
    let mut alice = tokens.produce("from a token");
    assert_eq!(tokens.read("1"), "from a token\n");
    alice.terminate();
    assert_eq!(alice.end(), 0);
}
