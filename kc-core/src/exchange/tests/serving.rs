//! A producer's answers, and the requests that a controller forwards.

use super::to;
use super::*;
use crate::chain::{TrustEntry, TrustList, UnverifiedChain, Usage};
use crate::exchange::request::{MAX_NONCE_LEN, request_certificate};
use crate::kem::PublicKey;
use crate::keys::{KeyType, Signer, SigningKey};
use crate::work::{Work, measure};

fn request(world: &mut World, consumer: &mut Node, id: u64) -> OutRecord {
    let sent = world.want(consumer, &[id]);
    to(SideTopic::Requests, sent).remove(0)
}

#[test]
fn a_producer_of_another_root_refuses_and_says_by_which_check_and_whom() {
    let mut world = World::new(1);
    let mut stranger = World::new(2);
    let mut consumer = stranger.consumer();
    let mut producer = world.producer(&[1]);
    let request = request(&mut stranger, &mut consumer, 1);
    assert!(producer.take(&mut world, &request).is_empty());
    let [
        ExchangeEvent::Refused {
            sender,
            side,
            refusal,
            ..
        },
    ] = producer.events.as_slice()
    else {
        panic!("{:?}", producer.events);
    };
    assert_eq!(refusal.id().to_string(), "C04");
    assert_eq!(*side, SideTopic::Requests);
    let claimed = consumer.key.verifying_key().clone();
    assert_eq!(*sender, Sender::Claimed(claimed));
}

#[test]
fn who_asked_and_under_which_root_is_reported_with_the_answer() {
    let mut world = World::new(3);
    let (mut consumer, mut producer) = (world.consumer(), world.producer(&[1]));
    let request = request(&mut world, &mut consumer, 1);
    producer.take(&mut world, &request);
    let [ExchangeEvent::Answered { requester, ids, .. }] = producer.events.as_slice() else {
        panic!("{:?}", producer.events);
    };
    assert_eq!(&requester.key, consumer.key.verifying_key());
    assert_eq!(&requester.root, world.root.verifying_key());
    assert_eq!(*ids, [KeyId::Short(1)]);
}

#[test]
fn requests_for_keys_of_others_cost_nothing() {
    let mut world = World::new(4);
    let (mut consumer, mut producer) = (world.consumer(), world.producer(&[2]));
    let request = request(&mut world, &mut consumer, 1);
    let (sent, work) = measure(|| producer.take(&mut world, &request));
    assert!(sent.is_empty());
    assert_eq!(work, Work::default());
    assert_eq!(producer.settled, [0]);
}

#[test]
fn a_replay_costs_nothing_and_is_told_from_another_consumers_request() {
    let mut world = World::new(5);
    let (mut consumer, mut producer) = (world.consumer(), world.producer(&[1]));
    let asked = request(&mut world, &mut consumer, 1);
    assert_eq!(producer.take(&mut world, &asked).len(), 1);
    let (sent, work) = measure(|| producer.take(&mut world, &asked));
    assert!(sent.is_empty());
    assert_eq!(work, Work::default());

    // Another consumer uses the random value of a request that it saw before the request is answered.
    let (mut victim, thief) = (world.consumer(), world.consumer());
    let of_victim = request(&mut world, &mut victim, 1);
    let stolen = thief.request_with(&mut world, &of_victim);
    assert_eq!(producer.take(&mut world, &stolen).len(), 1);
    assert_eq!(
        producer.take(&mut world, &of_victim).len(),
        1,
        "not refused as a replay"
    );
}

#[test]
fn an_answer_that_could_not_be_sent_does_not_count() {
    let mut world = World::new(6);
    let (mut consumer, mut producer) = (world.consumer(), world.producer(&[1]));
    let request = request(&mut world, &mut consumer, 1);
    producer.unreachable = vec![SideTopic::Keys];
    assert!(producer.take(&mut world, &request).is_empty());
    assert_eq!(producer.exchange.answered(), 0);
    producer.unreachable.clear();
    assert_eq!(producer.take(&mut world, &request).len(), 1);
    assert!(producer.take(&mut world, &request).is_empty());
}

