//! Replies to a consumer's request: as they are, signed by an authorised node, or sealed and signed by it.

#![no_main]

use std::collections::HashSet;

use kc_core::chain::{Constraints, MaxAge, Usage, encode_certificate};
use kc_core::exchange::{KeyReply, KeyTableChange, MAX_TRIED_KEYS};
use kc_core::kem::{DecapsulationKey, PublicKey};
use kc_core::secret::Secret;
use kc_core::store::opaque;
use kc_core::types::{KeyId, SideTopic};
use kc_core::wire::Writer;
use kc_core::work::Work;
use kc_fuzz::bounds::assert_bounded;
use kc_fuzz::choices;
use kc_fuzz::node::{EPHEMERALS, Node, RANDOM0};
use kc_fuzz::world::{TOPIC, WORLD, rng, topic};
use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};

const RANDOM1: [u8; 32] = [0x43; 32];
const WANTED: [KeyId; 5] = [
    KeyId::Short(0),
    KeyId::Short(1),
    KeyId::Short(2),
    KeyId::Short(u64::MAX),
    KeyId::Long([7; 32]),
];

fuzz_target!(|data: &[u8]| {
    let Some((choices, rest)) = choices(data) else {
        return;
    };
    let value = match choices & 3 {
        0 | 3 => rest.to_vec(),
        1 => WORLD.from_peer(rest),
        _ => WORLD.from_peer(&sealed_reply(rest)),
    };
    taken(&value);
});

fn taken(value: &[u8]) {
    let mut node = Node::default();
    node.want(WANTED);
    assert_eq!(node.exchange.outstanding(), 1);
    let work = node.take(SideTopic::Keys, &[], value);
    assert_bounded(work, value, node.lists(), MAX_TRIED_KEYS as u64);
    let random0 = KeyReply::peek_random0(value);
    if random0.as_deref() != Some(&RANDOM0) {
        assert_eq!(work, Work::default(), "a reply to somebody else");
    }
    let received = std::mem::take(&mut node.received);
    let mut ids = HashSet::new();
    for KeyTableChange { keys, giver, .. } in &received {
        let valid = KeyReply::validate(value, &topic(), node.lists(), node.now.wall);
        assert!(valid.is_ok(), "only who may give keys is heard");
        assert!(!keys.is_empty() && giver.len() > 1);
        assert!(!node.trust.denies(giver));
        for (id, _) in keys {
            assert!(WANTED.contains(id) && ids.insert(*id), "{id:?}");
        }
    }
    let left = node.exchange.wanted().get(TOPIC).copied().unwrap_or(0);
    assert_eq!(left + ids.len(), WANTED.len());
    assert_eq!(node.exchange.outstanding(), usize::from(left > 0));

    let work = node.take(SideTopic::Keys, &[], value);
    assert_bounded(work, value, node.lists(), MAX_TRIED_KEYS as u64);
    assert!(node.received.is_empty(), "a copy gives nothing");
}

/// Returns the last certificate of a reply whose box contains `plaintext`.
fn sealed_reply(plaintext: &[u8]) -> Vec<u8> {
    let ephemeral = EPHEMERALS.last().map(DecapsulationKey::encapsulation_key);
    let ephemeral = ephemeral.expect("there are some");
    let (encapsulation, shared) = ephemeral.encapsulate(&mut rng()).expect("a valid key");
    let mut box_key = Sha256::new();
    for part in [TOPIC.as_bytes(), &RANDOM0, &RANDOM1, shared.expose()] {
        box_key.update(part);
    }
    let box_key = Secret::from_slice(&box_key.finalize()).expect("32 bytes");
    let sealed = opaque::wrap(plaintext, &box_key, &mut rng());
    let constraints = Constraints {
        topics: Some(vec![TOPIC.into()]),
        usages: Some(vec![Usage::Encrypt.as_str().into()]),
        path_length: None,
    };
    let write_key = |writer: &mut Writer| {
        writer.array(1);
        PublicKey::from(encapsulation).write_to(writer);
    };
    let write_extra = |writer: &mut Writer| {
        writer.array(2).bytes(&RANDOM0).bytes(&RANDOM1);
        writer.bytes(&sealed);
    };
    let constraints = constraints.encode();
    encode_certificate(MaxAge::UNLIMITED, &constraints, write_key, (2, write_extra))
}
