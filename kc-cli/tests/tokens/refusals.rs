//! Errors of tokens are reported with advice, and never with the PIN.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kc::core::keys::{KeyType, SigningKey};
use kc::core::store::NodeSecrets;
use kc::keystore_file::system_rng;

use crate::faults::{Fault, LOGIN, PIN_LOCKED, build, faulty};
use crate::secrets::contains;
use crate::tokens::{MODULE, PIN, Tokens};
use crate::world::{complaint, fail};

const SERVE: [&str; 4] = ["node", "serve", "--node", "alice"];

/// Provisions alice with keys on the token.
fn with_alice(tokens: Tokens) -> Tokens {
    tokens.world.provision("producer", "alice", &[]);
    tokens.import("alice");
    tokens
}

fn refused_as(command: &mut Command, exit: i32, told: &[&str]) {
    let stderr = fail(command, exit);
    for told in told {
        assert!(complaint(&stderr).contains(told), "{told:?} in {stderr}");
    }
    assert!(!stderr.contains(PIN), "{stderr}");
}

fn refused(command: &mut Command, told: &[&str]) {
    refused_as(command, 1, told);
}

#[test]
fn a_token_that_is_away() {
    let tokens = with_alice(Tokens::new());
    fs::rename(tokens.world.path("tokens"), tokens.world.path("away")).unwrap();
    fs::create_dir(tokens.world.path("tokens")).unwrap();
    refused(&mut tokens.kc(&SERVE), &["\"kc\"", "insert the token"]);
}

#[test]
fn a_pin_that_is_wrong_or_missing() {
    let tokens = with_alice(Tokens::new());
    let mut serve = tokens.kc(&SERVE);
    refused(
        serve.env("KC_HSM_PIN", "9999"),
        &["wrong", "correct the PIN"],
    );
    let mut serve = tokens.kc(&SERVE);
    refused_as(serve.env_remove("KC_HSM_PIN"), 2, &["pin-source"]);
}

#[test]
fn a_pin_that_is_locked() {
    let tokens = with_alice(faulty());
    let _fault = Fault::of(&tokens, LOGIN, 0, PIN_LOCKED);
    refused(&mut tokens.kc(&SERVE), &["is locked", "security officer"]);
}

#[test]
fn a_pin_in_a_uri() {
    let tokens = with_alice(Tokens::new());
    tokens.reconfigure(MODULE, &format!("{MODULE}&pin-value={PIN}"));
    refused(&mut tokens.kc(&SERVE), &["pin-value", "pin-source=file:"]);
    let uri = format!("{}&pin-value={PIN}", tokens.uri);
    let stderr = fail(&mut tokens.kc(&["hsm", "list", &uri]), 2);
    assert!(stderr.contains("pin-source=file:"), "{stderr}");
    assert!(!stderr.contains(PIN), "{stderr}");
}

/// SoftHSM stores each object in a file; that of a public key shows its label in plain text.
#[test]
fn an_object_that_is_missing_or_there_twice() {
    let tokens = with_alice(Tokens::new());
    let folder = fs::read_dir(tokens.world.path("tokens")).unwrap().next();
    let folder = folder.unwrap().unwrap().path();
    let files = fs::read_dir(&folder).unwrap();
    let public: Vec<PathBuf> = files
        .map(|file| file.unwrap().path())
        .filter(|file| contains(&fs::read(file).unwrap(), b"kc:alice:"))
        .collect();
    let [public] = &public[..] else {
        panic!("{public:?}");
    };
    let second = folder.join("00000000-0000-0000-0000-000000000000.object");
    fs::copy(public, &second).unwrap();
    refused(
        &mut tokens.kc(&SERVE),
        &["kc:alice:", "delete the wrong one"],
    );

    fs::remove_file(&second).unwrap();
    fs::remove_file(public).unwrap();
    refused(&mut tokens.kc(&SERVE), &["kc:alice:", "`kc hsm list`"]);
}

