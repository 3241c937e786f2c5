//! The chains of the node itself, the lists and the accessors that other modules rely on.

use std::time::Duration;

use super::trust as root_trust;
use super::*;
use crate::provision::self_revocation;
use crate::types::{ManagementTopic, Now, RootTopic};

const HOUR: f64 = 3600.0;

fn now() -> Now {
    after(0.0)
}

/// Returns the time this number of seconds after [`NOW`].
fn after(secs: f64) -> Now {
    Now {
        wall: Timestamp::from_secs(NOW + secs).unwrap(),
        mono: Duration::from_secs_f64(1.0 + secs),
    }
}

/// Returns a chain from root 1 to key 3 that ends this number of seconds after [`NOW`].
fn ending(secs: f64, constraints: &Constraints) -> Vec<u8> {
    let end = MaxAge::Float(NOW + secs);
    let certificate = certificate(end, constraints, key(3).verifying_key());
    chain(&[sign(&key(1), &certificate)])
}

fn node(own: Option<Vec<u8>>) -> Trust {
    let identity = Identity::new(key(3).verifying_key().clone(), own);
    Trust::new(root_trust(&[&key(1)]), vec![identity])
}

/// Passes a chain for key 3 in. Returns all effects.
fn take(trust: &mut Trust, value: &[u8], now: Now) -> Vec<TrustEffect> {
    let kafka_key = key(3).verifying_key().to_bytes();
    let input = TrustInput::Record {
        topic: ManagementTopic::Chains,
        kafka_key: &kafka_key,
        value,
    };
    trust.handle(input, now);
    std::iter::from_fn(|| trust.poll_effect(now)).collect()
}

fn refusal(effects: &[TrustEffect]) -> &UpdateError {
    let mut refusals = effects.iter().filter_map(|effect| match effect {
        TrustEffect::Report(TrustEvent::Refused { error, .. }) => Some(error),
        _ => None,
    });
    refusals.next_back().unwrap()
}

#[test]
fn a_chain_that_ends_later_is_used_stored_and_reported() {
    let old = ending(HOUR, &usual());
    let new = ending(2.0 * HOUR, &usual());
    let mut trust = node(Some(old.clone()));
    assert_eq!(trust.identities()[0].chain(), Some(old.as_slice()));
    let effects = take(&mut trust, &new, now());
    let expires = Timestamp::from_secs(NOW + 2.0 * HOUR);
    assert_eq!(
        effects,
        [
            TrustEffect::StoreChain(0, new.clone()),
            TrustEffect::Report(TrustEvent::ChainAdopted {
                key: key(3).verifying_key().clone(),
                expires,
            }),
        ]
    );
    assert_eq!(trust.identities()[0].chain(), Some(new.as_slice()));
    assert_eq!(take(&mut trust, &new, now()), [], "it comes again");
    let refused = take(&mut trust, &old, now());
    let in_use = expires;
    let ends_earlier = |new, in_use| UpdateError::EndsEarlier { new, in_use };
    let first_end = Timestamp::from_secs(NOW + HOUR).unwrap();
    assert_eq!(refusal(&refused), &ends_earlier(first_end, in_use));
    assert_eq!(trust.identities()[0].chain(), Some(new.as_slice()));

    // Another chain that ends at the same time is no step back.
    let same_end = ending(2.0 * HOUR, &granting(&["t", "u"], &["key-encrypt"]));
    assert_eq!(take(&mut trust, &same_end, now()).len(), 2);
    // A chain without end follows each other chain, and no other follows it.
    let certificate = certificate(MaxAge::UNLIMITED, &usual(), key(3).verifying_key());
    let endless = chain(&[sign(&key(1), &certificate)]);
    let adopted = take(&mut trust, &endless, now());
    let event = TrustEvent::ChainAdopted {
        key: key(3).verifying_key().clone(),
        expires: None,
    };
    assert!(adopted.contains(&TrustEffect::Report(event)));
    let refused = take(&mut trust, &new, now());
    assert_eq!(refusal(&refused), &ends_earlier(expires.unwrap(), None));
}

