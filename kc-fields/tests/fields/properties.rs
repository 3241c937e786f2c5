//! Properties over generated JSON.

use kc::core::provision::Role;
use kc_fields::{FieldCipher, Purpose};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::world::{TOPIC, World, decrypted, encrypted};

/// White space as JSON allows it.
fn space() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![Just(' '), Just('\t'), Just('\n'), Just('\r')],
        0..3,
    )
    .prop_map(String::from_iter)
}

/// The text of a JSON string, some of whose characters are escaped.
fn string() -> impl Strategy<Value = String> {
    proptest::collection::vec((any::<char>(), any::<bool>()), 0..12).prop_map(|letters| {
        let letters = letters.into_iter().map(|(letter, escaped)| {
            if escaped || letter < ' ' || matches!(letter, '"' | '\\') {
                let mut units = [0; 2];
                letter
                    .encode_utf16(&mut units)
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}"))
                    .collect()
            } else {
                letter.to_string()
            }
        });
        format!("\"{}\"", letters.collect::<String>())
    })
}

fn number() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,6})?"
}

/// The text of a JSON value.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        string(),
        number(),
        Just("true".to_owned()),
        Just("false".to_owned()),
        Just("null".to_owned())
    ];
    leaf.prop_recursive(6, 24, 4, |inside| {
        let element = (space(), inside, space())
            .prop_map(|(before, value, after)| format!("{before}{value}{after}"))
            .boxed();
        let elements = proptest::collection::vec(element.clone(), 0..4);
        let members = proptest::collection::vec((string(), element), 0..4);
        let object = move |members: Vec<(String, String)>| {
            let members = members.into_iter().enumerate();
            // The number makes the names different.
            let members =
                members.map(|(number, (name, value))| format!("\"{number}{}:{value}", &name[1..]));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        };
        prop_oneof![
            elements.prop_map(|elements| format!("[{}]", elements.join(","))),
            members.prop_map(object)
        ]
    })
}

/// Records with fields at the paths of the rules, and with other members around them.
fn record() -> impl Strategy<Value = String> {
    let notes = proptest::collection::vec((space(), value()), 0..4);
    (space(), value(), value(), notes, value(), any::<u32>()).prop_map(|(space, secret, other, notes, last, id)| {
        let notes = notes.iter().map(|(space, note)| format!("{{\"x\":1,{space}\"note\":{space}{note}}}"));
        let notes = notes.collect::<Vec<_>>().join(&format!("{space},"));
        format!(
            "{space}{{\"id\":{id},\"secret\"{space}:{secret},\"other\":{other}{space},\"items\":[{notes}],\"last\":{last}}}{space}"
        )
    })
}

fn round_trips(cipher: &FieldCipher, cases: u32) {
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let run = |record: String| {
        block_in_place(|| {
            Handle::current().block_on(async {
                let secret = encrypted(cipher, TOPIC, &record).await.unwrap();
                assert_eq!(decrypted(cipher, TOPIC, &secret).await.unwrap(), record);
                let (before, rest) = record.split_once("\"secret\"").unwrap();
                assert!(secret.starts_with(before));
                let other =
                    &rest[rest.find("\"other\":").unwrap()..rest.find("\"items\"").unwrap()];
                assert!(secret.contains(other), "{secret}");
                let last = &record[record.rfind("\"last\":").unwrap()..];
                assert!(secret.ends_with(last));
            });
        });
        Ok(())
    };
    runner.run(&record(), run).unwrap();
}

fn rules(options: &str) -> String {
    let rule =
        |path: &str| format!("[[rule]]\npath = \"{path}\"\non_null = \"encrypt\"\n{options}\n");
    rule("$.secret") + &rule("$.items[*].note")
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_to_the_byte_from_engine_kc() {
    let world = World::start().await;
    let node = world.node("alice", Role::Prodcon, &[]).await;
    let rules = rules("engine = \"kc\"\nkey_topic = \"purchases--v\"\nbind = \"$.id\"");
    round_trips(
        &world.cipher(&rules, Purpose::Encrypt, Some(&node)).await,
        300,
    );
    node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_back_to_the_byte_from_envelopes() {
    let rules = rules("engine = \"envelope\"\nkey = \"file:key.bin\"\nbind = \"$.id\"");
    let world = World::without_broker();
    round_trips(&world.cipher(&rules, Purpose::Encrypt, None).await, 300);
}

proptest! {
    #![proptest_config(Config { cases: 200, failure_persistence: None, ..Config::default() })]

    /// Text in any alphabet comes back, and what is not in the alphabet stays.
    #[test]
    fn text_comes_back_from_format_preserving_encryption(text in "[0-9a-zA-Z]{6,40}[ .,äß🙂-]{0,6}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::without_broker();
            let rules = "[[rule]]\npath = \"$.a\"\nengine = \"fpe\"\nkey = \"file:key.bin\"\nalphabet = \"alphanumeric\"";
            let cipher = world.cipher(rules, Purpose::Encrypt, None).await;
            let record = format!("{{\"a\":\"{text}\"}}");
            let secret = encrypted(&cipher, TOPIC, &record).await.unwrap();
            assert_eq!(secret.len(), record.len());
            assert!(!secret.contains(&text[..6]) , "{secret}");
            assert_eq!(decrypted(&cipher, TOPIC, &secret).await.unwrap(), record);
        });
    }
}
