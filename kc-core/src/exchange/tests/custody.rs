//! Custodians: replies after a crash, and answers that wait for other nodes.

use super::to;
use super::*;
use crate::exchange::RequestSeed;
use crate::work::{Work, measure};

const WAIT: Duration = Duration::from_secs(1);
/// The longest time for which an incomplete answer waits.
const LONGEST_WAIT: Duration = Duration::from_millis(1500);

/// Makes a node a custodian whose seeds these numbers determine.
fn entrust(world: &mut World, node: &mut Node, seeds: &[u8]) {
    let seeds = seeds.iter().map(|number| {
        let secret: Secret<32> = Secret::fill_with(|secret| secret.fill(*number));
        RequestSeed::from(secret)
    });
    let seeds = seeds.collect();
    node.exchange
        .handle(Input::Custody { seeds, wait: WAIT }, world.now);
}

fn custodian(world: &mut World, ids: &[u64]) -> Node {
    let mut custodian = world.node(&[Usage::Encrypt, Usage::EncryptRequest]);
    for id in ids {
        custodian.held.insert(KeyId::Short(*id), held(*id));
    }
    entrust(world, &mut custodian, &[1]);
    custodian
}

fn request(world: &mut World, consumer: &mut Node, ids: &[u64]) -> OutRecord {
    let sent = world.want(consumer, ids);
    to(SideTopic::Requests, sent).remove(0)
}

fn reply(world: &mut World, producer: &mut Node, request: &OutRecord) -> OutRecord {
    producer.take(world, request).remove(0)
}

/// Lets the wait of answers pass. Returns the records that the node sends.
fn wait(world: &mut World, node: &mut Node) -> Vec<OutRecord> {
    assert!(node.exchange.next_timeout(world.now).unwrap() <= LONGEST_WAIT);
    world.pass(LONGEST_WAIT);
    node.run(world)
}

/// Returns the ids that a consumer gets from these replies.
fn got(world: &mut World, consumer: &mut Node, replies: &[OutRecord]) -> Vec<u64> {
    let before = consumer.received.len();
    for reply in replies {
        consumer.take(world, reply);
    }
    consumer.ids().split_off(before)
}

#[test]
fn a_reply_opens_after_a_crash_and_brings_all_keys() {
    let mut world = World::new(1);
    let mut before = custodian(&mut world, &[]);
    let mut producer = world.producer(&[1, 2]);
    let request = request(&mut world, &mut before, &[1, 2]);
    let reply = reply(&mut world, &mut producer, &request);

    // The process that has crashed had the same files. The new one wants nothing yet.
    let mut after = custodian(&mut world, &[]);
    after.take(&mut world, &reply);
    assert_eq!(after.ids(), [1, 2]);
    assert_eq!(after.received[0].1, held(1));
    assert_eq!(after.settled, [0]);

    // On the next day, the seed of the request is the second one; on the day after, it is forgotten.
    let mut later = custodian(&mut world, &[]);
    entrust(&mut world, &mut later, &[2, 1]);
    later.take(&mut world, &reply);
    assert_eq!(later.ids(), [1, 2]);
    let mut too_late = custodian(&mut world, &[]);
    entrust(&mut world, &mut too_late, &[3, 2]);
    too_late.take(&mut world, &reply);
    assert!(too_late.ids().is_empty());
    assert_eq!(too_late.settled, [0]);
}

#[test]
fn a_custodian_takes_several_replies_to_one_request() {
    let mut world = World::new(2);
    let mut custodian = custodian(&mut world, &[]);
    let request = request(&mut world, &mut custodian, &[1]);
    // A node that holds a wrong key for the same id answers first.
    let mut poisoner = world.producer(&[1]);
    poisoner.held.insert(KeyId::Short(1), held(9));
    let mut producer = world.producer(&[1]);
    for node in [&mut poisoner, &mut producer] {
        let reply = reply(&mut world, node, &request);
        custodian.take(&mut world, &reply);
    }
    assert_eq!(custodian.ids(), [1, 1]);
    assert_eq!(custodian.received[1].1, held(1));
}

