use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::request::request_certificate;
use super::*;
use crate::chain::{
    Constraints, MaxAge, TrustEntry, TrustStore, UnverifiedChain, Usage, encode_certificate,
};
use crate::kem::{self, Suite};
use crate::keys::{KeyType, Signer, SigningKey};
use crate::ratchet::{Candidates, RetainedKey, RetainedKeys};
use crate::secret::Secret;
use crate::types::{KeyId, RootTopic, Timestamp};
use crate::wire::Writer;

const INTERVAL: Duration = Duration::from_secs(60);

/// A root of trust, and nodes certified by it directly.
struct World {
    rng: StdRng,
    root: SigningKey,
    trust: TrustStore,
    now: Timestamp,
}

struct Node {
    key: SigningKey,
    identities: Vec<Identity>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let root = SigningKey::generate(KeyType::Ed25519, &mut rng);
        let trust = TrustStore::new(
            Some(vec![TrustEntry::unrestricted(root.verifying_key())]),
            vec![],
        );
        let now = Timestamp::from_secs(1_700_000_000.0).unwrap();
        Self {
            rng,
            root,
            trust,
            now,
        }
    }

    fn node(&mut self, usages: &[Usage]) -> Node {
        self.node_within(Some(1), usages)
    }

    fn node_within(&mut self, path_length: Option<i64>, usages: &[Usage]) -> Node {
        let key = SigningKey::generate(KeyType::Ed25519, &mut self.rng);
        let constraints = Constraints {
            topics: Some(vec!["^.*$".into()]),
            usages: Some(usages.iter().map(|usage| usage.as_str().into()).collect()),
            path_length,
        };
        let until = MaxAge::until(self.now.plus(Duration::from_secs(1_000_000)));
        let certificate = encode_certificate(
            until,
            &constraints.encode(),
            |writer| key.verifying_key().write_to(writer),
            (0, |_| {}),
        );
        let link = self.root.sign(&certificate, &mut self.rng).unwrap();
        let mut chain = Writer::new();
        chain.array(1).bytes(&link);
        let identity = Identity::new(key.verifying_key().clone(), Some(chain.into_vec()));
        Node {
            key,
            identities: vec![identity],
        }
    }

    fn consumer(&mut self) -> Node {
        self.node(&[Usage::EncryptRequest, Usage::EncryptSubscribe])
    }

    fn producer(&mut self) -> Node {
        self.node(&[Usage::Encrypt])
    }

    /// What a node can sign with.
    fn own(&self, node: &Node) -> Vec<ValidIdentity> {
        let identities = node.identities.iter();
        let valid = identities.filter_map(|own| own.validated(&self.trust, self.now).ok());
        valid.collect()
    }

    /// The next request, signed.
    fn request(&mut self, requester: &mut Requester, node: &Node) -> Option<(Vec<u8>, Vec<u8>)> {
        let own = self.own(node);
        let request = requester.poll_request(&own, self.now, &mut self.rng)?;
        let (draft, _) = &request.drafts[0];
        let value = draft.sign(&node.key, &mut self.rng).unwrap();
        Some((request.kafka_key, value))
    }

    /// The reply to a request, signed, or the refusal.
    fn reply(
        &mut self,
        replier: &mut Replier,
        node: &Node,
        held: &RetainedKeys,
        request: &(Vec<u8>, Vec<u8>),
    ) -> Result<Vec<u8>, Refusal> {
        let incoming = self.incoming(held, request)?;
        let own = self.own(node);
        let answer = replier.handle(&[incoming], &own, self.now, &mut self.rng);
        let answer = answer.into_iter().next().unwrap()?;
        Ok(answer.drafts[0].sign(&node.key, &mut self.rng).unwrap())
    }

    fn incoming(
        &self,
        held: &RetainedKeys,
        (kafka_key, value): &(Vec<u8>, Vec<u8>),
    ) -> Result<IncomingRequest, Refusal> {
        let usage = Usage::EncryptRequest;
        let request = KeyRequest::validate(value, &root(), usage, &self.trust, self.now)?;
        let ids = decode_key_ids(kafka_key)?.into_iter();
        let key = |id| Some((id, held.get(&root(), &id)?.secret.expose_copy()));
        Ok(IncomingRequest {
            root: root(),
            request,
            keys: ids.filter_map(key).collect(),
        })
    }

    /// What a consumer makes of a reply.
    fn receive(&self, requester: &mut Requester, value: &[u8]) -> Result<HandledReply, Refusal> {
        let reply = KeyReply::validate(value, &root(), &self.trust, self.now)?;
        requester.handle_reply(&root(), &reply, self.now)
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
    }
}

