mod cases;
mod machine;
mod own;
mod properties;
mod updates;

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::keys::{KeyType, Signer, SigningKey, VerifyingKey};
use crate::secret::Secret;
use crate::types::Timestamp;
use crate::wire::Writer;

const NOW: f64 = 1000.0;

/// Returns the classical key with this number.
fn key(number: u8) -> SigningKey {
    SigningKey::from_ed25519_seed(&seed(number))
}

/// Returns a hybrid key with the Ed25519 half of the [`key`] with the same number.
fn hybrid(number: u8) -> SigningKey {
    SigningKey::from_hybrid_seeds(&seed(number), &seed(number))
}

fn seed<const N: usize>(number: u8) -> Secret<N> {
    Secret::fill_with(|secret| secret.fill(number))
}

fn granting(topics: &[&str], usages: &[&str]) -> Constraints {
    let list = |list: &[&str]| Some(list.iter().map(|&text| text.to_owned()).collect());
    Constraints {
        topics: list(topics),
        usages: list(usages),
        path_length: None,
    }
}

/// The grants of the certificates in these tests, unless a test needs others.
fn usual() -> Constraints {
    granting(&["t"], &["key-encrypt"])
}

fn certificate(max_age: MaxAge, constraints: &Constraints, subject: &VerifyingKey) -> Vec<u8> {
    let write_key = |writer: &mut Writer| subject.write_to(writer);
    encode_certificate(max_age, &constraints.encode(), write_key, (0, |_| {}))
}

fn usual_certificate(subject: &SigningKey) -> Vec<u8> {
    certificate(MaxAge::Float(NOW), &usual(), subject.verifying_key())
}

fn sign(signer: &SigningKey, certificate: &[u8]) -> Vec<u8> {
    signer
        .sign(certificate, &mut StdRng::seed_from_u64(7))
        .unwrap()
}

fn chain(links: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.array(links.len());
    links.iter().for_each(|link| {
        writer.bytes(link);
    });
    writer.into_vec()
}

/// Links of a chain in which root 1 certifies key 2, and key 2 certifies key 3.
fn usual_links() -> [Vec<u8>; 2] {
    [
        sign(&key(1), &usual_certificate(&key(2))),
        sign(&key(2), &usual_certificate(&key(3))),
    ]
}

fn entry(key: &SigningKey) -> TrustEntry {
    TrustEntry::unrestricted(key.verifying_key())
}

fn trust(roots: &[&SigningKey]) -> TrustStore {
    TrustStore::new(Some(roots.iter().map(|root| entry(root)).collect()), vec![])
}

fn denying(denied: &[&SigningKey]) -> TrustStore {
    let denylist = denied.iter().map(|key| entry(key)).collect();
    TrustStore::new(Some(vec![entry(&key(1))]), denylist)
}

fn demand() -> Demand<'static> {
    Demand::at(Timestamp::from_secs(NOW).unwrap())
        .topic("t")
        .usage(Usage::Encrypt)
}

/// Returns the keys of the last certificate and the path, or the check that refused the chain.
fn validate(
    chain: &[u8],
    trust: &TrustStore,
    demand: &Demand<'_>,
) -> Result<(CertificateKeys, Vec<VerifyingKey>), Check> {
    UnverifiedChain::parse(chain)
        .and_then(|parsed| parsed.validate(trust, demand))
        .map(|valid| (valid.keys().clone(), valid.path().to_vec()))
        .map_err(|error| error.check())
}

#[test]
fn lists_forget_a_key_and_no_other() {
    let key = |byte| VerifyingKey::Ed25519([byte; 32]);
    let entry = |byte| TrustEntry::unrestricted(&key(byte));
    let trust = TrustStore::new(Some(vec![entry(1), entry(2)]), vec![entry(1), entry(3)]);
    let lists = |trust: &TrustStore, list| [1, 2, 3].map(|byte| trust.lists(list, &key(byte)));
    let allowed = trust.clone().without(TrustList::Allow, &key(1));
    assert_eq!(lists(&allowed, TrustList::Allow), [false, true, false]);
    assert_eq!(lists(&allowed, TrustList::Deny), [true, false, true]);
    let denied = trust.without(TrustList::Deny, &key(1));
    assert_eq!(lists(&denied, TrustList::Allow), [true, true, false]);
    assert_eq!(lists(&denied, TrustList::Deny), [false, false, true]);
}