/// The wrong module has other tokens.
#[test]
fn a_module_that_is_wrong_or_missing_or_none() {
    let tokens = with_alice(Tokens::new());
    let others = tokens.world.path("others");
    fs::create_dir(&others).unwrap();
    let settings = format!("directories.tokendir = {}\n", others.display());
    tokens.world.write("others.conf", settings);
    let wrong = build(&tokens.world).display().to_string();
    let mut configured = MODULE;
    for (module, told) in [
        (
            wrong.as_str(),
            ["tokens in this module: none", "name the right module"],
        ),
        (
            "/nowhere.so",
            ["/nowhere.so", "install the token's PKCS#11 module"],
        ),
        (
            "/bin/true",
            ["as a PKCS#11 module", "module-path must name"],
        ),
    ] {
        tokens.reconfigure(configured, module);
        configured = module;
        let mut serve = tokens.kc(&SERVE);
        serve.env("SOFTHSM2_CONF", tokens.world.path("others.conf"));
        refused(&mut serve, &told);
        let elsewhere = format!("pkcs11:token=kc?module-path={module}");
        let mut list = tokens.kc(&["hsm", "list", &elsewhere]);
        list.env("SOFTHSM2_CONF", tokens.world.path("others.conf"));
        refused(&mut list, &told);
    }
}

#[test]
fn a_node_that_is_on_a_token_already() {
    let tokens = with_alice(Tokens::new());
    let again = ["hsm", "import", &tokens.uri, "--node", "alice"];
    refused(&mut tokens.kc(&again), &["already on a token"]);
}

#[test]
fn a_node_without_a_ratchet_on_a_token() {
    let tokens = Tokens::new();
    let renew = |node| tokens.kc(&["hsm", "renew-ratchet", "--node", node]);
    tokens.provision("chain-server", "server", &[]);
    refused(&mut renew("server"), &["no ratchet on its token"]);
    tokens.world.provision("producer", "alice", &[]);
    let in_files = ["keys are not on a token", "`kc hsm import` moves"];
    refused(&mut renew("alice"), &in_files);
}

#[test]
fn a_configuration_that_does_not_say_which_keys_the_token_must_have() {
    let tokens = with_alice(Tokens::new());
    tokens.world.write("line", "line\n");
    let produce = ["produce", "t", "line", "--node", "alice"];
    let produce = [&produce[..], &["--exit-after", "0s"]].concat();
    let key = tokens.entry("key0");
    let lost = |config: &str, missing: &str| {
        tokens.reconfigure(&key, config);
        refused(&mut tokens.kc(&produce), &[missing, "from a backup"]);
        tokens.reconfigure(config, &key);
    };
    lost("; key0 is lost\n", "`key0`");
    lost(&key.replace("key0", "key1"), "`key0`");
    lost(&format!("{key}{}", key.replace("key0", "key2")), "`key1`");
    tokens.reconfigure(&key, "key0 : base64#?\n");
    refused(&mut tokens.kc(&produce), &["`key0`", "correct"]);
}

#[test]
fn two_keys_of_a_type_are_told_before_anything_is_on_the_token() {
    let tokens = Tokens::new();
    let world = &tokens.world;
    world.provision("producer", "alice", &[]);
    let mut secrets = NodeSecrets::decode(&world.read("alice.crypto"))
        .unwrap()
        .secrets;
    let second = SigningKey::generate(KeyType::Ed25519, &mut system_rng().unwrap());
    secrets.add_key(second);
    world.write("alice.crypto", secrets.encode().expose());
    let import = ["hsm", "import", &tokens.uri, "--node", "alice"];
    refused(
        &mut tokens.kc(&import),
        &["two signing keys of type 1", "only one of each type"],
    );
    assert_eq!(tokens.succeed(&["hsm", "list", &tokens.uri]), "");
}

#[test]
fn a_new_pin_is_one_that_a_line_of_a_file_can_hold() {
    let tokens = Tokens::new();
    let uri = tokens.uri.replace("token=kc", "token=other");
    tokens.world.write("pin", "1234\r\n");
    let stderr = fail(
        &mut tokens.kc(&["hsm", "init", &uri, "--pin-file", "pin"]),
        2,
    );
    assert!(complaint(&stderr).contains("line break"), "{stderr}");
}