fn root() -> RootTopic {
    "t".into()
}

fn requester() -> Requester {
    Requester::new(RequesterConfig {
        suites: vec![Suite::X25519],
        legacy: false,
        validity: Validity::default(),
        interval: INTERVAL,
    })
}

fn replier() -> Replier {
    Replier::new(vec![Suite::X25519], Validity::default())
}

fn held(world: &World, ids: &[u64]) -> RetainedKeys {
    let mut keys = RetainedKeys::default();
    for id in ids {
        keys.insert(RetainedKey {
            root: root(),
            id: KeyId::Short(*id),
            secret: Secret::fill_with(|secret| secret.fill(*id as u8)).into(),
            birth: world.now,
        });
    }
    keys
}

#[test]
fn a_wanted_key_arrives_once_and_only_once() {
    let mut world = World::new(1);
    let (consumer, producer) = (world.consumer(), world.producer());
    let (mut requester, mut replier) = (requester(), replier());
    let held = held(&world, &[1, 2]);

    assert_eq!(
        requester.want(&root(), KeyId::Short(1), world.now),
        Wanted::First
    );
    let request = world.request(&mut requester, &consumer).unwrap();
    assert!(world.request(&mut requester, &consumer).is_none());
    let reply = world
        .reply(&mut replier, &producer, &held, &request)
        .unwrap();
    assert!(requester.may_answer(&root(), &reply));
    world.pass(Duration::from_millis(250));
    let handled = world.receive(&mut requester, &reply).unwrap();
    assert_eq!(handled.after, Duration::from_millis(250));
    assert_eq!(handled.keys[0].0, KeyId::Short(1));
    assert_eq!(handled.keys[0].1.expose(), &[1; 32]);

    let replayed = world.receive(&mut requester, &reply);
    assert_eq!(replayed.unwrap_err(), Refusal::NotOutstanding);
    let replayed = world.reply(&mut replier, &producer, &held, &request);
    assert_eq!(replayed.unwrap_err(), Refusal::Replay);
    assert_eq!(requester.next_deadline(world.now), None);
    assert!(!requester.may_answer(&root(), &reply));
}

#[test]
fn keys_of_a_second_producer_are_asked_for_at_once() {
    let mut world = World::new(2);
    let (consumer, one, two) = (world.consumer(), world.producer(), world.producer());
    let mut requester = requester();
    requester.want(&root(), KeyId::Short(1), world.now);
    requester.want(&root(), KeyId::Short(2), world.now);

    for (producer, id) in [(&one, 1), (&two, 2)] {
        let request = world.request(&mut requester, &consumer).unwrap();
        let held = held(&world, &[id]);
        let reply = world
            .reply(&mut replier(), producer, &held, &request)
            .unwrap();
        let handled = world.receive(&mut requester, &reply);
        assert_eq!(handled.unwrap().keys[0].0, KeyId::Short(id));
    }
}

#[test]
fn at_most_three_requests_go_out_in_an_interval() {
    let mut world = World::new(3);
    let (consumer, producer) = (world.consumer(), world.producer());
    let mut requester = requester();
    for id in 0..10 {
        requester.want(&root(), KeyId::Short(id), world.now);
    }
    for id in 0..3 {
        let request = world.request(&mut requester, &consumer).unwrap();
        let held = held(&world, &[id]);
        let reply = world
            .reply(&mut replier(), &producer, &held, &request)
            .unwrap();
        world.receive(&mut requester, &reply).unwrap();
    }
    assert!(world.request(&mut requester, &consumer).is_none());
    assert_eq!(
        requester.next_deadline(world.now),
        Some(world.now.plus(INTERVAL))
    );
    world.pass(INTERVAL);
    assert!(world.request(&mut requester, &consumer).is_some());
}

