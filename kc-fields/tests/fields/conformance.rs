//! The conformance suite: what every engine must do.

use kc::Node;
use kc::core::provision::Role;
use kc_fields::{Fault, Purpose};

use crate::world::{TOPIC, World, decrypted, encrypted};

/// An engine under test.
struct Subject {
    /// The entries of a rule with this engine.
    options: &'static str,
    /// JSON texts of values that the engine keeps to the byte.
    values: &'static [&'static str],
    /// Whether a token that was moved to another topic or path, or changed, is refused.
    authenticates: bool,
    /// Whether tokens can be tied to a record.
    binds: bool,
}

const ANY: &[&str] = &[
    "\"Ann's \\u00e4ddress \\ud83d\\ude42\"",
    "\"\"",
    "\"🙂\"",
    "1.50e+0007",
    "123456789012345678901234567890",
    "-0",
    "true",
    "{ \"a\" : [1,2 ,3] }",
    "[]",
];

impl Subject {
    fn rule(&self, path: &str, more: &str) -> String {
        format!("[[rule]]\npath = \"{path}\"\n{}\n{more}\n", self.options)
    }

    async fn conforms(&self, world: &World, node: Option<&Node>) {
        self.round_trip(world, node).await;
        self.each_record_by_itself(world, node).await;
        self.moved_tokens(world, node).await;
        if self.binds {
            self.bound(world, node).await;
        }
    }

    /// Values come back to the byte, and everything else stays.
    async fn round_trip(&self, world: &World, node: Option<&Node>) {
        let rules = self.rule("$.items[*].v", "");
        let cipher = world.cipher(&rules, Purpose::Encrypt, node).await;
        for value in self.values {
            let (head, middle, tail) = (
                "{ \"n\":1.0e2,\"items\" :\t[{\"v\":",
                "} , {\"v\"  : ",
                " ,\"w\":\"\\u0041\"}]}\r\n",
            );
            let record = format!("{head}{value}{middle}{value}{tail}");
            let secret = encrypted(&cipher, TOPIC, &record).await.unwrap();
            assert!(
                secret.starts_with(head) && secret.contains(middle) && secret.ends_with(tail),
                "{secret}"
            );
            let hidden = secret
                .replace(head, "")
                .replace(middle, "")
                .replace(tail, "");
            assert!(
                value.len() < 8 || !hidden.contains(value.trim_matches('"')),
                "{secret}"
            );
            assert_eq!(decrypted(&cipher, TOPIC, &secret).await.unwrap(), record);
        }
    }

    /// The records of a batch fail or succeed by themselves, and a record that fails stays as it is.
    async fn each_record_by_itself(&self, world: &World, node: Option<&Node>) {
        let cipher = world
            .cipher(&self.rule("$.v", ""), Purpose::Encrypt, node)
            .await;
        let good = |value: &str| format!("{{\"v\":{value}}}").into_bytes();
        let plain = vec![
            good(self.values[0]),
            b"{\"v\":".to_vec(),
            good(self.values[1]),
            b"{}".to_vec(),
        ];
        let mut records = plain.clone();
        let results = cipher.encrypt_batch(TOPIC, &mut records).await;
        let fields: Vec<_> = results
            .iter()
            .map(|result| result.as_ref().ok().map(|done| done.fields))
            .collect();
        assert_eq!(fields, [Some(1), None, Some(1), Some(0)]);
        assert_eq!((&records[1], &records[3]), (&plain[1], &plain[3]));
        records[1] = b"{\"v\":17}".to_vec();
        let results = cipher.decrypt_batch(TOPIC, &mut records).await;
        assert!(results[1].is_err());
        assert_eq!((&records[0], &records[2]), (&plain[0], &plain[2]));
    }

