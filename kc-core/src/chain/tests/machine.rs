//! Changes of trust, and the cost of untrusted input.

use std::time::Duration;

use super::trust as root_trust;
use super::*;
use crate::provision::{compose_update, self_revocation};
use crate::types::{ManagementTopic, Now};
use crate::work::{Work, measure};

fn now() -> Now {
    at(Duration::from_secs(1))
}

fn at(mono: Duration) -> Now {
    Now {
        wall: Timestamp::from_secs(NOW).unwrap(),
        mono,
    }
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(11)
}

fn machine() -> Trust {
    Trust::new(trust(&[&key(1)]), vec![])
}

fn record(topic: ManagementTopic, value: &[u8]) -> TrustInput<'_> {
    TrustInput::Record {
        topic,
        kafka_key: &[],
        value,
    }
}

/// Passes a record in and performs the effects of the machine. Returns the effects.
fn take(trust: &mut Trust, list: TrustList, value: &[u8], now: Now) -> Vec<TrustEffect> {
    trust.handle(record(list.topic(), value), now);
    let mut effects = Vec::new();
    while let Some(effect) = trust.poll_effect(now) {
        if let TrustEffect::Verify(message) = &effect {
            let verified = trust.verify(message);
            trust.handle(TrustInput::Verified(&verified), now);
        }
        effects.push(effect);
    }
    effects
}

fn denial(denied: &SigningKey, by: &SigningKey) -> Vec<u8> {
    let entry = TrustEntry::unrestricted(denied.verifying_key());
    let by = (by as &dyn Signer, None);
    compose_update(TrustList::Deny, &entry, MaxAge::UNLIMITED, by, &mut rng()).unwrap()
}

fn stored(effects: &[TrustEffect]) -> usize {
    let stores = |effect: &&TrustEffect| matches!(effect, TrustEffect::StoreEntry(..));
    effects.iter().filter(stores).count()
}

/// Constraints with as many regular expressions as a certificate may have, so that their evaluation takes long.
fn heavy() -> Constraints {
    let patterns = |from: usize| (from..from + MAX_PATTERNS).map(|n| format!("^(a{n}|b)+"));
    Constraints {
        topics: Some(patterns(0).collect()),
        usages: Some(patterns(100).collect()),
        path_length: None,
    }
}

#[test]
fn what_no_root_signed_costs_one_verification_a_root_and_no_expression() {
    let stranger = hybrid(9);
    let heavy = certificate(MaxAge::UNLIMITED, &heavy(), key(8).verifying_key());
    // As long as a certificate that a hybrid root signed.
    let forged = chain(&[sign(&stranger, &heavy), sign(&key(8), &heavy)]);
    let roots = [key(1), hybrid(2), key(3)];
    let mut trust = Trust::new(root_trust(&roots.each_ref()), vec![]);
    let (validated, work) = measure(|| trust.validate(&forged, &demand()));
    assert_eq!(validated.unwrap_err(), ChainError::UnknownRoot);
    let one_a_root = Work {
        ed25519: 3,
        ..Work::default()
    };
    assert_eq!(work, one_a_root);
    for list in [TrustList::Allow, TrustList::Deny] {
        let (effects, work) = measure(|| take(&mut trust, list, &forged, now()));
        assert_eq!(stored(&effects), 0);
        assert_eq!(work, one_a_root, "{list:?}");
    }
    let (_, work) = measure(|| trust.handle(record(ManagementTopic::Chains, &forged), now()));
    assert_eq!(work, Work::default(), "a chain for another node");
}

#[test]
fn a_copied_hybrid_certificate_with_an_altered_half_costs_one_slh_dsa_verification() {
    let root = hybrid(2);
    let mut trust = Trust::new(root_trust(&[&root]), vec![]);
    let mut link = sign(&root, &usual_certificate(&key(3)));
    link[100] ^= 1;
    let altered = chain(&[link]);
    let (validated, work) = measure(|| trust.validate(&altered, &demand()));
    assert_eq!(validated.unwrap_err(), ChainError::UnknownRoot);
    let one_of_each = Work {
        ed25519: 1,
        slh_dsa: 1,
        ..Work::default()
    };
    assert_eq!(work, one_of_each);
}

#[test]
fn what_an_unknown_key_may_sign_is_not_verified_where_it_is_read() {
    let mut trust = machine();
    let message = self_revocation(&key(9), &mut rng()).unwrap();
    let (_, work) = measure(|| trust.handle(record(ManagementTopic::Denylist, &message), now()));
    assert_eq!(work.ed25519, 1, "by the root");
    let effect = trust.poll_effect(now());
    assert_eq!(effect, Some(TrustEffect::Verify(message)));
}