#[test]
fn silence_is_reported_after_three_requests_and_asking_goes_on() {
    let mut world = World::new(4);
    let consumer = world.consumer();
    let mut requester = requester();
    requester.want(&root(), KeyId::Short(1), world.now);
    for _ in 0..UNANSWERED_AFTER {
        assert!(requester.unanswered(world.now).is_empty());
        assert!(world.request(&mut requester, &consumer).is_some());
        world.pass(INTERVAL);
    }
    let unanswered = requester.unanswered(world.now);
    assert_eq!(unanswered[0].ids, [KeyId::Short(1)]);
    assert_eq!(
        requester.want(&root(), KeyId::Short(1), world.now),
        Wanted::Again { unanswered: true }
    );
    assert!(world.request(&mut requester, &consumer).is_some());
}

#[test]
fn a_late_reply_to_an_earlier_request_still_counts() {
    let mut world = World::new(5);
    let (consumer, producer) = (world.consumer(), world.producer());
    let mut requester = requester();
    requester.want(&root(), KeyId::Short(1), world.now);
    let first = world.request(&mut requester, &consumer).unwrap();
    world.pass(INTERVAL);
    world.request(&mut requester, &consumer).unwrap();
    let held = held(&world, &[1]);
    let reply = world
        .reply(&mut replier(), &producer, &held, &first)
        .unwrap();
    assert!(world.receive(&mut requester, &reply).is_ok());
}

#[test]
fn a_producer_of_another_root_refuses_and_says_by_which_check() {
    let mut world = World::new(6);
    let mut stranger = World::new(7);
    let consumer = stranger.consumer();
    let producer = world.producer();
    let mut requester = requester();
    requester.want(&root(), KeyId::Short(1), world.now);
    let request = stranger.request(&mut requester, &consumer).unwrap();
    let held = held(&world, &[1]);
    let refusal = world
        .reply(&mut replier(), &producer, &held, &request)
        .unwrap_err();
    assert_eq!(refusal.id().to_string(), "C04");
}

#[test]
fn of_a_legacy_pair_the_list_form_is_answered() {
    let mut world = World::new(8);
    let (consumer, producer) = (world.consumer(), world.producer());
    let mut requester = requester();
    requester.config_mut().legacy = true;
    requester.want(&root(), KeyId::Short(1), world.now);
    let own = world.own(&consumer);
    let request = requester
        .poll_request(&own, world.now, &mut world.rng)
        .unwrap();
    let sign = |(draft, _): &(Draft, bool)| draft.sign(&consumer.key, &mut world.rng).unwrap();
    let signed: Vec<_> = request.drafts.iter().map(sign).collect();
    assert_eq!(signed.len(), 2);
    let held = held(&world, &[1]);
    let incoming = |value: &Vec<u8>| {
        let request = (request.kafka_key.clone(), value.clone());
        world.incoming(&held, &request).unwrap()
    };
    let legacy_first = [incoming(&signed[1]), incoming(&signed[0])];
    let own = world.own(&producer);
    let results = replier().handle(&legacy_first, &own, world.now, &mut world.rng);
    assert_eq!(results[0], Err(Refusal::Replay));
    assert!(results[1].is_ok());
}

#[test]
fn a_controller_vouches_for_a_limited_consumer() {
    let mut world = World::new(9);
    let consumer = world.node(&[Usage::EncryptSubscribe]);
    let controller = world.node(&[Usage::EncryptRequest]);
    let producer = world.producer();
    let mut requester = requester();
    requester.want(&root(), KeyId::Short(1), world.now);
    let (kafka_key, value) = world.request(&mut requester, &consumer).unwrap();
    let held = held(&world, &[1]);

    let request = (kafka_key.clone(), value.clone());
    let refusal = world
        .reply(&mut replier(), &producer, &held, &request)
        .unwrap_err();
    assert_eq!(refusal.id().to_string(), "C14");

    let usage = Usage::EncryptSubscribe;
    let limited = KeyRequest::validate(&value, &root(), usage, &world.trust, world.now).unwrap();
    let own = world.own(&controller);
    let forwarded = Forwarder::default().forward(&root(), &limited, &own, world.now);
    let value = forwarded.unwrap()[0]
        .sign(&controller.key, &mut world.rng)
        .unwrap();
    let reply = world.reply(&mut replier(), &producer, &held, &(kafka_key, value));
    let handled = world.receive(&mut requester, &reply.unwrap());
    assert_eq!(handled.unwrap().keys.len(), 1);
}

