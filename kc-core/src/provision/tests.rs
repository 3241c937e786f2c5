use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::chain::{ChainError, Demand, TrustEntry, TrustStore, Usage};
use crate::exchange::Identity;
use crate::keys::{KeyType, Signer};
use crate::store::config::{Section, Value};
use crate::types::Timestamp;

fn provision(role: Role, topics: &[String]) -> (TrustStore, Identity, Timestamp) {
    let now = Timestamp::from_secs(1_700_000_000.0).unwrap();
    let node = NewNode {
        id: "n1",
        role,
        topics,
        path_length: Some(1),
        lifetime: Duration::from_secs(3600),
        key_type: KeyType::Ed25519,
        ssl_cafile: "",
    };
    let mut rng = StdRng::seed_from_u64(7);
    let node = provision_node(&node, b"root", b"provisioning", now, &mut rng).unwrap();
    let bytes = |section, name: &str| match node.config.load_value(section, name).unwrap() {
        Some(Value::Bytes(bytes)) => bytes,
        other => panic!("{name}: {other:?}"),
    };
    let root = TrustEntry::parse(&bytes(Section::ALLOWLIST, "rot0")).unwrap();
    assert_eq!(root.key(), Some(&node.root));
    let key = node.secrets.signing_keys().next().unwrap();
    let identity = Identity::new(
        key.verifying_key().clone(),
        Some(bytes(Section::CHAINS, "chain0")),
    );
    (TrustStore::new(Some(vec![root]), vec![]), identity, now)
}

#[test]
fn each_role_is_granted_its_usages_and_no_others() {
    for role in Role::ALL {
        let (trust, identity, now) = provision(role, &[]);
        for usage in [
            Usage::Encrypt,
            Usage::EncryptRequest,
            Usage::EncryptSubscribe,
        ] {
            let demand = Demand::at(now).topic("anything").usage(usage);
            let granted = identity.validate(&trust, &demand).is_ok();
            assert_eq!(granted, role.usages().contains(&usage), "{role} {usage:?}");
        }
    }
}

#[test]
fn topics_are_cut_to_their_roots() {
    let topics = ["a.b".to_owned(), "a.c".to_owned(), "d".to_owned()];
    let (trust, identity, now) = provision(Role::Producer, &topics);
    for (topic, granted) in [("a", true), ("d", true), ("e", false), ("a.b", false)] {
        let result = identity.validate(&trust, &Demand::at(now).topic(topic));
        assert_eq!(result.is_ok(), granted, "{topic}");
    }
}

#[test]
fn certificates_end_with_their_lifetime() {
    let (trust, identity, now) = provision(Role::Producer, &[]);
    let last = now.plus(Duration::from_secs(3600));
    assert!(identity.validate(&trust, &Demand::at(last)).is_ok());
    let over = last.plus(Duration::from_secs(1));
    let error = identity.validate(&trust, &Demand::at(over)).unwrap_err();
    assert!(matches!(error, ChainError::Expired(_)));
}

#[test]
fn roles_are_found_by_their_names() {
    for role in Role::ALL {
        assert_eq!(role.name().parse(), Ok(role));
    }
    let error = "prodcom".parse::<Role>().unwrap_err();
    assert!(error.contains("prodcon-limited"), "{error}");
}

#[test]
fn debug_output_shows_neither_seed_nor_salt() {
    let root = derive_root(b"root", KeyType::Ed25519).unwrap();
    let shown = format!("{root:?}");
    assert!(shown.contains("redacted"), "{shown}");
    for secret in [root.salt.as_slice(), root.seed.expose()] {
        let listed = format!("{:?}", &secret[..3]);
        assert!(!shown.contains(listed.trim_matches(['[', ']'])), "{shown}");
    }
}