#[test]
fn a_chain_of_another_key_or_without_room_for_messages_is_not_used() {
    let mut trust = node(None);
    let of_another = certificate(MaxAge::UNLIMITED, &usual(), key(4).verifying_key());
    let of_another = chain(&[sign(&key(1), &of_another)]);
    assert_eq!(
        refusal(&take(&mut trust, &of_another, now())),
        &UpdateError::OtherKey
    );
    let with_length = |path_length| Constraints {
        path_length: Some(path_length),
        ..usual()
    };
    let without_room = ending(HOUR, &with_length(0));
    let refused = take(&mut trust, &without_room, now());
    assert_eq!(refusal(&refused), &ChainError::PathLength.into());
    assert_eq!(trust.identities()[0].chain(), None);
    assert_eq!(
        take(&mut trust, &ending(HOUR, &with_length(1)), now()).len(),
        2
    );
}

#[test]
fn the_node_is_granted_what_one_of_its_chains_grants() {
    let (t, u) = (RootTopic::from("t"), RootTopic::from("u"));
    let wall = now().wall;
    let mut trust = node(Some(ending(HOUR, &usual())));
    let usages = [Usage::EncryptRequest, Usage::Encrypt];
    assert_eq!(trust.grants(&t, &usages, wall), Ok(()));
    assert_eq!(
        trust
            .grants(&t, &usages[..1], wall)
            .map_err(|it| it.check()),
        Err(Check::Usage)
    );
    assert_eq!(
        trust.grants(&u, &usages, wall).map_err(|it| it.check()),
        Err(Check::Topic)
    );
    assert_eq!(
        node(None).grants(&t, &usages, wall),
        Err(ChainError::NoChain)
    );

    let requesting = granting(&["t"], &["key-encrypt-request"]);
    for (constraints, may_request) in [(usual(), false), (requesting, true)] {
        let mut trust = node(Some(ending(HOUR, &constraints)));
        let valid = trust.identity(0, wall).unwrap();
        assert_eq!(valid.may_request(), may_request);
    }
    let stored = Identity::new(key(3).verifying_key().clone(), None);
    let at = Demand::at(wall);
    assert_eq!(
        stored.validate(trust.lists(), &at),
        Err(ChainError::NoChain)
    );
}

#[test]
fn the_end_of_an_own_chain_is_reported_even_if_nothing_else_happens() {
    let mut trust = node(Some(ending(10.0 * HOUR, &usual())));
    assert_eq!(trust.poll_effect(now()), None);
    let wait = trust.next_timeout(now());
    assert!(wait <= Duration::from_secs_f64(9.0 * HOUR), "{wait:?}");
    assert_eq!(trust.poll_effect(after(8.0 * HOUR)), None);
    let warned = trust.poll_effect(after(9.5 * HOUR));
    let expires = Timestamp::from_secs(NOW + 10.0 * HOUR).unwrap();
    let event = TrustEvent::ChainExpires {
        key: key(3).verifying_key().clone(),
        expires,
    };
    assert_eq!(warned, Some(TrustEffect::Report(event)));
    assert_eq!(trust.poll_effect(after(9.6 * HOUR)), None);
}

#[test]
fn a_clock_that_is_corrected_makes_an_own_chain_valid_within_an_hour() {
    let mut trust = node(Some(ending(10.0 * HOUR, &usual())));
    let wrong = Now {
        wall: after(20.0 * HOUR).wall,
        ..now()
    };
    assert_eq!(trust.poll_effect(wrong), None, "it has ended");
    assert_eq!(trust.poll_effect(after(HOUR)), None);
    let warned = trust.poll_effect(after(9.9 * HOUR));
    assert!(warned.is_some(), "the chain was looked at after an hour");
}

#[test]
fn an_adopted_chain_is_watched_from_then_on() {
    let mut trust = node(Some(ending(10.0 * HOUR, &usual())));
    assert_eq!(trust.poll_effect(now()), None);
    take(&mut trust, &ending(20.0 * HOUR, &usual()), now());
    assert_eq!(trust.poll_effect(after(9.5 * HOUR)), None);
    assert!(trust.poll_effect(after(19.5 * HOUR)).is_some());
}

#[test]
fn a_self_revocation_waits_is_counted_and_belongs_to_the_denylist() {
    let mut trust = Trust::new(root_trust(&[&key(1)]), vec![]);
    let quiet = trust.next_timeout(now());
    let message = self_revocation(&key(9), &mut StdRng::seed_from_u64(1)).unwrap();
    let mut put = |topic, value: &[u8]| {
        let input = TrustInput::Record {
            topic,
            kafka_key: &[],
            value,
        };
        trust.handle(input, now());
    };
    put(ManagementTopic::Allowlist, &message);
    put(ManagementTopic::Denylist, &message);
    for number in 0..20_u8 {
        let mut other = message.clone();
        other.push(number);
        put(ManagementTopic::Denylist, &other);
        let mut forged = message.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1 + number;
        put(ManagementTopic::Denylist, &forged);
    }
    let waits = trust.next_timeout(now());
    assert!(waits < quiet, "{waits:?}");
    // What is read from the allowlist is refused there, and is no self-revocation.
    let refused = |effect: &TrustEffect| {
        matches!(
            effect,
            TrustEffect::Report(TrustEvent::Refused {
                topic: ManagementTopic::Allowlist,
                error: UpdateError::Chain(ChainError::UnknownRoot),
                ..
            })
        )
    };
    let effect = trust.poll_effect(now()).unwrap();
    assert!(refused(&effect), "{effect:?}");
    assert!(trust.dropped_revocations() > 1);
}