#[test]
fn of_a_legacy_pair_in_one_poll_the_list_form_is_answered() {
    let mut world = World::new(7);
    let usages = [Usage::EncryptRequest, Usage::EncryptSubscribe];
    let mut consumer = world.node_with(&usages, true);
    let sent = world.want(&mut consumer, &[1]);
    let requests = to(SideTopic::Requests, sent);
    assert_eq!(requests.len(), 2);
    for order in [[0, 1], [1, 0]] {
        let mut producer = world.producer(&[1]);
        for place in order {
            producer.enqueue(&mut world, &requests[place]);
        }
        let mut replies = producer.run(&mut world);
        world.pass(Duration::from_secs(1));
        replies.extend(producer.run(&mut world));
        assert_eq!(replies.len(), 1);
        assert_eq!(producer.settled.len(), 2);
        // The list form is answered; the bare form counts as a copy.
        let again = producer.take(&mut world, &requests[0]);
        assert!(again.is_empty());
    }
    let mut producer = world.producer(&[1]);
    assert_eq!(
        producer.take(&mut world, &requests[1]).len(),
        1,
        "alone it is answered"
    );
    // A bare ephemeral key in the last certificate is not the key of the node.
    let [ExchangeEvent::Answered { requester, .. }] = producer.events.as_slice() else {
        panic!("{:?}", producer.events);
    };
    assert_eq!(&requester.key, consumer.key.verifying_key());
}

#[test]
fn a_controller_vouches_for_a_limited_consumer_once() {
    let mut world = World::new(8);
    let mut consumer = world.node(&[Usage::EncryptSubscribe]);
    let mut controller = world.node(&[Usage::EncryptRequest]);
    let mut producer = world.producer(&[1]);
    let asked = world.want(&mut consumer, &[1]).remove(0);
    assert_eq!(asked.side, SideTopic::Subscriptions);

    let direct = OutRecord {
        side: SideTopic::Requests,
        ..asked.clone()
    };
    assert!(producer.take(&mut world, &direct).is_empty());
    assert_eq!(producer.refusals(), ["C14"]);

    let vouched = controller.take(&mut world, &asked).remove(0);
    let (again, work) = measure(|| controller.take(&mut world, &asked));
    assert!(again.is_empty());
    assert_eq!(work, Work::default());
    let reply = producer.take(&mut world, &vouched).remove(0);
    consumer.take(&mut world, &reply);
    assert_eq!(consumer.ids(), [1]);
    let vouched_for = controller.events.iter().find_map(|event| match event {
        ExchangeEvent::Forwarded { requester, .. } => Some(requester.key.clone()),
        _ => None,
    });
    assert_eq!(vouched_for.as_ref(), Some(consumer.key.verifying_key()));
}

#[test]
fn a_controllers_copy_of_an_answered_request_is_a_replay() {
    let mut world = World::new(9);
    let mut consumer = world.consumer();
    let mut controller = world.node(&[Usage::EncryptRequest]);
    let mut producer = world.producer(&[1]);
    let sent = world.want(&mut consumer, &[1]);
    let direct = to(SideTopic::Requests, sent.clone()).remove(0);
    let asked = to(SideTopic::Subscriptions, sent).remove(0);
    let copy = controller.take(&mut world, &asked).remove(0);
    assert_eq!(producer.take(&mut world, &direct).len(), 1);
    assert!(producer.take(&mut world, &copy).is_empty());
}

#[test]
fn a_vouched_request_is_sent_again_if_the_broker_is_away() {
    let mut world = World::new(10);
    let mut consumer = world.node(&[Usage::EncryptSubscribe]);
    let mut controller = world.node(&[Usage::EncryptRequest]);
    let asked = world.want(&mut consumer, &[1]).remove(0);
    controller.unreachable = vec![SideTopic::Requests];
    assert!(controller.take(&mut world, &asked).is_empty());
    assert!(controller.settled.is_empty());
    controller.unreachable.clear();
    world.pass(Duration::from_secs(1));
    assert_eq!(controller.run(&mut world).len(), 1);
    assert_eq!(controller.settled, [0]);
}

