//! A move onto a token fails at each of its steps, and the node runs after each failure.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::faults::{
    CREATE_OBJECT, DECRYPT, DEVICE_ERROR, ENCRYPT, Fault, GENERAL_ERROR, GENERATE_KEY, SIGN, faulty,
};
use crate::tokens::Tokens;
use crate::world::{complaint, fail};

/// More calls than any move makes.
const MANY: u32 = 100;

/// The state after a move.
#[derive(Debug, PartialEq, Eq)]
enum Left {
    /// The node uses its files, and nothing of it is on the token.
    InFiles,
    /// The move is incomplete, and the node does not start.
    OnItsWay,
    /// The node uses the token.
    OnToken,
}

impl Tokens {
    fn moves(&self) -> Command {
        self.kc(&["hsm", "import", &self.uri, "--node", "alice"])
    }

    /// Runs alice, and returns the place of her keys. In each state there is only one ratchet.
    fn left(&self) -> Left {
        let alice = ["produce", "t", "lines", "--node", "alice"];
        self.world.write("lines", "line\n");
        let mut produce = self.kc(&[&alice[..], &["--exit-after", "0s"]].concat());
        let entry = |entry| self.configuration().contains(entry);
        if entry("\nmoving :") {
            let stderr = fail(&mut produce, 1);
            assert!(complaint(&stderr).contains("undo-import"), "{stderr}");
            return Left::OnItsWay;
        }
        let produced = produce.output().unwrap();
        assert!(produced.status.success(), "{produced:?}");
        let listed = self.succeed(&["hsm", "list", &self.uri]);
        if entry("cryptokey : pkcs11:") {
            Left::OnToken
        } else {
            assert!(!listed.contains("kc:alice:"), "{listed}");
            Left::InFiles
        }
    }

    fn ends_on_token(&self) {
        self.succeed(&["hsm", "import", &self.uri, "--node", "alice", "--shred"]);
        assert_eq!(self.left(), Left::OnToken);
        let listed = self.succeed(&["hsm", "list", &self.uri]);
        let ratchets = listed.lines().filter(|line| line.contains(":ratchet "));
        assert_eq!(ratchets.count(), 1, "{listed}");
        for file in ["alice.seed", "alice.crypto"] {
            assert!(!self.world.path(file).exists(), "{file}");
        }
    }
}

#[test]
fn a_call_of_the_token_that_fails_leaves_the_node_in_its_files() {
    let mut failed = 0;
    for function in [GENERATE_KEY, CREATE_OBJECT, ENCRYPT, DECRYPT, SIGN] {
        let tokens = faulty();
        tokens.world.provision("producer", "alice", &[]);
        for skip in 0..MANY {
            let fault = Fault::times(&tokens, function, skip, 1, GENERAL_ERROR);
            let moved = tokens.moves().output().unwrap().status.success();
            drop(fault);
            if moved {
                break;
            }
            failed += 1;
            assert_eq!(tokens.left(), Left::InFiles, "{function} {skip}");
        }
        assert_eq!(tokens.left(), Left::OnToken);
    }
    assert!((10..50).contains(&failed), "{failed}");
}

#[test]
fn a_token_that_goes_away_meanwhile_keeps_the_node_from_its_ratchet() {
    let tokens = faulty();
    tokens.world.provision("producer", "alice", &[]);
    let mut on_its_way = 0;
    for skip in (0..MANY).step_by(7) {
        let fault = Fault::any(&tokens, skip, DEVICE_ERROR);
        let moved = tokens.moves().output().unwrap().status.success();
        drop(fault);
        if moved {
            break;
        }
        if tokens.left() == Left::OnItsWay {
            on_its_way += 1;
            tokens.succeed(&["hsm", "undo-import", "--node", "alice"]);
            assert_eq!(tokens.left(), Left::InFiles);
        }
    }
    assert!(on_its_way > 3, "{on_its_way}");
    let stderr = fail(
        &mut tokens.kc(&["hsm", "undo-import", "--node", "alice"]),
        1,
    );
    assert!(complaint(&stderr).contains("already"), "{stderr}");
    assert_eq!(tokens.left(), Left::OnToken);
}

