//! Requests for data keys, to a producer and to a controller: as they are, or signed by an authorised node.

#![no_main]

use kc_core::chain::Usage;
use kc_core::exchange::{KeyReply, KeyRequest, OutRecord, RequestForm, decode_key_ids};
use kc_core::types::SideTopic;
use kc_core::work::Work;
use kc_fuzz::bounds::{assert_bounded, is_vouched_for};
use kc_fuzz::node::Node;
use kc_fuzz::world::{WORLD, topic};
use kc_fuzz::{choices, counted};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choices, rest)) = choices(data) else {
        return;
    };
    let Some((kafka_key, rest)) = counted(rest) else {
        return;
    };
    let value = match choices & 1 {
        0 => rest.to_vec(),
        _ => WORLD.from_peer(rest),
    };
    match choices & 2 {
        0 => answered(kafka_key, &value),
        _ => forwarded(kafka_key, &value),
    }
});

/// Returns the request if it is valid, verified independently of the machine.
fn valid(node: &Node, value: &[u8], usage: Usage) -> Option<KeyRequest> {
    KeyRequest::validate(value, &topic(), usage, node.lists(), node.now.wall).ok()
}

/// Hands a record to the machine twice. Returns the record that the machine sent for the first one; it must send none
/// for the copy.
fn take_twice(
    node: &mut Node,
    side: SideTopic,
    kafka_key: &[u8],
    value: &[u8],
    exchanges: u64,
) -> Option<OutRecord> {
    let work = node.take(side, kafka_key, value);
    assert_bounded(work, value, node.lists(), exchanges);
    if !is_vouched_for(value, node.lists()) {
        assert!(node.sent.is_empty());
        assert_eq!(node.exchange.answered(), 0, "nothing is remembered of it");
    }
    let sent = node.sent.pop();
    assert!(node.sent.is_empty(), "one message for one identity");
    let again = node.take(side, kafka_key, value);
    assert!(node.sent.is_empty(), "a copy");
    match &sent {
        Some(_) => assert_eq!(again, Work::default()),
        None => assert_bounded(again, value, node.lists(), exchanges),
    }
    sent
}

fn answered(kafka_key: &[u8], value: &[u8]) {
    let mut node = Node::default();
    let reply = take_twice(&mut node, SideTopic::Requests, kafka_key, value, 1);
    let Some(reply) = reply else { return };
    let request = valid(&node, value, Usage::EncryptRequest).expect("only who may ask is answered");
    assert_eq!(reply.side, SideTopic::Keys);
    let asked = decode_key_ids(kafka_key).expect("a list of ids");
    let given = decode_key_ids(&reply.kafka_key).expect("a list of ids");
    assert!(!given.is_empty() && given.iter().all(|id| asked.contains(id)));
    let reply = KeyReply::validate(&reply.value, &topic(), node.lists(), node.now.wall);
    assert_eq!(reply.expect("valid").random0(), request.random0());
}

fn forwarded(kafka_key: &[u8], value: &[u8]) {
    let mut node = Node::default();
    let side = SideTopic::Subscriptions;
    let sent = take_twice(&mut node, side, kafka_key, value, 0);
    let Some(sent) = sent else { return };
    let asked =
        valid(&node, value, Usage::EncryptSubscribe).expect("only who may ask is vouched for");
    assert_eq!(sent.side, SideTopic::Requests);
    assert_eq!(*sent.kafka_key, *kafka_key);
    let vouched = valid(&node, &sent.value, Usage::EncryptRequest).expect("valid");
    assert_eq!(vouched.random0(), asked.random0());
    assert_eq!(vouched.form(), asked.form());
    assert!(vouched.offers().eq(asked.offers()));
    if vouched.form() == RequestForm::Legacy {
        assert_eq!(vouched.chain().constraints().path_length, Some(0));
    }
    assert!(!vouched.chain().max_age().is_unlimited());
}