#[test]
fn a_requester_that_is_denied_meanwhile_gets_nothing() {
    let mut world = World::new(11);
    let (mut consumer, mut producer) = (world.consumer(), world.producer(&[1]));
    let asked = request(&mut world, &mut consumer, 1);
    producer.silent = true;
    producer.enqueue(&mut world, &asked);
    producer.run(&mut world);
    // The lists may change at each of these steps: lookup, validation, identities, sealing, signing.
    for steps in 0..5 {
        let mut world = World::new(12 + steps);
        let (mut consumer, mut producer) = (world.consumer(), world.producer(&[1]));
        let asked = request(&mut world, &mut consumer, 1);
        producer.silent = true;
        producer.enqueue(&mut world, &asked);
        producer.run(&mut world);
        for _ in 0..steps {
            assert!(producer.catch_up_once(&mut world));
        }
        let entry = TrustEntry::unrestricted(consumer.key.verifying_key());
        world.trust.add(TrustList::Deny, entry);
        let changed = Input::TrustChanged;
        producer.exchange.handle(changed, world.now);
        let (sent, work) = measure(|| producer.catch_up(&mut world));
        assert!(sent.is_empty(), "after {steps} steps");
        if steps < 3 {
            assert_eq!(work.key_exchanges, 0, "after {steps} steps");
        }
        // When the reply is being signed, the request is no longer there to be validated again.
        let refusals = if steps < 4 { &["C11"][..] } else { &[] };
        assert_eq!(producer.refusals(), refusals, "after {steps} steps");
    }
}

#[test]
fn a_flood_of_requests_stays_within_the_bounds_and_holds_up_no_other_root_topic() {
    let mut world = World::new(20);
    let (mut consumer, mut producer) = (world.consumer(), world.producer(&[1]));
    let asked = request(&mut world, &mut consumer, 1);
    let garbage = OutRecord {
        value: vec![0x91, 0xc4, 1, 0].into(),
        ..asked.clone()
    };
    for _ in 0..MAX_WAITING_RECORDS * 2 {
        producer.enqueue(&mut world, &garbage);
    }
    producer.silent = true;
    producer.run(&mut world);
    assert!(producer.peak <= MAX_TICKETS_PER_ROOT);
    assert_eq!(producer.bound_hits(), MAX_WAITING_RECORDS);
    let elsewhere = OutRecord {
        root_topic: "u".into(),
        ..asked
    };
    producer.enqueue(&mut world, &elsewhere);
    producer.run(&mut world);
    assert!(
        producer.undone.iter().any(
            |(_, job)| matches!(job, Job::Held { root_topic, .. } if root_topic.as_str() == "u")
        )
    );
}

#[test]
fn a_request_is_processed_while_the_reading_of_many_topics_begins() {
    let mut world = World::new(45);
    let (mut consumer, mut producer) = (world.consumer(), world.producer(&[1]));
    let asked = request(&mut world, &mut consumer, 1);
    producer.silent = true;
    for number in 0..MAX_TICKETS * 2 {
        let root_topic = format!("t{number}").as_str().into();
        producer
            .exchange
            .handle(Input::Serve(root_topic), world.now);
    }
    producer.run(&mut world);
    assert!(
        producer
            .undone
            .iter()
            .all(|(_, job)| matches!(job, Job::Read(..)))
    );
    producer.enqueue(&mut world, &asked);
    producer.run(&mut world);
    let held = |(_, job): &(_, Job)| matches!(job, Job::Held { .. });
    assert!(producer.undone.iter().any(held));
}

#[test]
fn waiting_records_are_bounded_in_bytes() {
    let mut world = World::new(43);
    let (mut consumer, mut producer) = (world.consumer(), world.producer(&[1]));
    let large = OutRecord {
        value: vec![0; 1 << 20].into(),
        ..request(&mut world, &mut consumer, 1)
    };
    // The Kafka keys also take room, so that one record less fits.
    let room = MAX_WAITING_BYTES / (1 << 20) - 1;
    for _ in 0..room + 3 {
        producer.enqueue(&mut world, &large);
    }
    producer.run(&mut world);
    assert_eq!(producer.bound_hits(), 3);
}

#[test]
fn jobs_of_all_root_topics_together_are_bounded() {
    let mut world = World::new(44);
    let (mut consumer, mut producer) = (world.consumer(), world.producer(&[1]));
    let asked = request(&mut world, &mut consumer, 1);
    producer.silent = true;
    for number in 0..MAX_TICKETS * 2 {
        let root_topic = format!("t{number}").as_str().into();
        let elsewhere = OutRecord {
            root_topic,
            ..asked.clone()
        };
        producer.enqueue(&mut world, &elsewhere);
    }
    producer.run(&mut world);
    assert!((MAX_TICKETS / 2..=MAX_TICKETS).contains(&producer.peak));
}

