//! A supervisor that starts a node again and again, with a PIN that the token refuses.

use std::fs;

use crate::faults::faulty;
use crate::tokens::{PIN, Tokens};
use crate::world::{complaint, fail, succeed};

const SERVE: [&str; 4] = ["node", "serve", "--node", "alice"];

impl Tokens {
    fn logins(&self) -> usize {
        self.world.read("logins").len()
    }

    /// Starts alice by this PIN, which is not taken. Says what she complains of, and how often the token was asked.
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
        assert!(told.contains("alice.refused remembers it"), "{told}");
        assert_eq!(tries, 0);
    }
    // It is corrected, and then all is as before.
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
        assert!(told.contains("delete that file"), "{told}");
        assert_eq!(tries, 0);
    }
    fs::remove_file(tokens.world.path("alice.refused")).unwrap();
    tokens.starts();
}

/// Of a token that says that somebody else's PIN was wrong, no more is risked than one try.
#[test]
fn the_tries_of_others_count() {
    let tokens = with_alice();
    tokens.world.write("count-low", "");
    assert_eq!(tokens.refuses("wrong-one").1, 1);
    let (told, tries) = tokens.refuses("wrong-two");
    assert!(told.contains("no other is tried"), "{told}");
    assert_eq!(tries, 0);
}