#[test]
fn a_controller_that_vouches_for_a_bare_key_lets_it_certify_nothing() {
    let mut world = World::new(15);
    let consumer = world.node_within(None, &[Usage::EncryptSubscribe]);
    let controller = world.node_within(None, &[Usage::EncryptRequest]);
    let producer = world.producer();
    let mut requester = requester();
    requester.config_mut().legacy = true;
    requester.want(&root(), KeyId::Short(1), world.now);
    let own = world.own(&consumer);
    let request = requester.poll_request(&own, world.now, &mut world.rng);
    let request = request.unwrap();
    let own = world.own(&controller);
    let vouched = |world: &mut World, value: &[u8]| {
        let usage = Usage::EncryptSubscribe;
        let limited = KeyRequest::validate(value, &root(), usage, &world.trust, world.now).unwrap();
        assert_eq!(limited.form(), RequestForm::Legacy);
        let forwarded = Forwarder::default().forward(&root(), &limited, &own, world.now);
        forwarded.unwrap()[0]
            .sign(&controller.key, &mut world.rng)
            .unwrap()
    };

    let bare = request.drafts[1].0.sign(&consumer.key, &mut world.rng);
    let value = vouched(&mut world, &bare.unwrap());
    let request = (request.kafka_key, value);
    let reply = world.reply(&mut replier(), &producer, &held(&world, &[1]), &request);
    let handled = world.receive(&mut requester, &reply.unwrap());
    assert_eq!(handled.unwrap().keys.len(), 1);

    // The bare key is an Ed25519 key, and signs a request of its own.
    let asking = SigningKey::generate(KeyType::Ed25519, &mut world.rng);
    let bare = asking.verifying_key().to_bytes();
    let bare = kem::PublicKey::from_bytes(&bare).unwrap();
    let leaf = request_certificate(
        &root(),
        RequestForm::Legacy,
        &[bare],
        &[7; NONCE_LEN],
        Validity::default(),
        world.now,
    );
    let value = world.own(&consumer)[0].draft(&leaf);
    let value = value.sign(&consumer.key, &mut world.rng).unwrap();
    let value = vouched(&mut world, &value);
    let link = asking.sign(&leaf, &mut world.rng).unwrap();
    let value = UnverifiedChain::parse(&value).unwrap().extended(&link);
    let refusal = world.incoming(&held(&world, &[1]), &(request.0, value));
    assert_eq!(refusal.err().unwrap().id().to_string(), "C15");
}

#[test]
fn without_a_valid_chain_nothing_is_sent() {
    let mut world = World::new(10);
    let mut consumer = world.consumer();
    let key = consumer.key.verifying_key().clone();
    consumer.identities = vec![Identity::new(key, None)];
    let mut requester = requester();
    requester.want(&root(), KeyId::Short(1), world.now);
    assert!(world.own(&consumer).is_empty());
    assert!(world.request(&mut requester, &consumer).is_none());
}

#[test]
fn a_reply_that_names_nothing_wanted_consumes_nothing() {
    let mut world = World::new(11);
    let (consumer, producer) = (world.consumer(), world.producer());
    let mut requester = requester();
    requester.want(&root(), KeyId::Short(1), world.now);
    let request = world.request(&mut requester, &consumer).unwrap();
    let other = (encode_key_ids([KeyId::Short(9)].iter()), request.1.clone());
    let reply = world.reply(&mut replier(), &producer, &held(&world, &[9]), &other);
    let refusal = world.receive(&mut requester, &reply.unwrap());
    assert_eq!(refusal.unwrap_err(), Refusal::Unwanted);

    let reply = world.reply(&mut replier(), &producer, &held(&world, &[1]), &request);
    assert!(world.receive(&mut requester, &reply.unwrap()).is_ok());
}

#[test]
fn a_million_invented_ids_and_roots_stay_within_the_bounds() {
    let mut world = World::new(12);
    let consumer = world.consumer();
    let mut requester = requester();
    for id in 0..1_000_000 {
        requester.want(&root(), KeyId::Short(id), world.now);
        if id % 100_000 == 0 {
            world.pass(INTERVAL);
            world.request(&mut requester, &consumer);
        }
    }
    for id in 0..10_000 {
        requester.want(
            &RootTopic::from(&*format!("r{id}")),
            KeyId::Short(id),
            world.now,
        );
    }
    assert_eq!(requester.wanted().count(), MAX_ROOTS);
    let (_, ids) = requester
        .wanted()
        .find(|(name, _)| **name == root())
        .unwrap();
    assert_eq!(ids.count(), MAX_WANTED_PER_ROOT);
    assert!(requester.outstanding(&root()).count() <= MAX_OUTSTANDING_PER_ROOT);
}

