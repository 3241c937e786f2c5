//! Nodes provisioned with both passwords; what the separate ways share is tested there, too.

mod grant;
mod separate;
mod update;

use std::sync::LazyLock;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::chain::Identity;
use crate::chain::{ChainError, Demand, TrustEntry, TrustStore, UnverifiedChain, Usage};
use crate::keys::{KeyType, Signer, SigningKey};
use crate::store::config::{NodeConfig, Section, Value};
use crate::types::{Timestamp, TopicScheme};

static SCHEME: LazyLock<TopicScheme> = LazyLock::new(TopicScheme::default);

fn now() -> Timestamp {
    Timestamp::from_secs(1_700_000_000.0).unwrap()
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(7)
}

fn new_node(role: Role, topics: &[String]) -> NewNode<'_> {
    NewNode {
        topics,
        path_length: Some(1),
        lifetime: Some(Duration::from_secs(3600)),
        ..NewNode::new("n1", role, &SCHEME)
    }
}

fn with_passwords(node: &NewNode<'_>) -> ProvisionedNode {
    provision_node(node, b"root", b"provisioning", now(), &mut rng()).unwrap()
}

fn bytes(config: &NodeConfig, section: Section<'_>, name: &str) -> Vec<u8> {
    match config.load_value(section, name).unwrap() {
        Some(Value::Bytes(bytes)) => bytes,
        other => panic!("{name}: {other:?}"),
    }
}

/// Whom the node trusts, and who it says it is.
fn trust_and_identity(node: &ProvisionedNode) -> (TrustStore, Identity) {
    let root = TrustEntry::parse(&bytes(&node.config, Section::ALLOWLIST, "rot0")).unwrap();
    assert_eq!(root.key(), Some(&node.root));
    let secrets = node.secrets.as_ref().unwrap();
    let key = secrets.signing_keys().next().unwrap();
    let identity = Identity::new(
        key.verifying_key().clone(),
        Some(bytes(&node.config, Section::CHAINS, "chain0")),
    );
    (TrustStore::new(Some(vec![root]), vec![]), identity)
}

fn provision(role: Role, topics: &[String]) -> (TrustStore, Identity, Timestamp) {
    let node = with_passwords(&new_node(role, topics));
    let (trust, identity) = trust_and_identity(&node);
    (trust, identity, now())
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
fn topics_are_cut_by_the_scheme_and_the_configuration_tells_it() {
    let scheme = TopicScheme {
        separator: "_".into(),
        requests_suffix: "_reqs".into(),
        keys_suffix: "_keys".into(),
        subscriptions_suffix: "_subs".into(),
    };
    let topics = ["a_b".to_owned(), "c.d_e".to_owned()];
    let node = with_passwords(&NewNode {
        scheme: &scheme,
        ..new_node(Role::Producer, &topics)
    });
    let chain = bytes(&node.config, Section::CHAINS, "chain0");
    let (trust, _) = trust_and_identity(&node);
    let chain = UnverifiedChain::parse(&chain).unwrap();
    let proven = chain.validate(&trust, &Demand::at(now())).unwrap();
    let granted = ["a".to_owned(), "c.d".to_owned()];
    assert_eq!(proven.constraints().topics.as_deref(), Some(&granted[..]));

    let default = with_passwords(&new_node(Role::Producer, &topics));
    for (name, text) in [
        ("topic_separator", "_"),
        ("topic_suffix_subs", "_subs"),
        ("topic_suffix_keys", "_keys"),
        ("topic_suffix_reqs", "_reqs"),
    ] {
        let load = |node: &ProvisionedNode| node.config.load_text(Section::NODE, name).unwrap();
        assert_eq!(load(&node).unwrap().as_str(), text);
        assert_eq!(load(&default), None);
    }
}

#[test]
fn the_root_itself_certifies_a_chain_server() {
    let node = with_passwords(&new_node(Role::ChainServer, &[]));
    let chain = bytes(&node.config, Section::CHAINS, "chain0");
    assert_eq!(UnverifiedChain::parse(&chain).unwrap().links().len(), 1);
    assert!(node.seed.is_none());
    let ratchet = node.config.load_text(Section::NODE, "ratchet").unwrap();
    assert_eq!(ratchet, None);
}

#[test]
fn a_chain_names_its_key_to_those_who_do_not_know_its_root() {
    for key_type in [KeyType::Ed25519, KeyType::Hybrid] {
        let node = with_passwords(&NewNode {
            key: NewKey::Drawn(key_type),
            ..new_node(Role::Producer, &[])
        });
        let chain = bytes(&node.config, Section::CHAINS, "chain0");
        let chain = UnverifiedChain::parse(&chain).unwrap();
        let secrets = node.secrets.as_ref().unwrap();
        let key = secrets.signing_keys().next().unwrap();
        assert_eq!(chain.claimed_key().as_ref(), Ok(key.verifying_key()));

        let mut forged: Vec<Vec<u8>> = chain.links().iter().map(|link| link.to_vec()).collect();
        *forged[1].last_mut().unwrap() ^= 1;
        let forged: Vec<&[u8]> = forged.iter().map(Vec::as_slice).collect();
        let forged = crate::chain::encode_chain(&forged);
        let forged = UnverifiedChain::parse(&forged).unwrap();
        assert_eq!(forged.claimed_key(), Err(ChainError::Signature(1)));
    }
}

#[test]
fn a_key_that_is_elsewhere_is_certified_and_kept_out_of_the_files() {
    for key_type in [KeyType::Ed25519, KeyType::Hybrid] {
        let elsewhere = SigningKey::generate(key_type, &mut rng());
        let key = elsewhere.verifying_key();
        let node = with_passwords(&NewNode {
            key: NewKey::Elsewhere(key),
            first_index: 7,
            ..new_node(Role::Producer, &[])
        });
        assert!(node.secrets.is_none());
        assert_eq!(node.seed.unwrap().index(), 7);
        for name in ["cryptokey", "ratchet"] {
            assert_eq!(node.config.load_text(Section::NODE, name).unwrap(), None);
        }
        let chain = bytes(&node.config, Section::CHAINS, "chain0");
        let chain = UnverifiedChain::parse(&chain).unwrap();
        assert_eq!(chain.claimed_key().as_ref(), Ok(key));
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
fn a_certificate_without_lifetime_has_no_end() {
    let node = with_passwords(&NewNode {
        lifetime: None,
        ..new_node(Role::Producer, &[])
    });
    assert_eq!(node.expires, None);
    let max_age = node.config.load_value(Section::CRYPTO, "maxage");
    assert_eq!(max_age.unwrap(), None);
    let (trust, identity) = trust_and_identity(&node);
    let late = now().plus(Role::Producer.default_lifetime() * 10);
    assert!(identity.validate(&trust, &Demand::at(late)).is_ok());
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
