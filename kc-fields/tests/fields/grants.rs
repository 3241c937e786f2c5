//! The engine `kc`: a consumer reads exactly the fields that its chain grants.

use std::time::Duration;

use kc::core::provision::Role;
use kc_fields::{Fault, FieldCipher, Purpose};

use crate::world::{TOPIC, World, decrypted, encrypted};

const RECORD: &str = r#"{"id":1,"address":"1 Main St.","card":"4111111111111111"}"#;

fn rules(on_missing_key: &str) -> String {
    let rule = |name: &str| {
        format!(
            "[[rule]]\ntopics = [\"purchases\"]\npath = \"$.{name}\"\nengine = \"kc\"\nkey_topic = \"purchases--{name}\"\n\
             bind = \"$.id\"\non_missing_key = \"{on_missing_key}\"\n"
        )
    };
    rule("address") + &rule("card")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_reads_the_fields_that_its_chain_grants() {
    let world = World::start().await;
    let alice = world.node("alice", Role::Producer, &[]).await;
    let bob = world
        .node("bob", Role::Consumer, &["purchases--address"])
        .await;
    let writer = world
        .cipher(&rules("keep"), Purpose::Encrypt, Some(&alice))
        .await;
    let secret = encrypted(&writer, TOPIC, RECORD).await.unwrap();
    assert!(
        !secret.contains("Main") && !secret.contains("4111"),
        "{secret}"
    );

    let held = rules("hold");
    let held = held.split_inclusive("[[rule]]").nth(1).unwrap();
    let held = format!("[[rule]]{}", held.trim_end_matches("[[rule]]"));
    let holding = world.cipher(&held, Purpose::Decrypt, Some(&bob)).await;
    let opened = decrypted(&holding, TOPIC, &secret).await.unwrap();
    assert!(
        opened.contains("1 Main St.") && !opened.contains("4111"),
        "{opened}"
    );

    for (policy, expected) in [("keep", None), ("null", Some("\"card\":null"))] {
        let reader = world
            .cipher(&rules(policy), Purpose::Decrypt, Some(&bob))
            .await;
        let mut record = secret.clone().into_bytes();
        let outcome = reader.decrypt(TOPIC, &mut record).await.unwrap();
        let record = String::from_utf8(record).unwrap();
        assert_eq!((outcome.fields, outcome.missing_keys), (1, 1));
        assert!(record.contains("1 Main St."), "{record}");
        let card = expected.unwrap_or_else(|| secret.split("\"card\":").nth(1).unwrap());
        assert!(record.contains(card), "{record}");
    }
    let hold = world.rules(&rules("hold"));
    let hold = FieldCipher::builder(&hold, Purpose::Decrypt).node(&bob);
    let hold = hold
        .patience(Duration::from_millis(50))
        .open()
        .await
        .unwrap();
    let error = decrypted(&hold, TOPIC, &secret).await.unwrap_err();
    assert!(
        matches!(error.fault, Fault::MissingKey(_)) && error.is_retriable(),
        "{error}"
    );
    assert_eq!(error.path.as_deref(), Some("$.card"));
    for node in [alice, bob] {
        node.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_the_grant_cannot_encrypt() {
    let world = World::start().await;
    let node = world.node("carol", Role::Producer, &["purchases"]).await;
    let rules = world.rules(&rules("keep"));
    let refused = FieldCipher::builder(&rules, Purpose::Encrypt)
        .node(&node)
        .open()
        .await;
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.starts_with("$.address: key topic purchases--address: "),
        "{refused}"
    );
    node.close().await.unwrap();
}
