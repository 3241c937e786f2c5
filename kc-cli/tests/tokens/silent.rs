//! A token that does not answer.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kc::core::secret::SecretText;
use kc::keystore_hsm::HsmError;
use kc::{Node, Record};
use tokio::runtime::Builder;

use crate::world::World;

/// Builds a module that answers only after the file `answer` exists, and creates `given-up` if that takes too long.
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
    let opening = Node::builder(config).pin(pin).open();
    // While the token does not answer, another node sends and reads on the same thread.
    world.provision("prodcon", "bob", &[]);
    let meanwhile = async {
        let bob = Node::builder(world.path("bob.config").display().to_string());
        let bob = bob.open().await.unwrap();
        let producer = bob.producer().await.unwrap();
        let record = Record::to("t").value("meanwhile");
        producer.send(record).await.unwrap();
        let joining = bob.consumer(["t"]).from_beginning().join();
        let mut consumer = joining.await.unwrap();
        let read = consumer.next().await.unwrap().unwrap();
        assert_eq!(read.value(), b"meanwhile");
        assert!(!world.path("given-up").exists());
        fs::write(world.path("answer"), "").unwrap();
    };

    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (opened, ()) = runtime.block_on(async { tokio::join!(opening, meanwhile) });
    let error = opened.unwrap_err();
    let of_token = error.get_ref().downcast_ref();
    let is_answer = matches!(of_token, Some(HsmError::ModuleFailed { .. }));
    assert!(is_answer, "{error:?}");
    assert!(!world.path("given-up").exists());
}