#[test]
fn a_random_value_of_the_wrong_length_is_refused() {
    let mut world = World::new(45);
    let mut consumer = world.consumer();
    let asked = request(&mut world, &mut consumer, 1);
    for (len, refusals) in [
        (NONCE_LEN - 1, 1),
        (NONCE_LEN, 0),
        (MAX_NONCE_LEN, 0),
        (MAX_NONCE_LEN + 1, 1),
    ] {
        let mut producer = world.producer(&[1]);
        let asked = consumer.request_of(&mut world, &asked, &vec![7; len]);
        assert_eq!(
            producer.take(&mut world, &asked).len(),
            1 - refusals,
            "{len}"
        );
        assert_eq!(producer.refusals(), vec!["X02"; refusals], "{len}");
    }
}

#[test]
fn refusals_of_one_kind_are_reported_once_a_minute_with_their_number() {
    let mut world = World::new(21);
    let (mut consumer, mut producer) = (world.consumer(), world.producer(&[1]));
    let asked = request(&mut world, &mut consumer, 1);
    let garbage = OutRecord {
        kafka_key: vec![0xc1].into(),
        ..asked
    };
    let reports = |producer: &Node| {
        let reports = producer.events.iter().filter_map(|event| match event {
            ExchangeEvent::Refused { report, .. } => *report,
            _ => None,
        });
        reports.collect::<Vec<_>>()
    };
    for _ in 0..100 {
        producer.take(&mut world, &garbage);
    }
    assert_eq!(reports(&producer), [1]);
    world.pass(Duration::from_secs(60));
    producer.take(&mut world, &garbage);
    assert_eq!(reports(&producer), [1, 100]);
    assert_eq!(producer.settled.len(), 101);
}

#[test]
fn garbage_is_refused_and_leaves_nothing_behind() {
    let mut world = World::new(22);
    let (mut consumer, mut producer) = (world.consumer(), world.producer(&[1]));
    let asked = request(&mut world, &mut consumer, 1);
    let with = |value: &[u8]| OutRecord {
        value: value.into(),
        ..asked.clone()
    };
    for length in 0..asked.value.len() {
        let cut = with(&asked.value[..length]);
        assert!(producer.take(&mut world, &cut).is_empty(), "{length} bytes");
    }
    let mut altered = asked.value.to_vec();
    for place in 0..altered.len() {
        altered[place] ^= 0x55;
        let sent = producer.take(&mut world, &with(&altered));
        assert!(sent.is_empty(), "byte {place} is not covered");
        altered[place] = asked.value[place];
    }
    assert_eq!(producer.exchange.answered(), 0);
    assert_eq!(producer.exchange.running(), 0);
    assert_eq!(producer.settled.len(), asked.value.len() * 2);
}

#[test]
fn a_controller_that_vouches_for_a_bare_key_lets_it_certify_nothing() {
    let mut world = World::new(23);
    let mut consumer = world.node_within(&[Usage::EncryptSubscribe], true, None);
    let mut controller = world.node_within(&[Usage::EncryptRequest], false, None);
    let mut producer = world.producer(&[1]);
    let bare = world.want(&mut consumer, &[1]).remove(1);
    let vouched = controller.take(&mut world, &bare).remove(0);
    let reply = producer.take(&mut world, &vouched).remove(0);
    consumer.take(&mut world, &reply);
    assert_eq!(consumer.ids(), [1]);

    // The bare key is an Ed25519 key, and signs a request of its own.
    let asking = SigningKey::generate(KeyType::Ed25519, &mut world.rng);
    let bare_key = PublicKey::from_bytes(&asking.verifying_key().to_bytes()).unwrap();
    let leaf = request_certificate(
        &root_topic(),
        RequestForm::Legacy,
        &[bare_key],
        &[7; NONCE_LEN],
        Validity::default(),
        world.now.wall,
    );
    let message = consumer.own(&world).unwrap().certify(&leaf);
    let message = message.sign(&consumer.key, &mut world.rng).unwrap();
    let asked = OutRecord {
        value: message.into(),
        ..bare
    };
    let vouched = controller.take(&mut world, &asked).remove(0);
    let link = asking.sign(&leaf, &mut world.rng).unwrap();
    let longer = UnverifiedChain::parse(&vouched.value)
        .unwrap()
        .extended(&link);
    let longer = OutRecord {
        value: longer.into(),
        ..vouched
    };
    assert!(producer.take(&mut world, &longer).is_empty());
    assert_eq!(producer.refusals(), ["C15"]);
}