#[test]
fn restrictions_repeated_without_end_are_refused_before_they_are_evaluated() {
    let mut poison = Writer::new();
    poison.array(MAX_RESTRICTIONS + 1);
    for _ in 0..=MAX_RESTRICTIONS {
        poison.array(2).text("topics").array(1).text("^a");
    }
    let mut certificate = Writer::new();
    certificate.array(3).uint(0).bytes(&poison.into_vec());
    key(3).verifying_key().write_to(&mut certificate);
    let chain = chain(&[sign(&key(1), &certificate.into_vec())]);
    let (refused, work) = measure(|| validate(&chain, &trust(&[&key(1)]), &demand()));
    assert_eq!(refused, Err(Check::Constraints));
    assert_eq!(work.regexes, 0);
}

#[test]
fn each_expression_of_a_list_is_compiled_once_however_much_it_is_matched_against() {
    let parent: Vec<_> = (0..10).map(|n| format!("^x{n}")).collect();
    let child: Vec<_> = (0..1000).map(|n| format!("y{n}")).collect();
    let (left, work) = measure(|| intersect(Some(parent), Some(child)));
    assert_eq!(left, Ok(Some(vec![])));
    assert_eq!(work.regexes, 10);
}

#[test]
fn a_certificate_before_the_last_is_short() {
    let mut links = usual_links();
    links[0].resize(MAX_LINK_LEN, 0);
    assert!(UnverifiedChain::parse(&chain(&links)).is_ok());
    links[0].push(0);
    let long = chain(&links);
    let refused = UnverifiedChain::parse(&long);
    assert_eq!(refused, Err(ChainError::LinkLength(0)));
}

#[test]
fn a_chain_that_comes_again_costs_the_signature_of_its_leaf() {
    let mut trust = machine();
    let chain = chain(&usual_links());
    for verifications in [2, 1, 1] {
        let (validated, work) = measure(|| trust.validate(&chain, &demand()));
        assert!(validated.is_ok());
        assert_eq!(work.ed25519, verifications);
    }
    // A remembered signature does not bypass the lists.
    take(
        &mut trust,
        TrustList::Deny,
        &denial(&key(2), &key(1)),
        now(),
    );
    let refused = trust.validate(&chain, &demand());
    assert_eq!(refused.unwrap_err(), ChainError::Denied);
}

#[test]
fn an_update_is_in_force_at_once_stored_once_and_passed_over_when_it_comes_again() {
    let mut trust = machine();
    let update = denial(&key(5), &key(1));
    let before = trust.epoch();
    let effects = take(&mut trust, TrustList::Deny, &update, now());
    assert_eq!(stored(&effects), 1);
    assert!(trust.epoch() > before);
    assert!(trust.lists().lists(TrustList::Deny, key(5).verifying_key()));
    let (effects, work) = measure(|| take(&mut trust, TrustList::Deny, &update, now()));
    assert_eq!((effects, work), (vec![], Work::default()));
}

#[test]
fn a_key_in_use_that_denies_itself_is_stored_in_its_canonical_form() {
    let mut trust = machine();
    assert!(trust.validate(&chain(&usual_links()), &demand()).is_ok());
    let own = self_revocation(&key(2), &mut rng()).unwrap();
    let effects = take(&mut trust, TrustList::Deny, &own, now());
    let entry = TrustEntry::unrestricted(key(2).verifying_key());
    assert!(effects.contains(&TrustEffect::StoreEntry(TrustList::Deny, entry)));
    let refused = trust.validate(&chain(&usual_links()), &demand());
    assert_eq!(refused.unwrap_err(), ChainError::Denied);
}

#[test]
fn a_key_nobody_uses_is_remembered_and_stored_once_it_is_used() {
    let mut trust = machine();
    let own = self_revocation(&key(2), &mut rng()).unwrap();
    assert_eq!(stored(&take(&mut trust, TrustList::Deny, &own, now())), 0);
    assert_eq!(trust.lists().self_denied(), 1);
    let refused = trust.validate(&chain(&usual_links()), &demand());
    assert_eq!(refused.unwrap_err(), ChainError::Denied);
    let effect = trust.poll_effect(now());
    let entry = TrustEntry::unrestricted(key(2).verifying_key());
    assert_eq!(
        effect,
        Some(TrustEffect::StoreEntry(TrustList::Deny, entry))
    );
}

#[test]
fn invented_keys_do_not_switch_self_revocation_off() {
    let mut trust = machine();
    assert!(trust.validate(&chain(&usual_links()), &demand()).is_ok());
    let mut store = trust.lists().clone();
    let mut invented = [0; 32];
    for number in 0..MAX_SELF_DENIED as u64 + 10 {
        invented[..8].copy_from_slice(&number.to_be_bytes());
        store.deny_self(&VerifyingKey::Ed25519(invented));
    }
    assert_eq!(store.self_denied(), MAX_SELF_DENIED);
    let mut trust = Trust::new(store, vec![]);
    assert!(trust.validate(&chain(&usual_links()), &demand()).is_ok());

    // There is no room for another key that is not in use, but there is room for a key in use.
    let unused = self_revocation(&key(7), &mut rng()).unwrap();
    let refused = take(&mut trust, TrustList::Deny, &unused, now());
    let full = |effect: &TrustEffect| {
        matches!(
            effect,
            TrustEffect::Report(TrustEvent::Refused {
                error: UpdateError::Full,
                ..
            })
        )
    };
    assert!(refused.iter().any(full), "{refused:?}");
    let used = self_revocation(&key(2), &mut rng()).unwrap();
    let later = at(Duration::from_secs(2));
    assert_eq!(stored(&take(&mut trust, TrustList::Deny, &used, later)), 1);
}

