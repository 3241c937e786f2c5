//! Objects that earlier versions left on tokens: labels without an instance.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use kc::core::keys::KeyType;
use kc::core::secret::SecretText;
use kc::keystore_hsm::{
    HsmRatchetStore, NodeLabels, PinSource, Token, generate_identity, generate_opaque_key,
};

use crate::tokens::{PIN, Tokens};
use crate::world::{Process, complaint, fail, succeed};

const URI: &str = "KC_TEST_EARLIER_URI";
const DRAW: &str = "KC_TEST_EARLIER_DRAW";
const RATCHET: &str = "KC_TEST_EARLIER_RATCHET";

/// Starts another process that puts an object onto the token, because modules are configured by the environment.
fn leave(tokens: &Tokens, variable: &str, value: &str) {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "earlier::what_an_earlier_version_leaves"])
        .env("SOFTHSM2_CONF", tokens.world.path("softhsm.conf"))
        .env(URI, &tokens.uri)
        .env(variable, value);
    succeed(&mut command);
}

/// Draws the keys of nodes or of roots of trust; earlier versions gave both the same labels.
pub(crate) fn draw_keys(tokens: &Tokens, names: &[&str]) {
    leave(tokens, DRAW, &names.join(","));
}

/// Does nothing unless another test starts it.
#[test]
fn what_an_earlier_version_leaves() {
    let Ok(uri) = env::var(URI) else { return };
    let pin = PinSource::Text(SecretText::from(PIN.to_owned()));
    let token = Token::open(&uri.parse().unwrap(), pin).unwrap();
    let labels = |name: &str| NodeLabels::of_object(&format!("kc:{name}:id")).unwrap();
    let names = env::var(DRAW);
    for name in names.iter().flat_map(|names| names.split(',')) {
        generate_opaque_key(&token, &labels(name)).unwrap();
        generate_identity(&token, &labels(name), KeyType::Ed25519).unwrap();
    }
    if let Ok(path) = env::var(RATCHET) {
        let path = Path::new(&path);
        HsmRatchetStore::reinitialise(token, &labels("alice"), path, 5).unwrap();
    }
}

#[test]
fn a_ratchet_of_an_earlier_version_goes_on_and_is_renewed_under_a_label_of_its_own() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    tokens.provision("producer", "alice", &[]);
    let path = world.path("alice.ratchet");
    leave(&tokens, RATCHET, &path.display().to_string());
    let own = tokens.entry("ratchet");
    tokens.reconfigure(
        &own,
        &own.replace(&tokens.label("ratchet"), "kc:alice:ratchet"),
    );
    tokens.provision("consumer", "bob", &[]);
    let mut producer = tokens.produce("under the old label");
    producer.terminate();
    assert_eq!(producer.end(), 0);

    fs::remove_file(path).unwrap();
    let serve = ["node", "serve", "--node", "alice"];
    let stderr = fail(&mut tokens.kc(&serve), 1);
    assert!(complaint(&stderr).contains("renew-ratchet"), "{stderr}");
    let listed = || tokens.succeed(&["hsm", "list", &tokens.uri]);
    let old = |listed: String| {
        let mut lines = listed.lines();
        let old = lines.find(|line| line.starts_with("kc:alice:ratchet "));
        old.unwrap().to_owned()
    };
    // The object may belong to another node.
    let before = old(listed());
    tokens.succeed(&["hsm", "renew-ratchet", "--node", "alice"]);
    assert_eq!(old(listed()), before);
    let entry = tokens.entry("ratchet");
    assert!(!entry.contains("kc:alice:ratchet"), "{entry}");
    let _serving = Process::spawn(tokens.kc(&serve).stdout(Stdio::null()));
    assert_eq!(tokens.read("1"), "under the old label\n");
}
