//! A consumer's requests, and the replies that it accepts.

use super::*;
use super::{INTERVAL, to};
use crate::chain::{
    Certificate, Identity, MaxAge, TrustEntry, TrustList, UnverifiedChain, Usage,
    encode_certificate,
};
use crate::exchange::request::leaf_constraints;
use crate::kem::{DecapsulationKey, PublicKey, Suite};
use crate::keys::Signer;
use crate::ratchet::Candidates;
use crate::wire::Writer;
use crate::work::{Work, measure};

const SECOND: Duration = Duration::from_secs(1);

/// Returns the request to producers that a consumer sends for these keys.
fn request(world: &mut World, consumer: &mut Node, ids: &[u64]) -> OutRecord {
    let sent = world.want(consumer, ids);
    to(SideTopic::Requests, sent).remove(0)
}

fn reply(world: &mut World, producer: &mut Node, request: &OutRecord) -> OutRecord {
    let mut sent = producer.take(world, request);
    assert_eq!(sent.len(), 1, "{:?}", producer.events);
    sent.remove(0)
}

#[test]
fn a_wanted_key_arrives_once_and_only_once() {
    let mut world = World::new(1);
    let mut consumer = world.consumer();
    let mut producer = world.producer(&[1, 2]);
    let request = request(&mut world, &mut consumer, &[1]);
    let reply = reply(&mut world, &mut producer, &request);
    world.pass(Duration::from_millis(250));
    consumer.take(&mut world, &reply);
    assert_eq!(consumer.ids(), [1]);
    assert_eq!(consumer.received[0].1, held(1));
    let received = consumer.events.iter().find_map(|event| match event {
        ExchangeEvent::Received { after, giver, .. } => Some((*after, giver.clone())),
        _ => None,
    });
    let (after, giver) = received.unwrap();
    assert_eq!(after, Duration::from_millis(250));
    assert_eq!(&giver.key, producer.key.verifying_key());
    assert_eq!(&giver.root, world.root.verifying_key());

    assert_eq!(
        consumer.exchange.outstanding(),
        0,
        "ephemerals are forgotten"
    );
    consumer.take(&mut world, &reply);
    assert_eq!(consumer.ids(), [1]);
    assert!(producer.take(&mut world, &request).is_empty(), "a replay");
    assert_eq!(
        (consumer.settled, producer.settled),
        (vec![0, 1], vec![0, 1])
    );
}

#[test]
fn replies_of_a_hundred_producers_to_one_request_all_count() {
    let mut world = World::new(2);
    let mut consumer = world.consumer();
    let ids: Vec<u64> = (0..100).collect();
    let request = request(&mut world, &mut consumer, &ids);
    for id in &ids {
        let mut producer = world.producer(&[*id]);
        let reply = reply(&mut world, &mut producer, &request);
        consumer.enqueue(&mut world, &reply);
    }
    assert!(consumer.run(&mut world).is_empty());
    assert_eq!(consumer.received.len(), 100);
    assert!(consumer.exchange.wanted().is_empty());
    assert_eq!(consumer.exchange.outstanding(), 0);
    assert!(consumer.peak <= MAX_TICKETS_PER_ROOT, "{}", consumer.peak);
    assert!(consumer.refusals().is_empty());
}