#[test]
fn the_chain_that_the_cases_spoil_is_valid() {
    let (keys, path) = validate(&chain(&usual_links()), &trust(&[&key(1)]), &demand()).unwrap();
    assert_eq!(keys.signer(), Some(key(3).verifying_key()));
    let expected = [1, 2, 3].map(|number| key(number).verifying_key().clone());
    assert_eq!(path, expected);
}

#[test]
fn a_certificate_without_a_single_signing_key_is_named_by_its_index() {
    let list = |writer: &mut Writer| {
        writer.array(1);
        key(3).verifying_key().write_to(writer);
    };
    let list = encode_certificate(MaxAge::Float(NOW), &usual().encode(), list, (0, |_| {}));
    let [first, _] = usual_links();
    let last = chain(&[first, sign(&key(2), &list)]);
    let last = UnverifiedChain::parse(&last).unwrap();
    assert_eq!(last.claimed_key(), Err(ChainError::NotASigner(1)));

    let inner = chain(&[sign(&key(1), &list), usual_links()[1].clone()]);
    let inner = UnverifiedChain::parse(&inner).unwrap();
    let refusal = ChainError::NotASigner(0);
    assert_eq!(inner.claimed_key().as_ref(), Err(&refusal));
    let refused = inner.validate(&trust(&[&key(1)]), &demand());
    assert_eq!(refused.unwrap_err(), refusal);
    let text = "certificate 0 is not for a single signing key";
    assert_eq!(refusal.to_string(), text);
}

#[test]
fn every_negative_case_is_refused_by_its_check() {
    for case in cases::all() {
        let result = validate(&case.chain, &case.trust, &case.demand);
        assert_eq!(result.err(), Some(case.check), "{}", case.what);
    }
}

#[test]
fn every_check_has_a_negative_case() {
    let refused: BTreeSet<_> = cases::all().into_iter().map(|case| case.check).collect();
    assert_eq!(refused, BTreeSet::from(Check::ALL));
}

#[test]
fn checks_are_numbered_in_order() {
    let ids: Vec<_> = Check::ALL.iter().map(ToString::to_string).collect();
    let expected: Vec<_> = (1..=15).map(|number| format!("C{number:02}")).collect();
    assert_eq!(ids, expected);
}

#[test]
fn with_several_roots_the_refusal_is_of_the_one_that_signed() {
    let expired = certificate(MaxAge::Float(NOW - 1.0), &usual(), key(3).verifying_key());
    let chain = chain(&[sign(&key(1), &expired)]);
    for roots in [[1, 8, 9], [8, 1, 9], [8, 9, 1]] {
        let roots = roots.map(key);
        let trust = trust(&roots.each_ref());
        assert_eq!(validate(&chain, &trust, &demand()), Err(Check::Expiry));
    }
}

#[test]
fn a_classical_root_stands_back_behind_the_hybrid_root_with_its_key() {
    let classical = chain(&[sign(&key(1), &usual_certificate(&key(3)))]);
    let both = trust(&[&hybrid(1), &key(1)]);
    assert_eq!(validate(&classical, &both, &demand()), Err(Check::Root));
    let allowed = both.allow_classical_root(true);
    assert!(validate(&classical, &allowed, &demand()).is_ok());

    let another = trust(&[&hybrid(2), &key(1)]);
    assert!(validate(&classical, &another, &demand()).is_ok());
}

#[test]
fn a_denied_hybrid_root_takes_its_classical_half_out_of_force() {
    let by_half = chain(&[sign(&key(1), &usual_certificate(&key(3)))]);
    let denied = |allowed: &[&SigningKey]| {
        let allowlist = allowed.iter().map(|key| entry(key)).collect();
        TrustStore::new(Some(allowlist), vec![entry(&hybrid(1))])
    };
    for trust in [denied(&[&hybrid(1), &key(1)]), denied(&[&key(1)])] {
        for trust in [trust.clone(), trust.allow_classical_root(true)] {
            assert!(
                trust
                    .roots()
                    .all(|(root, _)| root != key(1).verifying_key())
            );
            assert_eq!(validate(&by_half, &trust, &demand()), Err(Check::Root));
        }
    }
    let another = denied(&[&hybrid(2), &key(2)]).allow_classical_root(true);
    let by_another = chain(&[sign(&key(2), &usual_certificate(&key(3)))]);
    assert!(validate(&by_another, &another, &demand()).is_ok());
}