    /// A token belongs to a topic and a path.
    async fn moved_tokens(&self, world: &World, node: Option<&Node>) {
        let rules = self.rule("$.v", "") + &self.rule("$.w", "");
        let cipher = world.cipher(&rules, Purpose::Encrypt, node).await;
        let record = format!("{{\"v\":{}}}", self.values[0]);
        let secret = encrypted(&cipher, TOPIC, &record).await.unwrap();
        let moved = secret.replace("\"v\"", "\"w\"");
        let elsewhere = [
            decrypted(&cipher, "sales", &secret).await,
            decrypted(&cipher, TOPIC, &moved)
                .await
                .map(|moved| moved.replace("\"w\"", "\"v\"")),
        ];
        for result in elsewhere {
            match result {
                Err(error) => assert!(matches!(error.fault, Fault::Refused(_)), "{error}"),
                Ok(opened) => assert!(!self.authenticates && opened != record, "{opened}"),
            }
        }
        if self.authenticates {
            let (at, letter) = secret.char_indices().rev().nth(6).unwrap();
            let other = if letter == 'A' { "B" } else { "A" };
            let mut changed = secret.clone();
            changed.replace_range(at..=at, other);
            assert!(decrypted(&cipher, TOPIC, &changed).await.is_err());
            for junk in ["\"\"", "\"no token\"", "\"AAAA\"", "17", "{}"] {
                let record = format!("{{\"v\":{junk}}}");
                let error = decrypted(&cipher, TOPIC, &record).await.unwrap_err();
                let is_named = matches!(error.fault, Fault::NotAToken(_) | Fault::Refused(_));
                assert!(
                    is_named && error.path.as_deref() == Some("$.v"),
                    "{junk}: {error}"
                );
            }
        }
    }

    /// With `bind`, a token belongs to a record.
    async fn bound(&self, world: &World, node: Option<&Node>) {
        let rules = self.rule("$.v", "bind = \"$.id\"");
        let cipher = world.cipher(&rules, Purpose::Encrypt, node).await;
        let record = format!("{{\"id\":7,\"v\":{}}}", self.values[0]);
        let secret = encrypted(&cipher, TOPIC, &record).await.unwrap();
        assert_eq!(decrypted(&cipher, TOPIC, &secret).await.unwrap(), record);
        for id in ["8", "\"7\""] {
            let moved = secret.replace("\"id\":7", &format!("\"id\":{id}"));
            let error = decrypted(&cipher, TOPIC, &moved).await.unwrap_err();
            assert!(matches!(error.fault, Fault::Refused(_)), "{error}");
        }
        for unbound in ["{\"v\":1}", "{\"id\":null,\"v\":1}", "{\"id\":[7],\"v\":1}"] {
            let error = encrypted(&cipher, TOPIC, unbound).await.unwrap_err();
            assert_eq!(error.fault, Fault::Bind);
        }
        let unbound = world
            .cipher(&self.rule("$.v", ""), Purpose::Encrypt, node)
            .await;
        assert!(decrypted(&unbound, TOPIC, &secret).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kc() {
    let world = World::start().await;
    let node = world.node("alice", Role::Prodcon, &[]).await;
    let subject = Subject {
        options: "engine = \"kc\"\nkey_topic = \"purchases--v\"",
        values: ANY,
        authenticates: true,
        binds: true,
    };
    subject.conforms(&world, Some(&node)).await;
    node.close().await.unwrap();
}

#[tokio::test]
async fn fpe() {
    let subject = Subject {
        options: "engine = \"fpe\"\nkey = \"file:key.bin\"\nalphabet = \"alphanumeric\"",
        values: &[
            "\"Ann Miller, 17 Main St.\"",
            "\"DE89 3704 0044 0532 0130 00\"",
        ],
        authenticates: false,
        binds: false,
    };
    subject.conforms(&World::without_broker(), None).await;
}

#[tokio::test]
async fn cards() {
    let subject = Subject {
        options: "engine = \"fpe\"\nkey = \"file:key.bin\"\nformat = \"card\"\nkeep_last = 4\nluhn = true",
        values: &["\"4111-1111-1111-1111\"", "\"5500 0000 0000 0004\""],
        authenticates: false,
        binds: false,
    };
    subject.conforms(&World::without_broker(), None).await;
}

#[tokio::test]
async fn deterministic() {
    let subject = Subject {
        options: "engine = \"deterministic\"\nkey = \"file:key.bin\"",
        values: &[
            "\"Ann Miller\"",
            "\"äöü🙂\"",
            "1.50e+0007",
            "{ \"a\" : [1,2 ,3] }",
            "true",
        ],
        authenticates: true,
        binds: false,
    };
    subject.conforms(&World::without_broker(), None).await;
}

#[tokio::test]
async fn envelopes_under_a_key_file() {
    let subject = Subject {
        options: "engine = \"envelope\"\nkey = \"file:key.bin\"",
        values: ANY,
        authenticates: true,
        binds: true,
    };
    subject.conforms(&World::without_broker(), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envelopes_under_the_data_keys_of_nodes() {
    let world = World::start().await;
    let node = world.node("alice", Role::Prodcon, &[]).await;
    let subject = Subject {
        options: "engine = \"envelope\"\nkey = \"kc:purchases--v\"\nmax_records = 2",
        values: ANY,
        authenticates: true,
        binds: true,
    };
    subject.conforms(&world, Some(&node)).await;
    node.close().await.unwrap();
}