/// A disk that can fail.
struct Disk<'t> {
    tokens: &'t Tokens,
    library: PathBuf,
}

impl<'t> Disk<'t> {
    fn new(tokens: &'t Tokens) -> Self {
        let library = tokens.world.path("disk.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tokens/disk.c");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&library)
            .args([source, "-ldl"])
            .status();
        assert!(built.expect("a C compiler").success());
        Self { tokens, library }
    }

    /// Moves alice while the disk fails. Returns whether she has moved.
    fn moves(&self, fails: &str) -> bool {
        self.tokens.world.write("disk", fails);
        let mut moves = self.tokens.moves();
        let moved = moves.env("LD_PRELOAD", &self.library).output().unwrap();
        fs::remove_file(self.tokens.world.path("disk")).unwrap();
        moved.status.success()
    }
}

/// A file is flushed before it replaces the old one, and its folder after that. The files are the record of the move,
/// the ratchet and the configuration.
#[test]
fn a_file_that_cannot_be_replaced_leaves_one_ratchet() {
    use Left::{InFiles, OnItsWay, OnToken};
    for (times, expected) in [
        // A single failure is undone. In the last case the configuration was already replaced.
        ("1", [InFiles, InFiles, InFiles, InFiles, InFiles, OnToken]),
        // The disk fails permanently, so the record of the move cannot be removed.
        (
            "1000",
            [InFiles, OnItsWay, OnItsWay, OnItsWay, OnItsWay, OnToken],
        ),
    ] {
        let tokens = Tokens::new();
        let disk = Disk::new(&tokens);
        tokens.world.provision("producer", "alice", &[]);
        for (skip, expected) in (0..).zip(expected) {
            assert!(!disk.moves(&format!("{skip} {times}")), "{skip} {times}");
            let left = tokens.left();
            assert_eq!(left, expected, "{skip} {times}");
            if left == OnItsWay {
                tokens.succeed(&["hsm", "undo-import", "--node", "alice"]);
                assert_eq!(tokens.left(), InFiles);
            }
        }
        tokens.ends_on_token();
    }
}

#[test]
fn an_interrupted_move_goes_on_with_the_same_token_only() {
    let tokens = Tokens::new();
    let disk = Disk::new(&tokens);
    tokens.world.provision("producer", "alice", &[]);
    assert!(!disk.moves("4 1000"));
    assert_eq!(tokens.left(), Left::OnItsWay);
    let other = tokens.uri.replace("token=kc", "token=other");
    let stderr = fail(
        &mut tokens.kc(&["hsm", "import", &other, "--node", "alice"]),
        1,
    );
    assert!(complaint(&stderr).contains("another token"), "{stderr}");
    tokens.ends_on_token();
}

#[test]
fn files_of_an_unfinished_move_are_refused_after_the_node_was_used_on_the_token() {
    let tokens = Tokens::new();
    let disk = Disk::new(&tokens);
    let world = &tokens.world;
    world.provision("producer", "alice", &[]);
    assert!(!disk.moves("4 1000"));
    assert_eq!(tokens.left(), Left::OnItsWay);
    let files = ["alice.config", "alice.crypto", "alice.seed"];
    let unfinished = files.map(|file| world.read(file));
    tokens.ends_on_token();

    let config = world.read("alice.config");
    for (file, content) in files.iter().zip(unfinished) {
        world.write(file, content);
    }
    for command in [
        &["hsm", "undo-import", "--node", "alice"][..],
        &["hsm", "import", &tokens.uri, "--node", "alice"],
    ] {
        let stderr = fail(&mut tokens.kc(command), 1);
        let complaint = complaint(&stderr);
        assert!(complaint.contains("used on the token"), "{stderr}");
        assert!(complaint.contains("put back the newer file"), "{stderr}");
    }
    world.write("alice.config", config);
    assert_eq!(tokens.left(), Left::OnToken);
}
