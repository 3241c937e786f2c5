use std::sync::Arc;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::ratchet::{Component, KeyIdForm, Seed, StepKeys};
use crate::types::{KeyId, RootTopic};

fn ratchet(seed: u64) -> StepKeys {
    let seed = Seed::generate(&mut StdRng::seed_from_u64(seed));
    StepKeys::new(seed.advance().unwrap().stored().0, &KeyIdForm::Short)
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(8)
}

fn root_topic() -> RootTopic {
    "t".into()
}

#[test]
fn keys_with_one_id_from_two_producers_live_side_by_side() {
    let mut ring = KeyRing::default();
    let sealed = [1, 2].map(|producer| {
        let key = ratchet(producer).sealing_key(&root_topic(), &mut rng());
        let secret = key.data_key().expose_copy();
        let expected = if producer == 1 {
            Added::New
        } else {
            Added::Candidate
        };
        assert_eq!(ring.add(&root_topic(), key.id(), secret, None), expected);
        let mut sealed = Vec::new();
        seal(&key, Component::Value, &[producer as u8], &mut sealed).unwrap();
        sealed
    });
    for (sealed, plaintext) in sealed.iter().zip([[1], [2]]) {
        let opened = ring.open("t", Component::Value, sealed);
        assert_eq!(opened.into_plaintext().unwrap(), plaintext);
    }
}

#[test]
fn the_ring_is_bounded() {
    let mut ring = KeyRing::default();
    for producer in 0..=MAX_CANDIDATES as u64 {
        let secret = ratchet(producer)
            .sealing_key(&root_topic(), &mut rng())
            .data_key()
            .expose_copy();
        let added = ring.add(&root_topic(), KeyId::Short(0), secret, None);
        assert_eq!(added == Added::Refused, producer == MAX_CANDIDATES as u64);
    }
    let secret = || {
        ratchet(1)
            .sealing_key(&root_topic(), &mut rng())
            .data_key()
            .expose_copy()
    };
    for id in 1..=MAX_KEYS_PER_ROOT as u64 {
        ring.add(&root_topic(), KeyId::Short(id), secret(), None);
    }
    assert_eq!(ring.len(), MAX_KEYS_PER_ROOT);
    assert!(!ring.knows("t", &KeyId::Short(0)));
}

#[test]
fn a_flood_of_keys_that_open_nothing_displaces_itself() {
    let key = ratchet(1).sealing_key(&root_topic(), &mut rng());
    let secret = || key.data_key().expose_copy();
    let mut sealed = Vec::new();
    seal(&key, Component::Value, b"m", &mut sealed).unwrap();
    let mut ring = KeyRing::default();
    ring.add(&root_topic(), key.id(), secret(), None);
    // A key that has opened a record in a copy is proven in all copies.
    let copy = ring.clone();
    let opened = copy.open("t", Component::Value, &sealed);
    assert_eq!(opened.into_plaintext().unwrap(), b"m");
    let flood = 1..=2 * MAX_KEYS_PER_ROOT as u64;
    for id in flood.clone() {
        ring.add(&root_topic(), KeyId::Short(id), secret(), None);
        assert!(ring.knows("t", &KeyId::Short(id)), "the latest stay");
    }
    assert_eq!(ring.len(), MAX_KEYS_PER_ROOT);
    assert!(ring.knows("t", &key.id()));
    assert!(!ring.knows("t", &KeyId::Short(*flood.start())));
}

#[test]
fn outcomes_tell_what_can_still_change() {
    let key = ratchet(1).sealing_key(&root_topic(), &mut rng());
    let mut sealed = Vec::new();
    seal(&key, Component::Value, b"hello", &mut sealed).unwrap();
    let mut ring = KeyRing::default();

    let outcome =
        |ring: &KeyRing, bytes: &[u8]| ring.open("t", Component::Value, bytes).into_plaintext();
    assert_eq!(
        outcome(&ring, &sealed),
        Err(Unopened::AwaitingKey(key.id()))
    );
    ring.add(&root_topic(), key.id(), key.data_key().expose_copy(), None);
    assert_eq!(outcome(&ring, &sealed), Ok(b"hello".to_vec()));
    *sealed.last_mut().unwrap() ^= 1;
    assert_eq!(
        outcome(&ring, &sealed),
        Err(Unopened::Unauthentic(key.id()))
    );
    assert_eq!(outcome(&ring, b""), Err(Unopened::Foreign(Foreign::Empty)));
    assert_eq!(
        outcome(&ring, b"plain"),
        Err(Unopened::Foreign(Foreign::FirstByte))
    );
}

/// A sealing key whose salts begin with the same instance each time.
fn sealing_key(producer: u64) -> Arc<SealingKey> {
    ratchet(producer).sealing_key(&root_topic(), &mut rng())
}

/// Any components: sealed ones, altered ones, ones without a key or with two keys of the same id, and others.
fn components() -> impl Strategy<Value = (KeyRing, Vec<Vec<u8>>)> {
    let plaintext = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..200),
        1 => prop::collection::vec(any::<u8>(), 0..6000),
    ];
    let component = (plaintext, 0..10_u8, any::<prop::sample::Index>());
    prop::collection::vec(component, 0..70).prop_map(|components| {
        // Both keys have the same id, and the ring knows only the first.
        let keys = [1, 2].map(sealing_key);
        let mut ring = KeyRing::default();
        let secret = keys[0].data_key().expose_copy();
        ring.add(&root_topic(), keys[0].id(), secret, None);
        let sealed = components.into_iter().map(|(plaintext, kind, place)| {
            let mut sealed = Vec::new();
            let key = &keys[usize::from(kind == 0)];
            seal(key, Component::Value, &plaintext, &mut sealed).unwrap();
            match kind {
                1 => {
                    let place = place.index(sealed.len());
                    sealed[place] ^= 1;
                }
                2 => sealed.truncate(place.index(sealed.len())),
                3 => sealed = plaintext,
                // Another key id.
                4 => sealed[2] ^= 1,
                _ => {}
            }
            sealed
        });
        let sealed = sealed.collect();
        (ring, sealed)
    })
}