#[test]
fn a_real_id_gets_in_after_a_flood_of_invented_ones() {
    let mut world = World::new(13);
    let consumer = world.consumer();
    let mut requester = requester();
    for id in 0..1000 {
        requester.want(&root(), KeyId::Short(id), world.now);
    }
    assert_eq!(
        requester.want(&root(), KeyId::Short(5000), world.now),
        Wanted::Full
    );
    world.request(&mut requester, &consumer).unwrap();
    assert_eq!(
        requester.want(&root(), KeyId::Short(5000), world.now),
        Wanted::First
    );
}

#[test]
fn what_nobody_wants_any_more_is_forgotten() {
    let mut world = World::new(14);
    let consumer = world.consumer();
    let mut requester = requester();
    requester.want(&root(), KeyId::Short(1), world.now);
    world.pass(INTERVAL * 100);
    assert!(world.request(&mut requester, &consumer).is_none());
    assert_eq!(requester.next_deadline(world.now), None);
}

#[test]
fn answered_requests_are_forgotten_when_they_expire() {
    let mut world = World::new(15);
    let (consumer, producer) = (world.consumer(), world.producer());
    let (mut requester, mut replier) = (requester(), replier());
    requester.want(&root(), KeyId::Short(1), world.now);
    let request = world.request(&mut requester, &consumer).unwrap();
    let held = held(&world, &[1]);
    world
        .reply(&mut replier, &producer, &held, &request)
        .unwrap();
    assert_eq!(replier.answered(), 1);
    world.pass(MAX_VALIDITY);
    let refusal = world
        .reply(&mut replier, &producer, &held, &request)
        .unwrap_err();
    assert_eq!(refusal.id().to_string(), "C12");
    replier.handle(&[], &[], world.now, &mut world.rng);
    assert_eq!(replier.answered(), 0);
}

#[test]
fn validity_is_capped() {
    let ten_years = Validity::from_max_age(Duration::from_secs(316_224_000));
    assert_eq!(ten_years, Validity::from_max_age(MAX_VALIDITY));
    assert_eq!(Validity::from_max_age(Duration::ZERO), Validity::default());
}

#[test]
fn a_chain_that_is_not_ours_is_not_an_identity() {
    let mut world = World::new(16);
    let (consumer, other) = (world.consumer(), world.consumer());
    let stolen = Identity::new(
        other.key.verifying_key().clone(),
        consumer.identities[0].chain().map(<[u8]>::to_vec),
    );
    assert!(stolen.validated(&world.trust, world.now).is_err());
    assert!(UnverifiedChain::parse(stolen.chain().unwrap()).is_ok());
}

#[test]
fn a_clock_that_is_set_back_does_not_stop_requests() {
    let mut world = World::new(17);
    let consumer = world.consumer();
    let mut requester = requester();
    requester.want(&root(), KeyId::Short(1), world.now);
    world.pass(Duration::from_secs(900_000));
    requester.want(&root(), KeyId::Short(1), world.now);
    world.request(&mut requester, &consumer).unwrap();
    world.now = Timestamp::from_secs(1_700_000_000.0).unwrap();
    requester.want(&root(), KeyId::Short(1), world.now);
    assert!(world.request(&mut requester, &consumer).is_some());
}

#[test]
fn two_producers_with_one_key_id_are_both_understood() {
    let mut world = World::new(18);
    let (consumer, one, two) = (world.consumer(), world.producer(), world.producer());
    let mut requester = requester();
    let (mut first, mut second) = (replier(), replier());
    let held_by_one = held(&world, &[1]);
    let mut held_by_two = RetainedKeys::default();
    held_by_two.insert(RetainedKey {
        root: root(),
        id: KeyId::Short(1),
        secret: Secret::fill_with(|secret| secret.fill(2)).into(),
        birth: world.now,
    });

    requester.want(&root(), KeyId::Short(1), world.now);
    let request = world.request(&mut requester, &consumer).unwrap();
    let reply = world.reply(&mut first, &one, &held_by_one, &request);
    let handled = world.receive(&mut requester, &reply.unwrap()).unwrap();
    let known: Candidates = handled.keys.into_iter().map(|(_, secret)| secret).collect();

    // A record under the other's key does not open.
    requester.want_another(&root(), KeyId::Short(1), known, world.now);
    let request = world.request(&mut requester, &consumer).unwrap();
    let again = world.reply(&mut first, &one, &held_by_one, &request);
    let refusal = world.receive(&mut requester, &again.unwrap());
    assert_eq!(refusal.unwrap_err(), Refusal::Unwanted);
    let other = world.reply(&mut second, &two, &held_by_two, &request);
    let handled = world.receive(&mut requester, &other.unwrap()).unwrap();
    assert_eq!(handled.keys[0].1.expose(), &[2; 32]);
}

