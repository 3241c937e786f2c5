use super::*;
use crate::chain::{
    Constraints, MAX_ENTRY_LEN, MaxAge, TrustList, UpdateError, accept_chain, encode_certificate,
};
use crate::keys::{SigningKey, VerifyingKey};
use crate::wire::Writer;

fn rng() -> StdRng {
    StdRng::seed_from_u64(3)
}

fn now() -> Timestamp {
    Timestamp::from_secs(1_700_000_000.0).unwrap()
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
