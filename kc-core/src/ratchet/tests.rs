use std::collections::HashSet;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::secret::Secret;
use crate::types::Timestamp;

fn ratchet() -> Ratchet {
    let seed = Seed::generate(&mut StdRng::seed_from_u64(7));
    let (step, _) = seed.advance().unwrap().stored();
    Ratchet::new(step, &KeyIdForm::Short)
}

#[test]
fn restarts_never_repeat_a_step() {
    let mut stored = Seed::generate(&mut StdRng::seed_from_u64(7)).encode();
    let mut seen = HashSet::new();
    for restart in 0..1000 {
        let pending = Seed::decode(stored.expose()).unwrap().advance().unwrap();
        stored = pending.next().encode();
        let (step, _) = pending.stored();
        assert_eq!(step.index(), restart);
        assert!(seen.insert(*step.topic_secret(&"t".into()).expose()));
    }
}

#[test]
fn a_crash_before_storing_uses_nothing_and_after_storing_repeats_nothing() {
    let stored = Seed::generate(&mut StdRng::seed_from_u64(7)).encode();
    let never_used = Seed::decode(stored.expose()).unwrap().advance().unwrap();
    drop(never_used);
    let pending = Seed::decode(stored.expose()).unwrap().advance().unwrap();
    let stored = pending.next().encode();
    let (used, _) = pending.stored();
    let (after_crash, _) = Seed::decode(stored.expose())
        .unwrap()
        .advance()
        .unwrap()
        .stored();
    assert_eq!((used.index(), after_crash.index()), (0, 1));
}

#[test]
fn one_sealing_key_per_root_whoever_asks() {
    let mut ratchet = ratchet();
    let first = ratchet.sealing_key(&"t".into());
    let (salt, _) = first.next(Component::Value).unwrap();
    assert_eq!(salt, 0u128.to_le_bytes());
    let (salt, _) = ratchet
        .sealing_key(&"t".into())
        .next(Component::Value)
        .unwrap();
    assert_eq!(salt, 1u128.to_le_bytes());
    let (salt, _) = first.next(Component::Key).unwrap();
    assert_eq!(salt, 0u128.to_le_bytes());
}

#[test]
fn threads_share_a_key_without_repeating_a_salt() {
    let key = ratchet().sealing_key(&"t".into());
    let salts = std::thread::scope(|scope| {
        let draw = || {
            (0..1000)
                .map(|_| key.next(Component::Value).unwrap().0)
                .collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(draw)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect::<HashSet<_>>()
    });
    assert_eq!(salts.len(), 4000);
}

#[test]
fn an_exhausted_key_seals_no_more() {
    let ratchet_key = ratchet().sealing_key(&"t".into());
    ratchet_key.exhaust();
    assert_eq!(ratchet_key.next(Component::Value).err(), Some(Exhausted));
    assert!(ratchet_key.next(Component::Key).is_ok());
}

#[test]
fn retained_keys_are_pruned_by_age_and_bounded() {
    let at = |secs| Timestamp::from_secs(secs).unwrap();
    let key = |root: &str, id, birth| RetainedKey {
        root: root.into(),
        id: crate::types::KeyId::Short(id),
        secret: Secret::fill_with(|_| {}).into(),
        birth: at(birth),
    };
    let mut keys = RetainedKeys::default();
    keys.insert(key("t", 1, 100.0));
    keys.insert(key("t", 2, 150.0));
    assert!(!keys.prune(at(199.0), Duration::from_secs(100), None));
    let in_use = Some(crate::types::KeyId::Short(1));
    assert!(!keys.prune(at(200.0), Duration::from_secs(100), in_use));
    assert!(keys.prune(at(200.0), Duration::from_secs(100), None));
    assert!(
        keys.get(&"t".into(), &crate::types::KeyId::Short(1))
            .is_none()
    );
    assert!(
        keys.get(&"t".into(), &crate::types::KeyId::Short(2))
            .is_some()
    );

    keys.insert(key("t", 2, 160.0));
    assert_eq!(keys.len(), 1);

    for root in 1..MAX_RETAINED_KEYS {
        assert!(keys.insert(key(&format!("t{root}"), 3, 170.0)));
    }
    assert!(
        keys.insert(key("t", 3, 170.0)),
        "the key of another step goes"
    );
    assert_eq!(keys.len(), MAX_RETAINED_KEYS);
    assert!(!keys.insert(key("u", 3, 180.0)), "all are in use");
    assert!(
        keys.iter()
            .all(|key| key.id == crate::types::KeyId::Short(3))
    );
    assert!(keys.insert(key("u", 4, 180.0)), "of the next step");
    assert_eq!(keys.len(), MAX_RETAINED_KEYS);
}

#[test]
fn a_wiped_or_truncated_seed_is_refused() {
    let zeros = [&[0x92, 5, 0xc4, 32][..], &[0; 32]].concat();
    assert_eq!(Seed::decode(&zeros).unwrap_err(), SeedError::Wiped);
    assert!(Seed::decode(&zeros[..30]).is_err());
    assert!(Seed::decode(&[]).is_err());
}
