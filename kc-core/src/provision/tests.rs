//! Nodes provisioned with both passwords, and the parts that all ways of provisioning share.

mod separate;

use std::sync::LazyLock;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::chain::{
    Certificate, ChainError, Constraints, Demand, Identity, MAX_ENTRY_LEN, MaxAge, TrustEntry,
    TrustList, TrustStore, UnverifiedChain, UpdateError, Usage, accept_chain, encode_certificate,
};
use crate::chain_server::{ChainKey, RenewalPolicy};
use crate::keys::{KeyType, Signer, SigningKey, VerifyingKey};
use crate::store::config::{NodeConfig, Section, Value};
use crate::types::{Timestamp, TopicScheme};
use crate::wire::Writer;

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

/// Returns the node's lists and its identity.
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
fn a_regular_expression_among_the_topics_is_not_cut() {
    let topics = ["^al.*$".to_owned(), "t.a".to_owned()];
    let constraints = Role::Producer.constraints(&topics, &SCHEME, Some(1));
    let granted = constraints.unwrap().topics.unwrap();
    assert_eq!(granted, ["^al.*$", "t"]);
}

#[test]
fn a_chain_tells_the_provisioner_that_issued_it() {
    for role in Role::ALL {
        let node = with_passwords(&new_node(role, &[]));
        let chain = bytes(&node.config, Section::CHAINS, "chain0");
        let expected = role.provisioner().map(|by| {
            let key = derive_provisioner(b"provisioning", by, &node.root, KeyType::Ed25519);
            (by, key.unwrap().key.verifying_key().clone())
        });
        assert_eq!(provisioner_of(&chain, &node.root), expected, "{role}");
        let other = derive_root(b"other", KeyType::Ed25519).unwrap().key;
        assert_eq!(provisioner_of(&chain, other.verifying_key()), None);
    }
}