#[test]
fn a_custodian_without_its_seeds_sends_nothing_and_gives_no_reply_up() {
    let mut world = World::new(11);
    let mut before = custodian(&mut world, &[]);
    let mut producer = world.producer(&[1]);
    let request = request(&mut world, &mut before, &[1]);
    let reply = reply(&mut world, &mut producer, &request);

    let mut after = world.node(&[Usage::Encrypt, Usage::EncryptRequest]);
    entrust(&mut world, &mut after, &[]);
    assert!(world.want(&mut after, &[2]).is_empty());
    after.take(&mut world, &reply);
    for _ in 0..10 {
        world.pass(Duration::from_secs(1));
        assert!(after.run(&mut world).is_empty());
    }
    assert!(after.settled.is_empty() && after.ids().is_empty());
    assert!(after.exchange.next_timeout(world.now) > Some(Duration::ZERO));
    entrust(&mut world, &mut after, &[1]);
    world.pass(Duration::from_secs(1));
    let sent = after.run(&mut world);
    assert_eq!(after.ids(), [1]);
    assert_eq!(after.settled, [0]);
    assert!(
        !sent.is_empty(),
        "the key that was wanted meanwhile is requested"
    );
}

#[test]
fn a_copy_of_a_processed_reply_costs_nothing() {
    let mut world = World::new(12);
    let mut custodian = custodian(&mut world, &[]);
    let mut producer = world.producer(&[1]);
    let request = request(&mut world, &mut custodian, &[1]);
    let reply = reply(&mut world, &mut producer, &request);
    custodian.take(&mut world, &reply);
    let (_, work) = measure(|| custodian.take(&mut world, &reply));
    assert_eq!(work, Work::default());
    assert_eq!((custodian.ids(), custodian.settled), (vec![1], vec![0, 1]));
}

#[test]
fn replies_to_others_cost_no_signature() {
    let mut world = World::new(3);
    let mut custodian = custodian(&mut world, &[]);
    let mut consumer = world.consumer();
    let mut producer = world.producer(&[1]);
    let request = request(&mut world, &mut consumer, &[1]);
    let reply = reply(&mut world, &mut producer, &request);
    let (_, work) = measure(|| custodian.take(&mut world, &reply));
    assert_eq!(work, Work::default());
    assert_eq!(custodian.settled, [0]);
}

#[test]
fn a_complete_answer_does_not_wait() {
    let mut world = World::new(4);
    let mut custodian = custodian(&mut world, &[1, 2]);
    let mut consumer = world.consumer();
    let request = request(&mut world, &mut consumer, &[1, 2]);
    let replies = custodian.take(&mut world, &request);
    assert_eq!(got(&mut world, &mut consumer, &replies), [1, 2]);
}

#[test]
fn an_incomplete_answer_waits_and_leaves_out_what_others_have_sent() {
    let mut world = World::new(5);
    let mut custodian = custodian(&mut world, &[1, 2]);
    let mut producer = world.producer(&[2, 3]);
    let mut consumer = world.consumer();
    let request = request(&mut world, &mut consumer, &[1, 2, 3]);
    assert!(custodian.take(&mut world, &request).is_empty());
    // The custodian goes on to read meanwhile.
    assert_eq!(custodian.settled, [0]);
    let reply = reply(&mut world, &mut producer, &request);
    assert!(custodian.take(&mut world, &reply).is_empty());
    let late = wait(&mut world, &mut custodian);
    assert_eq!(got(&mut world, &mut consumer, &[reply]), [2, 3]);
    assert_eq!(got(&mut world, &mut consumer, &late), [1]);
    // It has answered: a copy of the request gets nothing.
    assert!(custodian.take(&mut world, &request).is_empty());
}