#[test]
fn new_ids_are_gathered_and_go_out_at_once_then_at_a_pace() {
    let mut world = World::new(3);
    let mut consumer = world.consumer();
    let mut sent = Vec::new();
    for id in 0..200 {
        consumer.want(&mut world, KeyId::Short(id), Candidates::default());
        world.pass(Duration::from_millis(100));
        let requests = to(SideTopic::Requests, consumer.run(&mut world));
        sent.extend(
            requests
                .iter()
                .map(|_| world.now.mono.as_millis() - 100_000),
        );
    }
    assert!(sent[3] <= 500, "four at once: {sent:?}");
    let paced: Vec<_> = sent[4..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(paced.iter().all(|gap| *gap == 2000), "{sent:?}");
}

#[test]
fn an_unanswered_key_is_asked_for_again_soon_then_each_interval() {
    let mut world = World::new(4);
    let mut consumer = world.consumer();
    consumer.want(&mut world, KeyId::Short(1), Candidates::default());
    let start = world.now.mono;
    let (mut asked, mut values) = (Vec::new(), Vec::new());
    let mut unanswered_at = None;
    while world.now.mono < start + INTERVAL * 3 {
        world.pass(Duration::from_millis(50));
        for request in to(SideTopic::Requests, consumer.run(&mut world)) {
            asked.push((world.now.mono - start).as_secs_f64());
            values.push(request.value);
        }
        let why = consumer
            .exchange
            .why(&root_topic(), &KeyId::Short(1), world.now);
        if why == Some(Missing::Unanswered) && unanswered_at.is_none() {
            unanswered_at = Some((world.now.mono - start).as_secs());
        }
    }
    let expected = [0.05..0.2, 3.0..3.5, 10.0..11.2, 70.0..71.5, 130.0..132.0];
    assert_eq!(asked.len(), expected.len(), "{asked:?}");
    for (asked, expected) in asked.iter().zip(expected) {
        assert!(expected.contains(asked), "{asked} of {expected:?}");
    }
    assert_eq!(unanswered_at, Some(20));
    values.sort();
    values.dedup();
    assert_eq!(values.len(), 5, "the same bytes would be a replay");
    let unanswered = |event: &&ExchangeEvent| matches!(event, ExchangeEvent::Unanswered { .. });
    assert_eq!(consumer.events.iter().filter(unanswered).count(), 1);
    assert_eq!(consumer.missing[0].unanswered, [KeyId::Short(1)]);
}

#[test]
fn a_request_that_goes_out_late_is_not_followed_at_once_by_the_next() {
    let mut world = World::new(4);
    let mut consumer = world.consumer();
    world.want(&mut consumer, &[1]);
    // No job ran meanwhile, and the second and third request would have been due.
    world.pass(Duration::from_secs(30));
    let late = to(SideTopic::Requests, consumer.run(&mut world));
    assert_eq!(late.len(), 1);
    world.pass(Duration::from_millis(2900));
    assert!(consumer.run(&mut world).is_empty());
    world.pass(Duration::from_millis(500));
    let next = to(SideTopic::Requests, consumer.run(&mut world));
    assert_eq!(next.len(), 1);
}

#[test]
fn a_late_reply_to_an_earlier_request_still_counts() {
    let mut world = World::new(5);
    let mut consumer = world.consumer();
    let mut producer = world.producer(&[1]);
    let first = request(&mut world, &mut consumer, &[1]);
    world.pass(SECOND * 4);
    assert_eq!(to(SideTopic::Requests, consumer.run(&mut world)).len(), 1);
    let reply = reply(&mut world, &mut producer, &first);
    consumer.take(&mut world, &reply);
    assert_eq!(consumer.ids(), [1]);
}

#[test]
fn a_request_is_answerable_until_four_newer_ones_exist() {
    let mut world = World::new(6);
    let mut consumer = world.consumer();
    let mut replies = Vec::new();
    for id in 0..5 {
        let request = request(&mut world, &mut consumer, &[id]);
        let mut producer = world.producer(&[id]);
        replies.push(reply(&mut world, &mut producer, &request));
        world.pass(SECOND * 2);
        consumer.run(&mut world);
    }
    for reply in &replies[1..] {
        consumer.take(&mut world, reply);
    }
    consumer.take(&mut world, &replies[0]);
    assert!(!consumer.ids().contains(&0));
    assert!(consumer.ids().contains(&4));
}

#[test]
fn a_reply_that_names_nothing_wanted_consumes_nothing() {
    let mut world = World::new(7);
    let mut consumer = world.consumer();
    let (mut other, mut producer) = (world.producer(&[9]), world.producer(&[1]));
    let request = request(&mut world, &mut consumer, &[1]);
    let asked_for_another = OutRecord {
        kafka_key: encode_key_ids([KeyId::Short(9)].iter()).into(),
        ..request.clone()
    };
    let useless = reply(&mut world, &mut other, &asked_for_another);
    consumer.take(&mut world, &useless);
    assert!(consumer.received.is_empty());
    let reply = reply(&mut world, &mut producer, &request);
    consumer.take(&mut world, &reply);
    assert_eq!(consumer.ids(), [1]);
}

#[test]
fn two_producers_with_one_key_id_are_both_understood() {
    let mut world = World::new(8);
    let mut consumer = world.consumer();
    let mut one = world.producer(&[1]);
    let mut two = world.producer(&[]);
    two.held.insert(KeyId::Short(1), held(2));
    let first = request(&mut world, &mut consumer, &[1]);
    let from_one = reply(&mut world, &mut one, &first);
    consumer.take(&mut world, &from_one);

    // A record sealed with the other producer's key does not open.
    let known = Candidates::from_iter([held(1)]);
    consumer.want(&mut world, KeyId::Short(1), known);
    world.pass(GATHER_TIME);
    let second = to(SideTopic::Requests, consumer.run(&mut world)).remove(0);
    let again = reply(&mut world, &mut one, &second);
    consumer.take(&mut world, &again);
    assert_eq!(consumer.received.len(), 1, "known, and of no use");
    let from_two = reply(&mut world, &mut two, &second);
    consumer.take(&mut world, &from_two);
    assert_eq!(consumer.received[1].1, held(2));
}

#[test]
fn who_always_answers_first_with_wrong_secrets_does_not_keep_the_right_one_out() {
    let mut world = World::new(18);
    let mut consumer = world.consumer();
    let mut right = world.producer(&[1]);
    let mut wrong = world.producer(&[]);
    wrong.held.insert(KeyId::Short(1), held(66));
    // The first answer was wrong, and so is this one.
    let known = Candidates::from_iter([held(99)]);
    consumer.want(&mut world, KeyId::Short(1), known);
    world.pass(GATHER_TIME);
    let asked = to(SideTopic::Requests, consumer.run(&mut world)).remove(0);
    let from_wrong = reply(&mut world, &mut wrong, &asked);
    let from_right = reply(&mut world, &mut right, &asked);
    let why = |consumer: &Node, now| consumer.exchange.why(&root_topic(), &KeyId::Short(1), now);
    world.pass(UNANSWERED_AFTER);
    consumer.run(&mut world);
    assert_eq!(why(&consumer, world.now), Some(Missing::Unanswered));
    consumer.take(&mut world, &from_wrong);
    world.pass(SECOND * 2);
    consumer.run(&mut world);
    assert_eq!(why(&consumer, world.now), Some(Missing::Asking));
    assert!(consumer.missing[0].unanswered.is_empty());
    consumer.take(&mut world, &from_right);
    let secrets: Vec<_> = consumer.received.iter().map(|(_, secret)| secret).collect();
    assert_eq!(secrets, [&held(66), &held(1)]);

    let wait = consumer.exchange.next_timeout(world.now).unwrap();
    assert!(wait <= SECOND * 3, "{wait:?}");
    world.pass(wait);
    consumer.run(&mut world);
    assert_eq!(consumer.exchange.outstanding(), 0);
    assert!(consumer.exchange.wanted().is_empty());
}

#[test]
fn without_a_valid_chain_nothing_is_sent_until_there_is_one() {
    let mut world = World::new(9);
    let mut consumer = world.consumer();
    let valid = consumer.identity.clone();
    consumer.identity = Identity::new(valid.key().clone(), None);
    assert!(world.want(&mut consumer, &[1]).is_empty());
    let invalid = |event: &&ExchangeEvent| matches!(event, ExchangeEvent::NoValidChain { .. });
    assert_eq!(consumer.events.iter().filter(invalid).count(), 1);
    let why = consumer
        .exchange
        .why(&root_topic(), &KeyId::Short(1), world.now);
    assert_eq!(why, Some(Missing::NotAuthorized));

    consumer.identity = valid;
    let changed = Input::TrustChanged;
    consumer.exchange.handle(changed, world.now);
    assert!(!consumer.run(&mut world).is_empty());
}

#[test]
fn a_million_invented_ids_and_roots_stay_within_the_bounds() {
    let mut world = World::new(10);
    let mut consumer = world.consumer();
    for id in 0..1_000_000 {
        consumer.want(&mut world, KeyId::Short(id), Candidates::default());
        if id % 100_000 == 0 {
            world.pass(SECOND);
            consumer.run(&mut world);
        }
    }
    for id in 0..10_000 {
        let input = Input::Want {
            root_topic: format!("r{id}").as_str().into(),
            id: KeyId::Short(id),
            known: Candidates::default(),
        };
        let exchange = &mut consumer.exchange;
        exchange.handle(input, world.now);
    }
    let wanted = consumer.exchange.wanted();
    assert_eq!(
        (wanted.len(), wanted[&root_topic()]),
        (MAX_ROOTS, MAX_WANTED_PER_ROOT)
    );
    assert!(consumer.exchange.outstanding() <= MAX_OUTSTANDING_PER_ROOT);
    let sent = consumer.run(&mut world);
    assert!(to(SideTopic::Requests, sent).len() <= 10, "ten a second");
}

#[test]
fn a_real_id_gets_in_after_a_flood_of_invented_ones() {
    let mut world = World::new(11);
    let mut consumer = world.consumer();
    for id in 0..1000 {
        consumer.want(&mut world, KeyId::Short(id), Candidates::default());
    }
    let mut producer = world.producer(&[5000]);
    world.want(&mut consumer, &[5000]);
    world.pass(SECOND);
    let request = request(&mut world, &mut consumer, &[5000]);
    let reply = reply(&mut world, &mut producer, &request);
    consumer.take(&mut world, &reply);
    assert_eq!(consumer.ids(), [5000]);
}

#[test]
fn an_id_that_was_asked_for_keeps_its_place_until_a_reply_may_have_come() {
    let mut world = World::new(19);
    let mut consumer = world.consumer();
    let mut producer = world.producer(&[5000]);
    let request = request(&mut world, &mut consumer, &[5000]);
    for id in 0..1000 {
        consumer.want(&mut world, KeyId::Short(id), Candidates::default());
    }
    let reply = reply(&mut world, &mut producer, &request);
    consumer.take(&mut world, &reply);
    assert_eq!(consumer.ids(), [5000]);
}

#[test]
fn what_nobody_wants_any_more_is_forgotten() {
    let mut world = World::new(12);
    let mut consumer = world.consumer();
    world.want(&mut consumer, &[1]);
    world.pass(INTERVAL * 100);
    consumer.run(&mut world);
    assert!(consumer.exchange.wanted().is_empty());
    assert_eq!(consumer.exchange.outstanding(), 0);
}

#[test]
fn a_clock_that_is_set_back_does_not_stop_requests() {
    let mut world = World::new(13);
    let mut consumer = world.consumer();
    assert!(!world.want(&mut consumer, &[1]).is_empty());
    world.now.wall = Timestamp::from_secs(1_600_000_000.0).unwrap();
    world.pass(SECOND * 4);
    assert!(!consumer.run(&mut world).is_empty());
}

#[test]
fn a_request_that_could_not_be_sent_is_sent_when_it_can_be() {
    let mut world = World::new(14);
    let mut consumer = world.consumer();
    consumer.unreachable = vec![SideTopic::Requests, SideTopic::Subscriptions];
    assert!(world.want(&mut consumer, &[1]).is_empty());
    assert_eq!(consumer.exchange.outstanding(), 0);
    let not_sent = |event: &&ExchangeEvent| matches!(event, ExchangeEvent::NotSent { .. });
    assert_eq!(consumer.events.iter().filter(not_sent).count(), 1);
    consumer.unreachable.clear();
    assert!(consumer.run(&mut world).is_empty(), "not at once");
    world.pass(SECOND);
    assert!(!consumer.run(&mut world).is_empty());
}

#[test]
fn a_request_that_cannot_be_signed_now_says_nothing_of_the_topics() {
    let mut world = World::new(21);
    let mut consumer = world.consumer();
    consumer.cannot_sign = true;
    assert!(world.want(&mut consumer, &[1]).is_empty());
    let told = |event: &ExchangeEvent| {
        matches!(
            event,
            ExchangeEvent::NotSent { .. } | ExchangeEvent::Requested { .. }
        )
    };
    assert!(!consumer.events.iter().any(told), "{:?}", consumer.events);
    consumer.cannot_sign = false;
    world.pass(SECOND);
    assert!(!consumer.run(&mut world).is_empty());
}

#[test]
fn producers_are_asked_although_controllers_cannot_be() {
    let mut world = World::new(15);
    let mut consumer = world.consumer();
    consumer.unreachable = vec![SideTopic::Subscriptions];
    let sent = world.want(&mut consumer, &[1]);
    assert_eq!(to(SideTopic::Requests, sent).len(), 1);
    let requested = |event: &ExchangeEvent| matches!(event, ExchangeEvent::Requested { .. });
    assert!(consumer.events.iter().any(requested));
}

#[test]
fn replies_to_others_cost_nothing_and_forged_ones_one_verification() {
    let mut world = World::new(16);
    let mut consumer = world.consumer();
    let mut stranger = World::new(17);
    let mut producer = stranger.producer(&[1]);
    let request = request(&mut world, &mut consumer, &[1]);
    // The stranger trusts this world's root, but this world does not trust the stranger's.
    let entry = TrustEntry::unrestricted(world.root.verifying_key());
    stranger.trust.add(TrustList::Allow, entry);
    let forged = reply(&mut stranger, &mut producer, &request);
    let (_, work) = measure(|| consumer.take(&mut world, &forged));
    let one = Work {
        ed25519: 1,
        ..Work::default()
    };
    assert_eq!(work, one);
    assert_eq!(consumer.refusals(), ["C04"]);
    let sender = consumer.events.iter().find_map(|event| match event {
        ExchangeEvent::Refused { sender, .. } => Some(sender.clone()),
        _ => None,
    });
    let claimed = producer.key.verifying_key().clone();
    assert_eq!(sender, Some(Sender::Claimed(claimed)));

    let mut other = world.consumer();
    other.want(&mut world, KeyId::Short(1), Candidates::default());
    other.run(&mut world);
    let (_, work) = measure(|| other.take(&mut world, &forged));
    assert_eq!(work, Work::default());
    assert_eq!(other.settled, [0]);
}

#[test]
fn a_reply_whose_giver_is_denied_meanwhile_brings_nothing() {
    let mut world = World::new(18);
    let mut consumer = world.consumer();
    let mut producer = world.producer(&[1]);
    let request = request(&mut world, &mut consumer, &[1]);
    let reply = reply(&mut world, &mut producer, &request);
    consumer.enqueue(&mut world, &reply);
    // The reply has been validated and is being opened.
    consumer.silent = true;
    consumer.run(&mut world);
    let validated = consumer.catch_up_once(&mut world);
    assert!(validated);
    let entry = TrustEntry::unrestricted(producer.key.verifying_key());
    world.trust.add(TrustList::Deny, entry);
    let changed = Input::TrustChanged;
    consumer.exchange.handle(changed, world.now);
    consumer.catch_up(&mut world);
    assert!(consumer.received.is_empty());
    assert_eq!(consumer.refusals(), ["C11"]);
}

#[test]
fn jobs_that_nobody_does_are_given_up_and_their_late_results_ignored() {
    let mut world = World::new(19);
    let mut consumer = world.consumer();
    let mut producer = world.producer(&[1]);
    let request = request(&mut world, &mut consumer, &[1]);
    producer.silent = true;
    producer.enqueue(&mut world, &request);
    for _ in 0..100 {
        producer.run(&mut world);
        world.pass(SECOND);
    }
    assert_eq!(producer.settled, [0], "passed over after some tries");
    assert_eq!(producer.exchange.running(), 0);
    assert!(producer.undone.len() >= 3);
    assert!(producer.catch_up(&mut world).is_empty());
    // The topic is reachable again, and the consumer's next requests are sent.
    world.pass(INTERVAL);
    let again = to(SideTopic::Requests, consumer.run(&mut world)).remove(0);
    let reply = reply(&mut world, &mut producer, &again);
    consumer.take(&mut world, &reply);
    assert_eq!(consumer.ids(), [1]);
}

#[test]
fn a_chain_that_is_not_ours_is_not_an_identity() {
    let mut world = World::new(20);
    let (consumer, other) = (world.consumer(), world.consumer());
    let chain = consumer.identity.chain().map(<[u8]>::to_vec);
    let stolen = Identity::new(other.key.verifying_key().clone(), chain);
    assert!(stolen.validated(&world.trust, world.now.wall).is_err());
    assert!(UnverifiedChain::parse(stolen.chain().unwrap()).is_ok());
}

#[test]
fn who_may_ask_producers_is_known_from_the_chain() {
    let mut world = World::new(21);
    let (consumer, producer) = (world.consumer(), world.producer(&[]));
    assert!(consumer.own(&world).unwrap().may_request());
    assert!(!producer.own(&world).unwrap().may_request());
    let mut limited = world.node(&[Usage::EncryptSubscribe]);
    let sent = world.want(&mut limited, &[1]);
    let sides: Vec<_> = sent.iter().map(|record| record.side).collect();
    assert_eq!(sides, [SideTopic::Subscriptions]);
}

#[test]
fn validity_is_capped() {
    let ten_years = Validity::from_max_age(Duration::from_secs(316_224_000));
    assert_eq!(ten_years, Validity::from_max_age(MAX_VALIDITY));
    assert_eq!(Validity::from_max_age(Duration::ZERO), Validity::default());
}

#[test]
fn a_reply_with_many_keys_costs_few_key_exchanges() {
    let mut world = World::new(40);
    let (mut consumer, producer) = (world.consumer(), world.producer(&[1]));
    let asked = request(&mut world, &mut consumer, &[1]);
    let chain = UnverifiedChain::parse(&asked.value).unwrap();
    let random0 = Certificate::peek_extra(chain.links().last().unwrap()).unwrap();
    let key = DecapsulationKey::generate(Suite::X25519, &mut world.rng);
    let key = PublicKey::from(key.encapsulation_key().clone());
    let certificate = encode_certificate(
        MaxAge::UNLIMITED,
        &leaf_constraints(&root_topic(), &[Usage::Encrypt]).encode(),
        |writer| {
            writer.array(1000);
            (0..1000).for_each(|_| key.write_to(writer));
        },
        (2, |writer: &mut Writer| {
            writer
                .array(2)
                .bytes(random0.bytes().unwrap())
                .bytes(&[7; NONCE_LEN]);
            writer.bytes(&[0; 64]);
        }),
    );
    let message = producer.own(&world).unwrap().certify(&certificate);
    let reply = OutRecord {
        side: SideTopic::Keys,
        value: message.sign(&producer.key, &mut world.rng).unwrap().into(),
        ..asked.clone()
    };
    let ((), work) = measure(|| drop(consumer.take(&mut world, &reply)));
    assert_eq!(consumer.refusals(), ["X06"]);
    assert_eq!(work.key_exchanges, MAX_TRIED_KEYS as u64);
}