proptest! {
    #[test]
    fn a_batch_opens_as_its_components_do((mut ring, sealed) in components(), second: bool) {
        if second {
            // All components then have two possible keys.
            let secret = sealing_key(2).data_key().expose_copy();
            ring.add(&root_topic(), KeyId::Short(0), secret, None);
        }
        let expected: Vec<_> = sealed
            .iter()
            .map(|bytes| ring.open("t", Component::Value, bytes).into_plaintext())
            .collect();
        for kernel in Kernel::all() {
            let mut plaintexts = b"before".to_vec();
            let mut opened = Vec::new();
            let parts = sealed.iter().map(Vec::as_slice);
            ring.open_batch_with(kernel, "t", Component::Value, parts, &mut plaintexts, |place| {
                opened.push(place);
            });
            prop_assert!(plaintexts.starts_with(b"before"));
            let opened: Vec<_> = opened
                .into_iter()
                .map(|place| place.map(|place| plaintexts[place].to_vec()))
                .collect();
            prop_assert_eq!(&opened, &expected, "{:?}", kernel);
        }
    }

    #[test]
    fn a_batch_is_sealed_as_its_messages_are(
        plaintexts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4000), 0..40),
    ) {
        for component in [Component::Key, Component::Value] {
            let key = sealing_key(1);
            let mut expected = vec![b"before".to_vec(); plaintexts.len()];
            for (plaintext, sealed) in plaintexts.iter().zip(&mut expected) {
                seal(&key, component, plaintext, sealed).unwrap();
            }
            for kernel in Kernel::all() {
                let mut sealed = vec![b"before".to_vec(); plaintexts.len()];
                let messages = plaintexts.iter().zip(&mut sealed);
                let mut messages: Vec<_> = messages
                    .map(|(plaintext, sealed)| ToSeal { plaintext, sealed })
                    .collect();
                seal_batch_with(kernel, &sealing_key(1), component, &mut messages).unwrap();
                prop_assert_eq!(&sealed, &expected, "{:?}", kernel);
            }
        }
    }

    #[test]
    fn what_is_sealed_opens_and_nothing_else_does(plaintext: Vec<u8>, flip: prop::sample::Index) {
        let key = ratchet(1).sealing_key(&root_topic(), &mut rng());
        let mut ring = KeyRing::default();
        ring.add(&root_topic(), key.id(), key.data_key().expose_copy(), None);
        for component in [Component::Key, Component::Value] {
            let mut sealed = Vec::new();
            seal(&key, component, &plaintext, &mut sealed).unwrap();
            prop_assert!(sealed.len() <= sealed_len(plaintext.len()));
            prop_assert_eq!(sealed.capacity(), sealed.len());
            prop_assert_eq!(ring.open("t", component, &sealed).into_plaintext().unwrap(), plaintext.clone());
            prop_assert!(is_authentic(key.data_key(), component, &sealed));

            let flip = flip.index(sealed.len());
            sealed[flip] ^= 1;
            prop_assert!(ring.open("t", component, &sealed).into_plaintext().is_err());
            let is_same = Envelope::parse(&sealed).is_ok_and(|envelope| envelope.key_id != key.id());
            prop_assert_eq!(is_authentic(key.data_key(), component, &sealed), is_same);
        }
    }

    #[test]
    fn the_length_of_a_header_is_known_before(
        id in prop_oneof![
            any::<u64>().prop_map(KeyId::Short),
            any::<u32>().prop_map(|id| KeyId::Short(id.into())),
            any::<u16>().prop_map(|id| KeyId::Short(id.into())),
            any::<[u8; KEY_ID_LEN]>().prop_map(KeyId::Long),
        ],
        sealed_len in prop_oneof![0..300_usize, 65_500..65_600_usize],
    ) {
        let mut header = Vec::new();
        write_header(&mut header, id, &[8; SALT_LEN], sealed_len);
        prop_assert_eq!(header_len(&id, sealed_len), header.len());
    }

    #[test]
    fn the_usual_form_is_one_of_all_forms(
        sealed_len in prop_oneof![0..400_usize, 65_530..65_540_usize],
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        end: prop::sample::Index,
        is_cut: bool,
    ) {
        let mut bytes = Vec::new();
        write_header(&mut bytes, KeyId::Long([7; KEY_ID_LEN]), &[8; SALT_LEN], sealed_len);
        let header = bytes.len();
        bytes.resize(header + sealed_len, 9);
        prop_assert!(Envelope::parse_usual(&bytes).is_some());
        for (place, byte) in changes {
            bytes[place.index(header)] = byte;
        }
        if is_cut {
            bytes.truncate(end.index(bytes.len()));
        }
        if let Some(usual) = Envelope::parse_usual(&bytes) {
            prop_assert_eq!(Envelope::parse_any(&bytes), Ok(usual));
        }
    }

    #[test]
    fn opening_never_panics(bytes: Vec<u8>) {
        let mut ring = KeyRing::default();
        ring.add(&root_topic(), KeyId::Short(0), ratchet(1).sealing_key(&root_topic(), &mut rng()).data_key().expose_copy(), None);
        let _ = ring.open("t", Component::Key, &bytes);
        let _ = ring.open("t", Component::Key, &[&[1, 0x93], bytes.as_slice()].concat());
    }
}