#[test]
fn nobody_with_another_key_of_a_known_id_is_told_apart_from_silence() {
    let mut world = World::new(19);
    let consumer = world.consumer();
    let mut requester = requester();
    let known = Candidates::from_iter([Secret::fill_with(|secret| secret.fill(1)).into()]);
    requester.want_another(&root(), KeyId::Short(1), known, world.now);
    world.request(&mut requester, &consumer).unwrap();
    assert!(requester.without_other(world.now).is_empty());
    world.pass(INTERVAL);
    assert_eq!(requester.without_other(world.now)[0].ids, [KeyId::Short(1)]);
    assert!(requester.unanswered(world.now).is_empty());
}

#[test]
fn who_may_ask_producers_is_known_from_the_chain() {
    let mut world = World::new(23);
    let (consumer, producer) = (world.consumer(), world.producer());
    assert!(world.own(&consumer)[0].may_request());
    assert!(!world.own(&producer)[0].may_request());
}

#[test]
fn a_request_that_could_not_be_sent_does_not_count() {
    let mut world = World::new(20);
    let consumer = world.consumer();
    let mut requester = requester();
    requester.want(&root(), KeyId::Short(1), world.now);
    let own = world.own(&consumer);
    for _ in 0..10 {
        let request = requester.poll_request(&own, world.now, &mut world.rng);
        requester.unsent(&request.unwrap());
        assert_eq!(requester.outstanding(&root()).count(), 0);
    }
    world.pass(INTERVAL);
    assert!(requester.unanswered(world.now).is_empty());
}

#[test]
fn an_answer_that_could_not_be_sent_does_not_count() {
    let mut world = World::new(22);
    let (consumer, producer) = (world.consumer(), world.producer());
    let (mut requester, mut replier) = (requester(), replier());
    let held = held(&world, &[1]);
    requester.want(&root(), KeyId::Short(1), world.now);
    let request = world.request(&mut requester, &consumer).unwrap();
    let own = world.own(&producer);
    let mut answer = |replier: &mut Replier| {
        let incoming = world.incoming(&held, &request).unwrap();
        let answers = replier.handle(&[incoming], &own, world.now, &mut world.rng);
        answers.into_iter().next().unwrap()
    };
    let unsent = answer(&mut replier).unwrap();
    replier.unsent(&unsent);
    assert_eq!(replier.answered(), 0);
    let sent = answer(&mut replier).unwrap();
    assert_eq!(sent.kafka_key, unsent.kafka_key);
    assert!(matches!(answer(&mut replier), Err(Refusal::Replay)));
}

#[test]
fn garbage_is_refused_and_leaves_nothing_behind() {
    let mut world = World::new(21);
    let (consumer, producer) = (world.consumer(), world.producer());
    let (mut requester, mut replier) = (requester(), replier());
    let held = held(&world, &[1]);
    requester.want(&root(), KeyId::Short(1), world.now);
    let (kafka_key, value) = world.request(&mut requester, &consumer).unwrap();

    for length in 0..value.len() {
        let cut = (kafka_key.clone(), value[..length].to_vec());
        assert!(world.reply(&mut replier, &producer, &held, &cut).is_err());
        assert!(world.receive(&mut requester, &value[..length]).is_err());
    }
    let mut altered = value.clone();
    for place in 0..value.len() {
        altered[place] ^= 0x55;
        let request = (kafka_key.clone(), altered.clone());
        let answer = world.reply(&mut replier, &producer, &held, &request);
        assert!(answer.is_err(), "byte {place} is not covered");
        altered[place] = value[place];
    }
    assert_eq!(replier.answered(), 0);
    assert_eq!(requester.outstanding(&root()).count(), 1);
    assert_eq!(requester.wanted().count(), 1);
}