#[test]
fn refusals_of_one_kind_are_reported_once_a_minute_with_their_number() {
    let mut trust = machine();
    let reports = |trust: &mut Trust, mono: u64| {
        let now = at(Duration::from_secs(mono));
        let effects = take(trust, TrustList::Deny, &[0xc1], now);
        match effects.as_slice() {
            [TrustEffect::Report(TrustEvent::Refused { report, .. })] => *report,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(reports(&mut trust, 1), Some(1));
    for second in 2..60 {
        assert_eq!(reports(&mut trust, second), None);
    }
    assert_eq!(reports(&mut trust, 61), Some(59));
}

#[test]
fn a_node_that_is_denied_says_so_and_whether_another_key_is_left() {
    let identity = |number: u8| {
        let link = sign(&key(1), &usual_certificate(&key(number)));
        Identity::new(key(number).verifying_key().clone(), Some(chain(&[link])))
    };
    let mut trust = Trust::new(root_trust(&[&key(1)]), vec![identity(3), identity(4)]);
    for (number, others_left) in [(3, true), (4, false)] {
        let effects = take(
            &mut trust,
            TrustList::Deny,
            &denial(&key(number), &key(1)),
            now(),
        );
        let key = key(number).verifying_key().clone();
        // A denied node must stop sealing before it turns its ratchet for the change of the list.
        let denied = TrustEvent::Denied {
            key: key.clone(),
            others_left,
        };
        let listed = TrustEvent::Listed {
            list: TrustList::Deny,
            key,
            in_use: true,
        };
        let expected = [denied, listed].map(TrustEffect::Report);
        let mut pairs = effects.windows(2);
        assert!(pairs.any(|pair| pair == expected), "{effects:?}");
    }
}

#[test]
fn a_node_is_denied_by_the_self_revocation_of_a_key_in_its_own_chain() {
    let own = key(3).verifying_key().clone();
    let identity = Identity::new(own.clone(), Some(chain(&usual_links())));
    let mut trust = Trust::new(root_trust(&[&key(1)]), vec![identity]);
    assert_eq!(trust.valid_identities(now().wall).unwrap().len(), 1);
    let epoch = trust.epoch();
    let revocation = self_revocation(&key(2), &mut rng()).unwrap();
    let effects = take(&mut trust, TrustList::Deny, &revocation, now());
    let denied = TrustEvent::Denied {
        key: own,
        others_left: false,
    };
    assert!(
        effects.contains(&TrustEffect::Report(denied)),
        "{effects:?}"
    );
    assert_ne!(trust.epoch(), epoch);
}

#[test]
fn a_root_that_was_added_can_deny_itself() {
    let mut trust = machine();
    let entry = TrustEntry::unrestricted(key(5).verifying_key());
    let by = (&key(1) as &dyn Signer, None);
    let addition = compose_update(TrustList::Allow, &entry, MaxAge::UNLIMITED, by, &mut rng());
    assert_eq!(
        stored(&take(
            &mut trust,
            TrustList::Allow,
            &addition.unwrap(),
            now()
        )),
        1
    );
    let revocation = self_revocation(&key(5), &mut rng()).unwrap();
    let effects = take(&mut trust, TrustList::Deny, &revocation, now());
    assert_eq!(stored(&effects), 1, "{effects:?}");
}

#[test]
fn forged_revocations_of_a_key_in_use_do_not_keep_the_real_one_out_however_many_come_at_once() {
    for used in [key(3), hybrid(3)] {
        let mut trust = machine();
        let certificate = certificate(
            MaxAge::UNLIMITED,
            &Constraints::default(),
            used.verifying_key(),
        );
        // A key is in use once it has signed a message.
        let in_use = chain(&[sign(&key(1), &certificate), sign(&used, &certificate)]);
        trust
            .validate(&in_use, &Demand::at(now().wall))
            .expect("in use");
        let real = self_revocation(&used, &mut rng()).unwrap();
        for number in 0..1000_u16 {
            // A different signature each time: the last bytes are those of the entry.
            let mut forged = real.clone();
            let place = forged.len() - 2;
            forged[place..].copy_from_slice(&number.to_be_bytes());
            trust.handle(record(ManagementTopic::Denylist, &forged), now());
        }
        let effects = take(&mut trust, TrustList::Deny, &real, now());
        assert_eq!(stored(&effects), 1);
        assert!(trust.lists().lists(TrustList::Deny, used.verifying_key()));
    }
}
