//! Messages of the list topics: what they may add, and for what.

use super::trust as root_trust;
use super::*;
use crate::provision::{compose_update, self_revocation};

fn now() -> Timestamp {
    Timestamp::from_secs(NOW).unwrap()
}

/// Returns a message that adds `added` to a list, signed by a root or by the last key of a chain.
fn update(list: TrustList, added: &TrustEntry, by: (&SigningKey, Option<&[u8]>)) -> Vec<u8> {
    let (signer, chain) = by;
    let mut rng = StdRng::seed_from_u64(5);
    compose_update(
        list,
        added,
        MaxAge::UNLIMITED,
        (signer as &dyn Signer, chain),
        &mut rng,
    )
    .unwrap()
}

#[test]
fn the_lists_have_their_names() {
    assert_eq!(TrustList::Allow.name(), "allowlist");
    assert_eq!(TrustList::Deny.name(), "denylist");
}

#[test]
fn a_hybrid_key_replaces_its_half_only_if_the_half_signed() {
    let lists = root_trust(&[&key(1), &key(6)]);
    let accept = |added: &SigningKey, by: &SigningKey| {
        let message = update(TrustList::Allow, &entry(added), (by, None));
        TrustList::Allow.accept(&message, &lists, now())
    };
    assert_eq!(accept(&hybrid(6), &key(1)), Err(UpdateError::OtherHalf));
    assert_eq!(accept(&hybrid(6), &key(6)), Ok(entry(&hybrid(6))));
    assert_eq!(accept(&hybrid(7), &key(1)), Ok(entry(&hybrid(7))));
    assert_eq!(accept(&key(7), &key(1)), Ok(entry(&key(7))));
    // The half of a hybrid key is not replaced by another classical key.
    assert_eq!(accept(&key(6), &key(1)), Err(UpdateError::Present));
    // The denylist makes nobody a root.
    let denial = update(TrustList::Deny, &entry(&hybrid(6)), (&key(1), None));
    assert!(TrustList::Deny.accept(&denial, &lists, now()).is_ok());
}

#[test]
fn who_is_trusted_for_some_topics_adds_roots_for_these_topics_and_the_exchange() {
    let lists = root_trust(&[&key(1)]);
    let administrator = |topics: &[&str]| {
        let constraints = Constraints {
            path_length: Some(1),
            ..granting(topics, &["key-allowlist", "key-denylist"])
        };
        let certificate = certificate(MaxAge::UNLIMITED, &constraints, key(2).verifying_key());
        chain(&[sign(&key(1), &certificate)])
    };
    let added = |topics: &[&str]| {
        let signers = administrator(topics);
        let message = update(TrustList::Allow, &entry(&key(5)), (&key(2), Some(&signers)));
        TrustList::Allow.accept(&message, &lists, now()).unwrap()
    };
    for unlimited in [&[ANYTHING][..], &["t", ANYTHING]] {
        assert_eq!(added(unlimited), entry(&key(5)));
    }
    let limited = added(&["t"]);
    assert_eq!(limited.constraints().topics, Some(vec!["t".to_owned()]));
    let lists = TrustStore::new(Some(vec![limited]), vec![]);
    let link = sign(
        &key(5),
        &certificate(
            MaxAge::UNLIMITED,
            &Constraints::default(),
            key(3).verifying_key(),
        ),
    );
    let from_it = chain(&[link]);
    let at = || Demand::at(now());
    for (demand, refused) in [
        (at().topic("t").usage(Usage::Encrypt), None),
        (at().topic("u").usage(Usage::Encrypt), Some(Check::Topic)),
        (
            at().topic("t").usage(TrustList::Allow.usage()),
            Some(Check::Usage),
        ),
    ] {
        assert_eq!(validate(&from_it, &lists, &demand).err(), refused);
    }
    // An entry of the denylist is not limited to topics: a stolen key is denied everywhere.
    let signers = administrator(&["t"]);
    let message = update(TrustList::Deny, &entry(&key(5)), (&key(2), Some(&signers)));
    let denied = TrustList::Deny.accept(&message, &root_trust(&[&key(1)]), now());
    assert_eq!(denied, Ok(entry(&key(5))));
}

#[test]
fn a_hybrid_root_for_some_topics_leaves_its_half_in_force() {
    let limited = |topics: &[&str]| {
        let constraints = granting(topics, &["key-encrypt"]);
        let hybrid = hybrid(1);
        let bytes = certificate(MaxAge::UNLIMITED, &constraints, hybrid.verifying_key());
        TrustEntry::parse(&bytes).unwrap()
    };
    for (topics, in_force) in [
        (&["t"][..], true),
        (&["^t.*$", "u"], true),
        (&["t", ANYTHING], false),
    ] {
        let lists = TrustStore::new(Some(vec![limited(topics), entry(&key(1))]), vec![]);
        let mut roots = lists.roots();
        let half = roots.any(|(root, _)| root == key(1).verifying_key());
        assert_eq!(half, in_force, "{topics:?}");
    }
}

#[test]
fn an_entry_has_at_most_so_many_bytes() {
    let lists = root_trust(&[&key(1)]);
    let accept = |len: usize| {
        let constraints = granting(&[], &[TrustList::Deny.usage().as_str()]);
        let subject = key(5).verifying_key().clone();
        let certificate = encode_certificate(
            MaxAge::UNLIMITED,
            &constraints.encode(),
            |writer| subject.write_to(writer),
            (1, |writer: &mut Writer| {
                writer.bytes(&vec![0; len]);
            }),
        );
        TrustList::Deny.accept(&chain(&[sign(&key(1), &certificate)]), &lists, now())
    };
    let malformed = Err(UpdateError::Entry("not a certificate"));
    assert_eq!(accept(MAX_ENTRY_LEN - 1), malformed);
    assert_eq!(accept(MAX_ENTRY_LEN), malformed);
    assert_eq!(
        accept(MAX_ENTRY_LEN + 1),
        Err(UpdateError::Entry("too long"))
    );
}

#[test]
fn only_the_denylist_takes_self_revocations() {
    let lists = root_trust(&[&key(1)]);
    let own = self_revocation(&key(9), &mut StdRng::seed_from_u64(1)).unwrap();
    assert_eq!(
        TrustList::Deny.judge(&own, &lists, now()),
        Ok(entry(&key(9)))
    );
    let unknown = Err(UpdateError::Chain(ChainError::UnknownRoot));
    assert_eq!(TrustList::Allow.judge(&own, &lists, now()), unknown);
    let stranger = update(TrustList::Deny, &entry(&key(5)), (&key(9), None));
    assert_eq!(TrustList::Deny.judge(&stranger, &lists, now()), unknown);
}

#[test]
fn refusals_have_their_checks() {
    for (refusal, check) in [
        (UpdateError::Entry("x"), Some(UpdateCheck::Entry)),
        (
            UpdateError::EndsEarlier {
                new: now(),
                in_use: None,
            },
            Some(UpdateCheck::EndsEarlier),
        ),
        (UpdateError::OtherHalf, Some(UpdateCheck::OtherHalf)),
        (ChainError::UnknownRoot.into(), None),
    ] {
        assert_eq!(refusal.check(), check);
    }
}