#[test]
fn topics_are_cut_by_the_scheme_and_the_configuration_tells_it() {
    let scheme = TopicScheme {
        separator: "_".into(),
        requests_suffix: "_reqs".into(),
        keys_suffix: "_keys".into(),
        subscriptions_suffix: "_subs".into(),
        ..TopicScheme::default()
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
    assert!(matches!(error, ChainError::Expired { .. }));
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

fn issue(role: Role, key: &VerifyingKey, expires: MaxAge) -> Result<IssuedChain, ProvisionError> {
    let topics = ["a.b".to_owned()];
    let grant = Grant {
        role,
        constraints: role.constraints(&topics, &SCHEME, Some(1)).unwrap(),
        expires,
    };
    issue_chain(key, &grant, b"root", b"provisioning", now(), &mut rng())
}

#[test]
fn a_node_of_too_many_topics_is_refused() {
    let constraints = |count: usize| {
        let topics: Vec<_> = (0..count).map(|number| format!("t{number}")).collect();
        Role::Producer.constraints(&topics, &SCHEME, None)
    };
    assert!(constraints(MAX_TOPICS).is_ok());
    let refused = constraints(MAX_TOPICS + 1);
    assert!(matches!(refused, Err(ProvisionError::TooManyTopics(_))));
}

#[test]
fn a_chain_for_a_known_key_is_as_that_of_a_new_node() {
    for role in Role::ALL {
        for key_type in [KeyType::Ed25519, KeyType::Hybrid] {
            let key = SigningKey::generate(key_type, &mut rng());
            let key = key.verifying_key();
            let issued = issue(role, key, MaxAge::UNLIMITED).unwrap();
            let root = derive_root(b"root", key_type).unwrap().key;
            assert_eq!(&issued.root, root.verifying_key());
            let identity = Identity::new(key.clone(), Some(issued.chain));
            let entry = TrustEntry::unrestricted(&issued.root);
            let trust = TrustStore::new(Some(vec![entry]), vec![]);
            for usage in [
                Usage::Encrypt,
                Usage::EncryptRequest,
                Usage::EncryptSubscribe,
            ] {
                let demand = Demand::at(now()).topic("a").usage(usage);
                let granted = identity.validate(&trust, &demand).is_ok();
                assert_eq!(granted, role.usages().contains(&usage), "{role} {usage:?}");
            }
        }
    }
}

#[test]
fn a_chain_that_has_ended_is_not_issued() {
    let key = SigningKey::generate(KeyType::Ed25519, &mut rng());
    let ended = Timestamp::from_secs(now().as_secs() - 1.0).unwrap();
    let error = issue(Role::Producer, key.verifying_key(), MaxAge::until(ended)).unwrap_err();
    let expired = |error: &ChainError| matches!(error, ChainError::Expired { .. });
    assert!(matches!(error, ProvisionError::Certificate(error) if expired(&error)));
}

#[test]
fn signed_certificates_of_both_types_are_read() {
    for key_type in [KeyType::Ed25519, KeyType::Hybrid] {
        let root = derive_root(b"root", key_type).unwrap().key;
        let key = SigningKey::generate(KeyType::Ed25519, &mut rng());
        let entry = TrustEntry::unrestricted(key.verifying_key());
        let signed = sign_request(&root, entry.as_bytes(), &mut rng()).unwrap();
        let read = Certificate::parse_signed(&signed).unwrap();
        assert_eq!(read, Certificate::parse(entry.as_bytes()).unwrap());
        for cut in [0, 1, 64, signed.len() - 1] {
            assert!(Certificate::parse_signed(&signed[..cut]).is_err(), "{cut}");
        }
    }
}

#[test]
fn a_key_new_to_a_chain_server_is_due() {
    let key = SigningKey::generate(KeyType::Ed25519, &mut rng());
    let constraints = Role::Producer.constraints(&[], &SCHEME, Some(1)).unwrap();
    let entry = ChainKey::due_at(now(), key.verifying_key(), &constraints);
    assert!(RenewalPolicy::default().due(&entry).unwrap() < now());
    assert_eq!(ChainKey::parse(&entry.encode()), Ok(entry));
}

fn trusting(roots: &[&SigningKey]) -> TrustStore {
    let entries = roots
        .iter()
        .map(|root| TrustEntry::unrestricted(root.verifying_key()));
    TrustStore::new(Some(entries.collect()), vec![])
}

fn update(list: TrustList, key: &VerifyingKey, by: &SigningKey) -> Vec<u8> {
    let entry = TrustEntry::unrestricted(key);
    compose_update(list, &entry, MaxAge::UNLIMITED, (by, None), &mut rng()).unwrap()
}

#[test]
fn an_entry_that_is_too_long_is_refused() {
    let key = SigningKey::generate(KeyType::Ed25519, &mut rng());
    let mut entry = Writer::new();
    entry.array(4).uint(0).bytes(&[0x90]);
    key.verifying_key().write_to(&mut entry);
    entry.bytes(&vec![0; MAX_ENTRY_LEN]);
    let entry = TrustEntry::parse(&entry.into_vec()).unwrap();
    let by = (&key as &dyn Signer, None);
    let long = compose_update(TrustList::Deny, &entry, MaxAge::UNLIMITED, by, &mut rng()).unwrap();
    let refused = TrustList::Deny.judge(&long, &trusting(&[&key]), now());
    assert_eq!(refused, Err(UpdateError::Entry("too long")));
}

#[test]
fn a_hybrid_root_takes_the_place_of_its_classical_half_only_by_its_leave() {
    let classical = derive_root(b"root", KeyType::Ed25519).unwrap().key;
    let hybrid = derive_root(b"root", KeyType::Hybrid).unwrap().key;
    let other = derive_root(b"other", KeyType::Ed25519).unwrap().key;
    let trust = trusting(&[&classical, &other]);
    let accept = |by: &SigningKey| {
        let update = update(TrustList::Allow, hybrid.verifying_key(), by);
        TrustList::Allow.judge(&update, &trust, now())
    };
    assert_eq!(accept(&other), Err(UpdateError::OtherHalf));
    assert!(accept(&classical).is_ok());
}

#[test]
fn who_is_trusted_for_some_topics_neither_replaces_a_root_nor_updates_lists() {
    let classical = derive_root(b"root", KeyType::Ed25519).unwrap().key;
    let hybrid = derive_root(b"root", KeyType::Hybrid).unwrap().key;
    let limited = TrustEntry::unrestricted(hybrid.verifying_key());
    let limited = limited.within(Some(vec!["t".into()])).unwrap();
    let mut trust = trusting(&[&classical]);
    trust.add(TrustList::Allow, limited);
    let roots: Vec<_> = trust.roots().map(|(root, _)| root).collect();
    assert!(roots.contains(&classical.verifying_key()));
    let denial = update(TrustList::Deny, classical.verifying_key(), &hybrid);
    let refused = TrustList::Deny.judge(&denial, &trust, now());
    assert!(matches!(
        refused,
        Err(UpdateError::Chain(ChainError::Usage(_)))
    ));
}

#[test]
fn a_node_cannot_certify_another() {
    let node = with_passwords(&new_node(Role::Consumer, &[]));
    let secrets = node.secrets.as_ref().unwrap();
    let own = secrets.signing_keys().next().unwrap();
    let chain = bytes(&node.config, Section::CHAINS, "chain0");
    let victim = SigningKey::generate(KeyType::Ed25519, &mut rng());
    let certificate = encode_certificate(
        MaxAge::UNLIMITED,
        &Constraints::default().encode(),
        |writer| victim.verifying_key().write_to(writer),
        (0, |_| {}),
    );
    let link = own.sign(&certificate, &mut rng()).unwrap();
    let forged = UnverifiedChain::parse(&chain).unwrap().extended(&link);
    let trust = TrustStore::new(Some(vec![TrustEntry::unrestricted(&node.root)]), vec![]);
    let accept = |key: &VerifyingKey, chain: &[u8]| accept_chain(key, None, chain, &trust, now());
    let refused = accept(victim.verifying_key(), &forged);
    assert_eq!(refused, Err(UpdateError::Chain(ChainError::PathLength)));
    assert_eq!(accept(own.verifying_key(), &chain), Ok(()));
}
