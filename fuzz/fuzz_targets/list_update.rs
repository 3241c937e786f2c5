//! Records of the management topics: as they are, signed from a root of trust, or signed by a key that revokes itself.

#![no_main]

use kc_core::chain::{
    Demand, Trust, TrustEffect, TrustEntry, TrustEvent, TrustInput, TrustList, UnverifiedChain,
    accept_chain, encode_chain,
};
use kc_core::keys::Signer;
use kc_core::types::{ManagementTopic, Now};
use kc_core::work::{Work, measure};
use kc_fuzz::bounds::assert_bounded;
use kc_fuzz::choices;
use kc_fuzz::world::{WORLD, sign, start};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choices, rest)) = choices(data) else {
        return;
    };
    let narrow = choices & 4 != 0;
    let value = match choices & 3 {
        0 => Some(rest.to_vec()),
        1 => WORLD.issue(narrow, rest),
        2 => self_signed(rest),
        _ => Some(WORLD.from_peer(rest)),
    };
    let Some(value) = value else { return };
    match (choices >> 3) & 3 {
        0 => entry(TrustList::Allow, &value),
        1 => entry(TrustList::Deny, &value),
        _ => chain(&value),
    }
});

/// Returns two certificates; an uncertified key signs the second one.
fn self_signed(certificates: &[u8]) -> Option<Vec<u8>> {
    let certificates = UnverifiedChain::parse(certificates).ok()?;
    let [outer, inner] = certificates.links() else {
        return None;
    };
    Some(encode_chain(&[outer, &sign(&WORLD.members[0], inner)]))
}

/// Hands a record to the machine. Returns the resulting effects, and whether a self-revocation was verified.
fn take(trust: &mut Trust, topic: ManagementTopic, value: &[u8], now: Now) -> Vec<TrustEffect> {
    let kafka_key = WORLD.node.verifying_key().to_bytes();
    let record = TrustInput::Record {
        topic,
        kafka_key: &kafka_key,
        value,
    };
    let mut effects = Vec::new();
    let mut poll = |trust: &mut Trust| {
        while let Some(effect) = trust.poll_effect(now) {
            effects.push(effect);
        }
    };
    let ((), work) = measure(|| {
        trust.handle(record, now);
        poll(trust);
    });
    assert_bounded(work, value, WORLD.trust.lists(), 0);
    let to_verify = |effect: &TrustEffect| match effect {
        TrustEffect::Verify(message) => Some(message.clone()),
        _ => None,
    };
    let Some(message) = effects.iter().find_map(to_verify) else {
        return effects;
    };
    assert_eq!(message, value);
    let (verified, work) = measure(|| trust.verify(&message));
    // No verification if the certificates already forbid it.
    let most_one = Work {
        ed25519: work.ed25519.min(1),
        slh_dsa: work.slh_dsa.min(1),
        ..Work::default()
    };
    assert_eq!(
        work, most_one,
        "one signature by a key that nobody certified"
    );
    trust.handle(TrustInput::Verified(&verified), now);
    while let Some(effect) = trust.poll_effect(now) {
        effects.push(effect);
    }
    effects
}

fn entry(list: TrustList, value: &[u8]) {
    let mut trust = WORLD.trust.clone();
    let epoch = trust.epoch();
    let effects = take(&mut trust, list.topic(), value, start());
    let listed = effects.iter().find_map(|effect| match effect {
        TrustEffect::Report(TrustEvent::Listed { key, .. }) => Some(key.clone()),
        _ => None,
    });
    let mut stored = Vec::new();
    for effect in &effects {
        match effect {
            TrustEffect::StoreEntry(of, entry) => {
                assert_eq!(*of, list);
                stored.push(entry);
            }
            TrustEffect::StoreChain(..) => panic!("an entry is no chain"),
            _ => {}
        }
    }
    assert!(stored.len() <= 1);
    let judged = list.judge(value, WORLD.trust.lists(), start().wall);
    let Some(key) = listed else {
        assert!(stored.is_empty());
        assert_eq!(trust.epoch(), epoch);
        assert_eq!(trust.lists(), WORLD.trust.lists());
        return;
    };
    let judged = judged.expect("what is refused is not listed");
    assert_eq!(judged.key(), Some(&key));
    assert!(trust.lists().lists(list, &key));
    if let Some(entry) = stored.first() {
        assert_eq!(**entry, judged);
        let read = TrustEntry::parse(entry.as_bytes()).expect("what was written reads");
        assert_eq!(read, judged);
        assert!(trust.epoch() > epoch);
    } else {
        assert_eq!(trust.lists().self_denied(), 1);
    }
    let (again, work) = measure(|| {
        let kafka_key = &[];
        let topic = list.topic();
        let record = TrustInput::Record {
            topic,
            kafka_key,
            value,
        };
        trust.handle(record, start());
        trust.poll_effect(start())
    });
    assert_eq!(again, None, "it is listed");
    assert_eq!(work, Work::default());
}

fn chain(value: &[u8]) {
    let mut trust = WORLD.trust.clone();
    let key = WORLD.node.verifying_key();
    let in_use = trust.identities()[0].chain().map(<[u8]>::to_vec);
    let effects = take(&mut trust, ManagementTopic::Chains, value, start());
    let now = start().wall;
    let accepted = accept_chain(key, in_use.as_deref(), value, WORLD.trust.lists(), now);
    let store = TrustEffect::StoreChain(0, value.to_vec());
    assert_eq!(trust.lists(), WORLD.trust.lists());
    assert_eq!(
        effects.contains(&store),
        accepted.is_ok() && in_use.as_deref() != Some(value)
    );
    if accepted.is_ok() {
        assert_eq!(trust.identities()[0].chain(), Some(value));
        let own = trust.identity(0, now).expect("what was accepted is valid");
        assert_eq!(own.key(), key);
        assert!(trust.validate(value, &Demand::at(now)).is_ok());
    } else {
        assert_eq!(trust.identities()[0].chain(), in_use.as_deref());
    }
    let again = take(&mut trust, ManagementTopic::Chains, value, start());
    assert!(
        !again
            .iter()
            .any(|effect| matches!(effect, TrustEffect::StoreChain(..)))
    );
}