#[test]
fn a_key_that_denied_itself_is_stored_once() {
    let mut trust = Trust::new(root_trust(&[&key(1)]), vec![]);
    let mut store = trust.lists().clone();
    store.deny_self(key(2).verifying_key());
    trust = Trust::new(store, vec![]);
    for effects in [1, 0] {
        let before = trust.epoch();
        let refused = trust.validate(&chain(&usual_links()), &demand());
        assert_eq!(refused.unwrap_err(), ChainError::Denied);
        // The list has changed once.
        assert_eq!(trust.epoch() == before, effects == 0);
        let stored = std::iter::from_fn(|| trust.poll_effect(now()));
        assert_eq!(stored.count(), effects);
    }
}

#[test]
fn signatures_before_the_last_certificate_are_remembered_and_no_other() {
    let mut trust = Trust::new(root_trust(&[&key(1)]), vec![]);
    let [first, second] = usual_links();
    let third = sign(&key(3), &usual_certificate(&key(4)));
    let chain = chain(&[first, second, third]);
    for verifications in [3, 1, 1] {
        let (validated, work) = crate::work::measure(|| trust.validate(&chain, &demand()));
        assert!(validated.is_ok());
        assert_eq!(work.ed25519, verifications);
    }
}

#[test]
fn a_denied_key_denies_what_follows_up_to_the_next_root() {
    let path = |numbers: &[u8]| -> Vec<VerifyingKey> {
        let keys = numbers.iter().map(|number| key(*number));
        keys.map(|key| key.verifying_key().clone()).collect()
    };
    let lists = denying(&[&key(2)]);
    assert_eq!(lists.denylist().len(), 1);
    let machine = Trust::new(lists.clone(), vec![]);
    for (numbers, denied) in [
        (&[][..], false),
        (&[1, 3], false),
        (&[1, 2], true),
        (&[1, 2, 3], true),
        (&[2, 1], false),
        (&[2, 1, 3], false),
        (&[1, 3, 2], true),
    ] {
        assert_eq!(lists.denies(&path(numbers)), denied, "{numbers:?}");
        assert_eq!(machine.denies(&path(numbers)), denied, "{numbers:?}");
    }
}

#[test]
fn the_fourth_element_is_seen_without_a_signature() {
    let subject = key(3).verifying_key().clone();
    let mut encoded_key = Writer::new();
    subject.write_to(&mut encoded_key);
    let encoded_key = encoded_key.into_vec();
    let certificate = encode_certificate(
        MaxAge::UNLIMITED,
        &usual().encode(),
        |writer| subject.write_to(writer),
        (1, |writer: &mut Writer| {
            writer.bytes(b"random");
        }),
    );
    for signature in [KeyType::Ed25519, KeyType::Hybrid].map(KeyType::signature_len) {
        let signed = [vec![0; signature], certificate.clone()].concat();
        let extra = crate::wire::Value::Bytes(b"random");
        assert_eq!(Certificate::peek_extra(&signed), Some(extra.clone()));
        let peeked = Certificate::peek_keys_and_extra(&signed);
        assert_eq!(peeked, Some((encoded_key.as_slice(), extra)));
    }
    let without = [vec![0; 64], usual_certificate(&key(3))].concat();
    assert_eq!(Certificate::peek_extra(&without), None);
}

#[test]
fn ends_are_ordered() {
    let (soon, late) = (MaxAge::Int(10), MaxAge::Float(20.5));
    assert!(soon.is_before(late) && !late.is_before(soon) && !soon.is_before(soon));
    assert!(late.is_before(MaxAge::UNLIMITED) && !MaxAge::UNLIMITED.is_before(late));
    assert_eq!(late.timestamp(), Timestamp::from_secs(20.5));
    assert_eq!(MaxAge::UNLIMITED.timestamp(), None);
}
