use std::collections::HashSet;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::kem::{DecapsulationKey, Suite, sealed};
use crate::secret::Secret;
use crate::types::{KeyId, Now, Timestamp};

fn rng() -> StdRng {
    StdRng::seed_from_u64(8)
}

fn ratchet() -> StepKeys {
    let seed = Seed::generate(&mut StdRng::seed_from_u64(7));
    let (step, _) = seed.advance().unwrap().stored();
    StepKeys::new(step, &KeyIdForm::Short)
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
        assert!(seen.insert(*step.data_key(&"t".into()).expose()));
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
    let mut keys = ratchet();
    let first = keys.sealing_key(&"t".into(), &mut rng());
    let count = |key: &SealingKey, component| {
        let (salt, _) = key.next(component).unwrap();
        u64::from_le_bytes(*salt.first_chunk().unwrap())
    };
    assert_eq!(count(&first, Component::Value), 0);
    let again = keys.sealing_key(&"t".into(), &mut rng());
    assert_eq!(count(&again, Component::Value), 1);
    assert_eq!(count(&first, Component::Key), 0);
}

#[test]
fn two_copies_of_a_step_share_no_salt() {
    let mut random = rng();
    let [one, other] = [(); 2].map(|()| ratchet().sealing_key(&"t".into(), &mut random));
    assert_eq!(one.data_key(), other.data_key());
    let salts = |key: &SealingKey| -> HashSet<_> {
        (0..100)
            .map(|_| key.next(Component::Value).unwrap().0)
            .collect()
    };
    assert!(salts(&one).is_disjoint(&salts(&other)));
}

#[test]
fn threads_share_a_key_without_repeating_a_salt() {
    let key = ratchet().sealing_key(&"t".into(), &mut rng());
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
    let ratchet_key = ratchet().sealing_key(&"t".into(), &mut rng());
    ratchet_key.exhaust();
    assert_eq!(ratchet_key.next(Component::Value).err(), Some(Exhausted));
    assert!(ratchet_key.next(Component::Key).is_ok());
}

#[test]
fn retained_keys_are_pruned_by_age_and_bounded() {
    let at = |secs| Timestamp::from_secs(secs).unwrap();
    let key = |root_topic: &str, id, birth| RetainedKey {
        root_topic: root_topic.into(),
        id: KeyId::Short(id),
        secret: Secret::fill_with(|_| {}).into(),
        birth: at(birth),
    };
    let mut keys = RetainedKeys::default();
    keys.insert(key("t", 1, 100.0));
    keys.insert(key("t", 2, 150.0));
    assert!(!keys.prune(at(199.0), Duration::from_secs(100), None));
    let in_use = Some(KeyId::Short(1));
    assert!(!keys.prune(at(200.0), Duration::from_secs(100), in_use));
    assert!(keys.prune(at(200.0), Duration::from_secs(100), None));
    assert!(keys.get(&"t".into(), &KeyId::Short(1)).is_none());
    assert!(keys.get(&"t".into(), &KeyId::Short(2)).is_some());

    keys.insert(key("t", 2, 160.0));
    assert_eq!(keys.len(), 1);

    for root_topic in 1..MAX_RETAINED_KEYS {
        assert!(keys.insert(key(&format!("t{root_topic}"), 3, 170.0)));
    }
    assert!(
        keys.insert(key("t", 3, 170.0)),
        "the key of another step goes"
    );
    assert_eq!(keys.len(), MAX_RETAINED_KEYS);
    assert!(!keys.insert(key("u", 3, 180.0)), "all are in use");
    assert!(keys.iter().all(|key| key.id == KeyId::Short(3)));
    assert!(keys.insert(key("u", 4, 180.0)), "of the next step");
    assert_eq!(keys.len(), MAX_RETAINED_KEYS);
}

#[test]
fn a_retained_key_is_removed_and_no_other() {
    let key = |root_topic: &str, id| RetainedKey {
        root_topic: root_topic.into(),
        id: KeyId::Short(id),
        secret: Secret::fill_with(|_| {}).into(),
        birth: Timestamp::EPOCH,
    };
    let mut keys = RetainedKeys::default();
    assert!(keys.is_empty() && keys.iter().next().is_none());
    for (root_topic, id) in [("t", 1), ("t", 2), ("u", 1)] {
        keys.insert(key(root_topic, id));
    }
    keys.remove(&"t".into(), &KeyId::Short(1));
    let left: Vec<_> = keys
        .iter()
        .map(|key| (key.root_topic.to_string(), key.id))
        .collect();
    let expected = [("t", 2), ("u", 1)].map(|(root, id)| (root.to_owned(), KeyId::Short(id)));
    assert_eq!(left, expected);
    assert!(!keys.is_empty() && keys.get(&"t".into(), &KeyId::Short(1)).is_none());
}

