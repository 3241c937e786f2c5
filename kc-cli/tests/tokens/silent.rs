//! A token that does not answer.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kc::core::secret::SecretText;
use kc::keystore_hsm::HsmError;
use kc::{NodeOptions, OpenError};
use tokio::runtime::Builder;

use crate::world::World;

/// Builds a module that waits for the file `answer`, and leaves `given-up` if that takes too long.
fn build(world: &World) -> PathBuf {
    let module = world.path("silent.so");
    let file = |name: &str, path: &str| format!("-D{name}=\"{}\"", world.path(path).display());
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&module)
        .args([file("ANSWER", "answer"), file("GIVEN_UP", "given-up")])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/tokens/silent.c"
        ))
        .status();
    assert!(built.expect("a C compiler").success());
    module
}

#[test]
fn a_node_whose_token_does_not_answer_holds_up_nothing_else() {
    let world = World::new();
    world.provision("producer", "alice", &[]);
    let config = String::from_utf8(world.read("alice.config")).unwrap();
    let token = format!(
        "pkcs11:token=kc;object=kc:alice:ratchet?module-path={}",
        build(&world).display()
    );
    world.write("alice.config", config.replace("file#alice.seed", &token));
    let config = world.path("alice.config").display().to_string();
    let pin = SecretText::from("1234".to_owned());
    let opening = NodeOptions::new(config).pin(pin).open();
    let meanwhile = async { fs::write(world.path("answer"), "") };

    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (opened, _) = runtime.block_on(async { tokio::join!(opening, meanwhile) });
    let error = opened.unwrap_err();
    let is_answer = matches!(error, OpenError::Token(HsmError::NotAModule { .. }));
    assert!(is_answer, "{error:?}");
    assert!(!world.path("given-up").exists());
}