#[test]
fn a_stripped_post_quantum_half_does_not_pass_for_a_classical_signature() {
    let root = hybrid(1);
    let full = sign(&root, &usual_certificate(&key(3)));
    let ed25519_signed = 64 + usual_certificate(&key(3)).len();
    let stripped = full[full.len() - ed25519_signed..].to_vec();

    let both = trust(&[&root, &key(1)]);
    let (_, path) = validate(&chain(&[full]), &both, &demand()).unwrap();
    assert_eq!(path[0].key_type(), KeyType::Hybrid);
    let stripped = chain(&[stripped]);
    assert_eq!(validate(&stripped, &both, &demand()), Err(Check::Root));
    assert!(validate(&stripped, &both.allow_classical_root(true), &demand()).is_ok());
}

#[test]
fn the_temporary_root_is_none() {
    let temporary = TrustEntry::unrestricted(&TEMPORARY_ROOT);
    let trust = TrustStore::new(Some(vec![temporary, entry(&key(1))]), vec![]);
    let roots: Vec<_> = trust.roots().map(|(root, _)| root.clone()).collect();
    assert_eq!(roots, [key(1).verifying_key().clone()]);
}

#[test]
fn what_is_no_root_restores_no_trust() {
    let below_a_denied_key = |leaf: &VerifyingKey| {
        let leaf = certificate(MaxAge::UNLIMITED, &usual(), leaf);
        chain(&[usual_links()[0].clone(), sign(&key(2), &leaf)])
    };
    let allowing = |allowed: Vec<TrustEntry>| {
        let allowlist = [vec![entry(&key(1))], allowed].concat();
        TrustStore::new(Some(allowlist), vec![entry(&key(2))])
    };

    let temporary = allowing(vec![TrustEntry::unrestricted(&TEMPORARY_ROOT)]);
    let chain = below_a_denied_key(&TEMPORARY_ROOT);
    assert_eq!(
        validate(&chain, &temporary, &demand()),
        Err(Check::Denylist)
    );

    let classical = allowing(vec![entry(&hybrid(4)), entry(&key(4))]);
    let chain = below_a_denied_key(key(4).verifying_key());
    assert_eq!(
        validate(&chain, &classical, &demand()),
        Err(Check::Denylist)
    );
    let mut classical = classical.allow_classical_root(true);
    assert!(validate(&chain, &classical, &demand()).is_ok());
    classical.add(TrustList::Deny, entry(&hybrid(4)));
    assert_eq!(
        validate(&chain, &classical, &demand()),
        Err(Check::Denylist)
    );
}

#[test]
fn a_chain_has_at_most_so_many_links_and_shows_who_must_have_signed() {
    let links = usual_links();
    let many = |count: usize| chain(&vec![links[0].clone(); count]);
    assert!(UnverifiedChain::parse(&many(MAX_LINKS)).is_ok());
    assert_eq!(
        UnverifiedChain::parse(&many(MAX_LINKS + 1)),
        Err(ChainError::Length(MAX_LINKS + 1))
    );
    let both = chain(&links);
    let parsed = UnverifiedChain::parse(&both).unwrap();
    assert_eq!(parsed.peek_signer().as_ref(), Some(key(2).verifying_key()));
    assert_eq!(parsed.peek_key().as_ref(), Some(key(3).verifying_key()));
    let alone = many(1);
    assert_eq!(UnverifiedChain::parse(&alone).unwrap().peek_signer(), None);
}

#[test]
fn the_elements_behind_the_key_belong_to_the_message() {
    let subject = key(3).verifying_key().clone();
    let certificate = encode_certificate(
        MaxAge::UNLIMITED,
        &usual().encode(),
        |writer| subject.write_to(writer),
        (2, |writer: &mut Writer| {
            writer.uint(7).bytes(b"x");
        }),
    );
    let chain = chain(&[sign(&key(1), &certificate)]);
    let at = Demand::at(Timestamp::from_secs(NOW).unwrap());
    let parsed = UnverifiedChain::parse(&chain).unwrap();
    let valid = parsed.validate(&trust(&[&key(1)]), &at).unwrap();
    let expected = vec![crate::wire::Value::Int(7), crate::wire::Value::Bytes(b"x")];
    assert_eq!(valid.extra(), expected);
    assert_eq!(valid.root(), Some(key(1).verifying_key()));
}