#[test]
fn a_wiped_or_truncated_seed_is_refused() {
    assert_eq!(Seed::generate_from(7, &mut rng()).index(), 7);
    let zeros = [&[0x92, 5, 0xc4, 32][..], &[0; 32]].concat();
    assert_eq!(Seed::decode(&zeros).unwrap_err(), SeedError::Wiped);
    assert!(Seed::decode(&zeros[..30]).is_err());
    assert!(Seed::decode(&[]).is_err());
}

/// A producer with its disk: performs the effects of the machine and collects the keys that it seals with.
struct Producer {
    ratchet: Ratchet,
    seed: Option<Seed>,
    /// True if the disk works.
    works: bool,
    /// True if the disk has room for keys.
    saves: bool,
    now: Now,
    steps: u64,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Producer {
    fn new() -> Self {
        let config = RatchetConfig {
            form: KeyIdForm::Short,
            interval: DAY,
            max_age: DAY * 7,
        };
        Self {
            ratchet: Ratchet::new(config, RetainedKeys::default(), None),
            seed: Some(Seed::generate(&mut rng())),
            works: true,
            saves: true,
            now: Now {
                wall: Timestamp::from_secs(1e9).unwrap(),
                mono: Duration::ZERO,
            },
            steps: 0,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.wall = self.now.wall.plus(time);
        self.now.mono += time;
    }

    fn run(&mut self, input: Option<RatchetInput>) -> Vec<KeyId> {
        let mut next = input;
        let mut sealing = Vec::new();
        loop {
            if let Some(input) = next.take() {
                self.ratchet.handle(input, self.now, &mut rng());
            }
            match self.ratchet.poll_effect(self.now) {
                None => return sealing,
                Some(RatchetEffect::Step) if self.works => {
                    let seed = self.seed.take().unwrap();
                    let (step, seed) = seed.advance().unwrap().stored();
                    self.seed = Some(seed);
                    self.steps += 1;
                    next = Some(RatchetInput::Stepped(Some(step)));
                }
                Some(RatchetEffect::Step) => next = Some(RatchetInput::Stepped(None)),
                Some(RatchetEffect::Save) => {
                    next = Some(RatchetInput::Saved(self.works && self.saves))
                }
                Some(RatchetEffect::Seal(keys)) => {
                    sealing.extend(keys.iter().map(|(_, key)| key.id()));
                }
                Some(_) => {}
            }
        }
    }

    fn prepare(&mut self) -> Vec<KeyId> {
        self.run(Some(RatchetInput::Prepare("t".into())))
    }

    fn deny(&mut self, in_use: bool) -> Vec<KeyId> {
        self.run(Some(RatchetInput::Denied { in_use }))
    }

    /// Hands out the key in use.
    fn hand_out(&mut self) {
        let id = KeyId::Short(self.steps - 1);
        assert_eq!(self.ratchet.hand_out(&"t".into(), &[id]).len(), 1);
    }
}

#[test]
fn a_consumer_uses_up_no_step_and_a_producer_one_a_day() {
    let mut producer = Producer::new();
    producer.pass(DAY * 3);
    assert_eq!(producer.run(None), []);
    assert_eq!(producer.prepare(), [KeyId::Short(0)]);
    assert_eq!(producer.prepare(), [KeyId::Short(0)]);
    assert_eq!(producer.ratchet.next_timeout(producer.now), DAY);
    producer.pass(DAY);
    assert_eq!(producer.run(None), [KeyId::Short(1)]);
    assert_eq!(producer.run(None), []);
    assert_eq!(producer.steps, 2);
}

#[test]
fn a_restored_ratchet_goes_on_behind_the_step_that_was_used_last() {
    let mut producer = Producer::new();
    assert_eq!(producer.ratchet.used(), None);
    let old = producer.seed.as_ref().unwrap().encode();
    for expected in [0, 1, 2] {
        assert!(producer.prepare().contains(&KeyId::Short(expected)));
        assert_eq!(producer.ratchet.used(), Some(expected));
        producer.run(Some(RatchetInput::Turn));
    }
    // Only the index is known: the keys were forgotten.
    let config = RatchetConfig {
        form: KeyIdForm::Short,
        interval: DAY,
        max_age: DAY * 7,
    };
    producer.ratchet = Ratchet::new(config, RetainedKeys::default(), Some(2));
    producer.seed = Some(Seed::decode(old.expose()).unwrap());
    assert_eq!(producer.prepare(), [KeyId::Short(3)]);
    assert_eq!(producer.ratchet.used(), Some(3));
}

#[test]
fn the_number_of_root_topics_is_limited_and_known_ones_go_on() {
    let mut producer = Producer::new();
    // Nothing is sealed, so each root topic only asks for a step.
    producer.works = false;
    let mut refused = |root: usize| {
        let root_topic = format!("t{root}").as_str().into();
        let input = RatchetInput::Prepare(root_topic);
        producer.ratchet.handle(input, producer.now, &mut rng());
        let effects = std::iter::from_fn(|| producer.ratchet.poll_effect(producer.now));
        let too_many = |effect: &RatchetEffect| matches!(effect, RatchetEffect::TooManyRoots);
        effects.filter(too_many).count() == 1
    };
    assert!((0..MAX_RETAINED_KEYS).all(|root| !refused(root)));
    assert!(refused(MAX_RETAINED_KEYS));
    assert!(!refused(0));
}

#[test]
fn the_holder_of_an_escrow_key_gets_the_secret_of_the_next_step() {
    let seed = Seed::generate(&mut rng());
    let key = DecapsulationKey::generate(Suite::X25519, &mut rng());
    let sealed = seed.escrow(key.encapsulation_key(), &mut rng()).unwrap();
    let secret = sealed::open(&sealed, &key).unwrap();
    assert!(seed.encode().expose().ends_with(secret.expose()));
}

#[test]
fn a_disk_that_fails_is_tried_again_and_gives_nothing_out() {
    let mut producer = Producer::new();
    producer.works = false;
    assert_eq!(producer.prepare(), []);
    assert!(producer.ratchet.sealing_key(&"t".into()).is_none());
    producer.works = true;
    producer.pass(Duration::from_secs(30));
    assert_eq!(producer.run(None), [KeyId::Short(0)]);
    assert!(producer.ratchet.sealing_key(&"t".into()).is_some());
}

#[test]
fn keys_that_could_not_be_kept_when_a_denial_turned_the_ratchet_are_made_again_soon() {
    let mut producer = Producer::new();
    producer.prepare();
    producer.hand_out();
    producer.saves = false;
    assert_eq!(producer.deny(true), []);
    producer.saves = true;
    let wait = producer.ratchet.next_timeout(producer.now);
    assert_eq!(wait, Duration::from_secs(30));
    producer.pass(wait);
    assert_eq!(producer.run(None), [KeyId::Short(2)]);
}

#[test]
fn a_denial_turns_the_ratchet_if_a_key_in_use_was_asked_for() {
    let mut producer = Producer::new();
    assert_eq!(producer.deny(true), [], "nothing is sealed");
    producer.prepare();
    assert_eq!(producer.deny(true), [], "nobody has the key");
    producer.hand_out();
    assert_eq!(producer.deny(true), [KeyId::Short(1)]);
    assert_eq!(producer.deny(true), [], "nobody has the new key");
}

#[test]
fn denials_turn_the_ratchet_at_most_once_a_minute_and_none_is_forgotten() {
    let mut producer = Producer::new();
    producer.prepare();
    producer.hand_out();
    assert_eq!(producer.deny(true).len(), 1);
    let mut turned_at = Vec::new();
    for second in 1..=200 {
        producer.pass(Duration::from_secs(1));
        producer.hand_out();
        let mut turns = producer.run(None).len();
        if second <= 130 {
            turns += producer.deny(true).len();
        }
        if turns > 0 {
            turned_at.push(second);
        }
    }
    assert_eq!(turned_at, [60, 120, 180]);
}

#[test]
fn denials_of_keys_that_anybody_can_make_turn_it_once_in_ten_minutes() {
    let mut producer = Producer::new();
    producer.prepare();
    let mut turns = 0;
    for _ in 0..3600 {
        producer.hand_out();
        turns += producer.deny(false).len() + producer.run(None).len();
        producer.pass(Duration::from_secs(1));
    }
    assert!((6..=7).contains(&turns), "{turns}");
}

#[test]
fn a_generator_takes_its_counter_as_salt_and_never_repeats_itself() {
    let mut generator = KeyGenerator::new(Secret::random(&mut rng()), Context::RATCHET);
    let mut seen = HashSet::new();
    for count in 0..300_u128 {
        assert_eq!(generator.salt(), count.to_le_bytes());
        let mut output = [0; 32];
        generator.generate(&mut output).unwrap();
        assert!(seen.insert(output));
    }
}