#[test]
fn nothing_is_sent_if_others_have_sent_everything() {
    let mut world = World::new(6);
    let mut custodian = custodian(&mut world, &[1]);
    let mut producer = world.producer(&[1, 2]);
    let mut consumer = world.consumer();
    let request = request(&mut world, &mut consumer, &[1, 2]);
    custodian.take(&mut world, &request);
    let reply = reply(&mut world, &mut producer, &request);
    custodian.take(&mut world, &reply);
    assert!(wait(&mut world, &mut custodian).is_empty());
}

#[test]
fn a_forged_reply_silences_nobody() {
    let mut world = World::new(7);
    let mut custodian = custodian(&mut world, &[1]);
    let mut consumer = world.consumer();
    let request = request(&mut world, &mut consumer, &[1, 2]);
    custodian.take(&mut world, &request);
    // The chain of this node does not permit it to send keys.
    let mut forger = world.node(&[Usage::EncryptRequest]);
    forger.held.insert(KeyId::Short(1), held(1));
    let reply = reply(&mut world, &mut forger, &request);
    custodian.take(&mut world, &reply);
    assert_eq!(custodian.refusals().len(), 1);
    let late = wait(&mut world, &mut custodian);
    assert_eq!(got(&mut world, &mut consumer, &late), [1]);
}

#[test]
fn a_reply_with_other_ids_silences_only_once() {
    let mut world = World::new(8);
    let mut custodian = custodian(&mut world, &[1]);
    let mut producer = world.producer(&[2]);
    let mut consumer = world.consumer();
    let first = request(&mut world, &mut consumer, &[1, 2, 3]);
    custodian.take(&mut world, &first);
    let mut reply = reply(&mut world, &mut producer, &first);
    // The Kafka key, which names the ids, is not signed.
    reply.kafka_key = first.kafka_key.clone();
    custodian.take(&mut world, &reply);
    assert!(wait(&mut world, &mut custodian).is_empty());
    consumer.take(&mut world, &reply);
    world.pass(INTERVAL);
    let second = to(SideTopic::Requests, consumer.run(&mut world)).remove(0);
    // The consumer asks again, so it gets the key at once, whatever replies say.
    let replies = custodian.take(&mut world, &second);
    assert_eq!(got(&mut world, &mut consumer, &replies), [1]);
    // Another consumer's requests are not affected.
    let mut other = world.consumer();
    let request = request(&mut world, &mut other, &[1, 3]);
    assert!(custodian.take(&mut world, &request).is_empty());
}

#[test]
fn a_requester_that_is_denied_while_its_answer_waits_gets_nothing() {
    let mut world = World::new(9);
    let mut custodian = custodian(&mut world, &[1]);
    let mut consumer = world.consumer();
    let request = request(&mut world, &mut consumer, &[1, 2]);
    assert!(custodian.take(&mut world, &request).is_empty());
    let denied = TrustEntry::unrestricted(consumer.key.verifying_key());
    world.trust.add(crate::chain::TrustList::Deny, denied);
    custodian.exchange.handle(Input::TrustChanged, world.now);
    assert!(wait(&mut world, &mut custodian).is_empty());
    assert_eq!(custodian.refusals().len(), 1);
}

#[test]
fn waiting_answers_are_bounded() {
    let mut world = World::new(10);
    let mut custodian = custodian(&mut world, &[1]);
    let mut consumer = world.consumer();
    let first = request(&mut world, &mut consumer, &[1, 2]);
    let mut answered = 0;
    for number in 0..1030_u32 {
        let random0 = crate::symmetric::sha256(&[&number.to_be_bytes()]);
        let request = consumer.request_of(&mut world, &first, &random0);
        answered += custodian.take(&mut world, &request).len();
    }
    assert_eq!(answered, 1030 - 1024);
    assert!(custodian.peak <= MAX_TICKETS);
    world.pass(LONGEST_WAIT);
    let late = custodian.run(&mut world);
    assert_eq!(late.len(), 1024);
    assert!(custodian.peak <= MAX_TICKETS, "{}", custodian.peak);
}