#[test]
fn an_expression_matches_from_the_start_of_a_topic() {
    let granted = granting(&["^t[0-9]", "u"], &["key-encrypt"]);
    let link = certificate(MaxAge::UNLIMITED, &granted, key(3).verifying_key());
    let chain = chain(&[sign(&key(1), &link)]);
    for (topic, refused) in [
        ("t1", None),
        ("t1.more", None),
        ("u", None),
        ("xt1", Some(Check::Topic)),
        ("tx", Some(Check::Topic)),
        ("ux", Some(Check::Topic)),
    ] {
        let demand = Demand::at(Timestamp::from_secs(NOW).unwrap()).topic(topic);
        assert_eq!(
            validate(&chain, &trust(&[&key(1)]), &demand).err(),
            refused,
            "{topic}"
        );
    }
}

#[test]
fn a_key_revokes_itself_and_nothing_else() {
    let limits = granting(&[], &["key-denylist"]);
    let limits = Constraints {
        topics: None,
        path_length: Some(1),
        ..limits
    };
    let own = certificate(MaxAge::UNLIMITED, &limits, key(5).verifying_key());
    let revocation = chain(&[own.clone(), sign(&key(5), &own)]);
    let at = Demand::at(Timestamp::from_secs(NOW).unwrap());
    for demand in [at, at.usage(Usage::Denylist), at.usage(Usage::Allowlist)] {
        let refused = validate(&revocation, &trust(&[]), &demand);
        assert_eq!(refused, Err(Check::Root), "{demand:?}");
    }

    let verified = |chain: &[u8]| {
        let chain = UnverifiedChain::parse(chain).unwrap();
        let revocation = chain.self_revocation().unwrap();
        revocation.verify().map_err(|error| error.check())
    };
    let proven = verified(&revocation).unwrap();
    assert_eq!(proven.keys().signer(), Some(key(5).verifying_key()));
    assert!(!proven.grants(Usage::Encrypt));
    let of_another = chain(&[own.clone(), sign(&key(6), &own)]);
    assert_eq!(verified(&of_another), Err(Check::Signature));

    // Without room for one more certificate, the layout is another one.
    for path_length in [None, Some(0)] {
        let limits = Constraints {
            path_length,
            ..limits.clone()
        };
        let full = certificate(MaxAge::UNLIMITED, &limits, key(5).verifying_key());
        let message = chain(&[full, sign(&key(5), &own)]);
        let parsed = UnverifiedChain::parse(&message).unwrap();
        assert_eq!(parsed.self_revocation(), None, "{path_length:?}");
    }

    // A key may sign certificates for itself, for example to request a chain. They do not deny it.
    for usages in [&["key-encrypt"][..], &[]] {
        let limits = Constraints {
            usages: granting(&[], usages).usages.filter(|list| !list.is_empty()),
            ..limits.clone()
        };
        let other = certificate(MaxAge::UNLIMITED, &limits, key(5).verifying_key());
        let signed_for_other = chain(&[own.clone(), sign(&key(5), &other)]);
        assert_eq!(verified(&signed_for_other), Err(Check::Usage), "{usages:?}");
        let of_other = chain(&[other, sign(&key(5), &own)]);
        let parsed = UnverifiedChain::parse(&of_other).unwrap();
        assert_eq!(parsed.self_revocation(), None, "{usages:?}");
    }
}

#[test]
fn lists_that_take_long_to_look_at_are_refused() {
    let refused = |topics: Vec<String>| {
        let constraints = Constraints {
            topics: Some(topics),
            ..Constraints::default()
        };
        Restrictions::decode(&constraints.encode()).is_err()
    };
    let patterns = |count: usize| (0..count).map(|n| format!("^{n}")).collect();
    assert!(!refused(patterns(MAX_PATTERNS)));
    assert!(refused(patterns(MAX_PATTERNS + 1)));
    let pattern = |length: usize| vec![format!("^{}", "x".repeat(length - 1))];
    assert!(!refused(pattern(MAX_PATTERN_LEN)));
    assert!(refused(pattern(MAX_PATTERN_LEN + 1)));
    let literals = |count: usize| vec!["literal".to_owned(); count];
    assert!(!refused(literals(MAX_LIST_LEN)));
    assert!(refused(literals(MAX_LIST_LEN + 1)));
    let repeated = |count: usize| {
        let mut constraints = Writer::new();
        constraints.array(count);
        for _ in 0..count {
            constraints.array(2).text("pathlen").uint(1);
        }
        Restrictions::decode(&constraints.into_vec()).is_err()
    };
    assert!(!repeated(MAX_RESTRICTIONS));
    assert!(repeated(MAX_RESTRICTIONS + 1));
    // Short to write, large when compiled: it matches nothing.
    let large = "^(.{99}){90}".to_owned();
    assert_eq!(multimatch(&"x".repeat(9000), &[large]), Ok(false));
}
