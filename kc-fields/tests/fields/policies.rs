//! The policies of rules, and what a cipher refuses.

use std::fs;

use kc_fields::{Fault, FieldCipher, JsonType, Purpose, Rules, create_key};

use crate::world::{TOPIC, World, decrypted, encrypted};

fn rule(path: &str, more: &str) -> String {
    format!(
        "[[rule]]\npath = \"{path}\"\nengine = \"deterministic\"\nkey = \"file:key.bin\"\n{more}\n"
    )
}

#[tokio::test]
async fn each_policy_decides_as_it_says() {
    let world = World::without_broker();
    let text = r#"{"a":null,"b":7,"c":[[{"d":1}]]}"#;
    for (path, policy, expected) in [
        ("$.x", "", None),
        ("$.x", "on_missing = \"fail\"", Some(Fault::Missing)),
        ("$.a", "", None),
        ("$.a", "on_null = \"fail\"", Some(Fault::Null)),
        ("$.b.x", "", Some(Fault::WrongType(JsonType::Number))),
        ("$.b.x", "on_wrong_type = \"keep\"", None),
        (
            "$.b",
            "types = [\"string\"]",
            Some(Fault::WrongType(JsonType::Number)),
        ),
        (
            "$.b",
            "types = [\"string\"]\non_wrong_type = \"keep\"",
            None,
        ),
        ("$.c[*].d", "", Some(Fault::NestedArray)),
        ("$.c[*].d", "on_nested_array = \"keep\"", None),
    ] {
        let cipher = world
            .cipher(&rule(path, policy), Purpose::Encrypt, None)
            .await;
        let result = encrypted(&cipher, TOPIC, text).await;
        match expected {
            None => assert_eq!(result.as_deref(), Ok(text), "{path} {policy}"),
            Some(fault) => {
                let error = result.unwrap_err();
                assert_eq!(
                    (error.path.as_deref(), error.fault),
                    (Some(path), fault),
                    "{policy}"
                );
            }
        }
    }
    for (path, policy) in [
        ("$.a", "on_null = \"encrypt\""),
        ("$.c[*].d", "on_nested_array = \"enter\""),
    ] {
        let cipher = world
            .cipher(&rule(path, policy), Purpose::Encrypt, None)
            .await;
        let secret = encrypted(&cipher, TOPIC, text).await.unwrap();
        assert!(secret.contains("det:v1:"), "{secret}");
        assert_eq!(decrypted(&cipher, TOPIC, &secret).await.unwrap(), text);
    }
}

#[tokio::test]
async fn text_that_does_not_fit_can_stay() {
    let world = World::without_broker();
    let rules = |policy: &str| {
        format!(
            "[[rule]]\npath = \"$.a\"\nengine = \"fpe\"\nkey = \"file:key.bin\"\nalphabet = \"digits\"\n{policy}"
        )
    };
    let text = r#"{"a":"12345"}"#;
    let strict = world.cipher(&rules(""), Purpose::Encrypt, None).await;
    assert!(matches!(
        encrypted(&strict, TOPIC, text).await.unwrap_err().fault,
        Fault::Unfit(_)
    ));
    let lenient = world
        .cipher(&rules("on_unfit = \"keep\""), Purpose::Encrypt, None)
        .await;
    assert_eq!(encrypted(&lenient, TOPIC, text).await.unwrap(), text);
    assert_eq!(decrypted(&lenient, TOPIC, text).await.unwrap(), text);
}

/// A typing error in a topic must not let records pass in plain.
#[tokio::test]
async fn a_topic_without_rules_is_refused() {
    let world = World::without_broker();
    let cipher = world
        .cipher(
            &rule("$.a", "topics = [\"purchases\"]"),
            Purpose::Encrypt,
            None,
        )
        .await;
    let error = encrypted(&cipher, "purchase", r#"{"a":1}"#)
        .await
        .unwrap_err();
    assert!(matches!(error.fault, Fault::Unsupported(_)), "{error}");
}

#[tokio::test]
async fn duplicate_names_are_refused_only_where_a_path_leads() {
    let world = World::without_broker();
    let cipher = world.cipher(&rule("$.a", ""), Purpose::Encrypt, None).await;
    let error = encrypted(&cipher, TOPIC, r#"{"a":1,"\u0061":2}"#)
        .await
        .unwrap_err();
    assert_eq!(error.fault, Fault::DuplicateKey("a".into()));
    let elsewhere = r#"{"b":{"c":1,"c":2}}"#;
    assert_eq!(
        encrypted(&cipher, TOPIC, elsewhere).await.unwrap(),
        elsewhere
    );
}

#[tokio::test]
async fn fields_with_a_common_join_share_tokens() {
    let world = World::without_broker();
    let rules = rule("$.customer", "join = \"customer\"") + &rule("$.buyer", "join = \"customer\"");
    let cipher = world.cipher(&rules, Purpose::Encrypt, None).await;
    let one = encrypted(&cipher, "orders", r#"{"customer":"ann"}"#)
        .await
        .unwrap();
    let other = encrypted(&cipher, "sales", r#"{"buyer":"\u0061nn"}"#)
        .await
        .unwrap();
    assert_eq!(one.replace("customer", "buyer"), other);
}

#[tokio::test]
async fn rotated_tokens_move_to_the_newest_key() {
    let world = World::without_broker();
    let old = world.cipher(&rule("$.a", ""), Purpose::Encrypt, None).await;
    let text = r#"{"a":"ann"}"#;
    let mut records = vec![encrypted(&old, TOPIC, text).await.unwrap().into_bytes()];
    let rotated = rule(
        "$.a",
        "version = 2\nprevious = [{ version = 1, key = \"file:key.bin\" }]",
    );
    let rotated = rotated.replacen("key.bin", "other.bin", 1);
    let new = world.cipher(&rotated, Purpose::Rewrap, None).await;
    assert_eq!(
        new.rewrap_batch(TOPIC, &mut records).await[0]
            .as_ref()
            .unwrap()
            .fields,
        1
    );
    let renewed = String::from_utf8(records[0].clone()).unwrap();
    assert!(renewed.contains("det:v2:"), "{renewed}");
    assert_eq!(decrypted(&new, TOPIC, &renewed).await.unwrap(), text);
    let error = decrypted(&old, TOPIC, &renewed).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Refused(_)), "{error}");
}

#[tokio::test]
async fn keys_and_nodes_are_checked_when_a_cipher_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.toml");
    fs::write(&path, rule("$.a", "")).unwrap();
    let rules = Rules::read(&path).unwrap();
    let error = FieldCipher::builder(&rules, Purpose::Encrypt)
        .open()
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("key.bin: the file does not exist"),
        "{error}"
    );
    create_key(&folder.path().join("key.bin")).unwrap();
    FieldCipher::builder(&rules, Purpose::Encrypt)
        .open()
        .await
        .unwrap();

    let rules =
        Rules::parse("[[rule]]\npath = \"$.a\"\nengine = \"kc\"\nkey_topic = \"k\"").unwrap();
    for (purpose, expected) in [
        (Purpose::Encrypt, "needs a node"),
        (Purpose::Rewrap, "needs no rewrap"),
    ] {
        let error = FieldCipher::builder(&rules, purpose)
            .open()
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains(expected) && error.advice().is_some(),
            "{error}"
        );
    }
}
