//! Faults of the key exchange.

use std::time::Duration;

use kc::NodeEvent;
use kc::core::chain::{UnverifiedChain, Usage, encode_certificate};
use kc::core::exchange::{
    ExchangeEvent, KeyRequest, MAX_VALIDITY, OutRecord, Validity, compose_reply, decode_key_ids,
};
use kc::core::kem::{self, Suite};
use kc::core::keys::Signer;
use kc::core::message::{Added, KeyRing, seal};
use kc::core::provision::Role;
use kc::core::ratchet::{Candidates, Component, DataKey, KeyIdForm, Seed, StepKeys};
use kc::core::secret::Secret;
use kc::core::types::{KeyId, RootTopic, SideTopic};
use kc::keystore_file::system_rng;

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};
use crate::peer::Peer;
use crate::wire::Wire;
use crate::world::{Party, granting, in_secs, new_key, now};

fn root() -> RootTopic {
    "t".into()
}

fn secret(byte: u8) -> DataKey {
    Secret::fill_with(|secret| secret.fill(byte)).into()
}

fn peer(party: &Party, validity: Validity) -> Peer<'_> {
    Peer::new(party.trust(), party.own(), party.key(), validity, now())
}

/// Returns a request of a consumer for a key, with the exchange that waits for the answer.
fn request(consumer: &Party, id: KeyId, validity: Validity) -> (Peer<'_>, OutRecord) {
    let mut peer = peer(consumer, validity);
    let sent = peer.want(&root(), id, Candidates::default());
    let request = sent.into_iter();
    let request = request.filter(|record| record.side == SideTopic::Requests);
    (peer, request.last().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_03_malformed_replies_and_requests_of_authorised_nodes_stop_nothing() {
    let fleet = Fleet::start().await;
    for (id, role) in [
        ("sender", Role::Producer),
        ("rogue", Role::Prodcon),
        ("reader", Role::Consumer),
        ("other", Role::Consumer),
    ] {
        fleet.provision(id, role, "root");
    }
    let sender = fleet.open("sender").await;
    let producer = sender.producer().await.unwrap();
    let sent = producer.enqueue(record("t", "secret")).await.unwrap();
    sent.await.unwrap();
    producer.close_within(DEADLINE).await.unwrap();
    sender.close_within(DEADLINE).await.unwrap();

    let wire = Wire::to(&fleet.broker).await;
    let reader = fleet.open("reader").await;
    let mut events = reader.events();
    let mut attacked = consumer(&reader, "t").await;
    let reading = async { values(&take(&mut attacked, 1).await) };
    let attacking = async {
        let (kafka_key, asked) = wire.read("t.reqs").await.next().await;
        let rogue = Party::of_files(fleet.folder.path(), "rogue");
        for reply in malformed_replies(&rogue, &asked, &kafka_key) {
            wire.send("t.keys", &kafka_key, &reply).await;
        }
        let empty = rogue.signed(&encode_certificate(
            in_secs(60),
            &granting(&[Usage::EncryptRequest], &["t"]).encode(),
            |writer| {
                writer.map(0);
            },
            (0, |_| {}),
        ));
        for (key, value) in [
            (&kafka_key[..], &empty[..]),
            (b"\xc1", &asked[..]),
            (&kafka_key[..], b"garbage"),
            (b"", b""),
        ] {
            wire.send("t.reqs", key, value).await;
        }
        let mut refused = Vec::new();
        while refused.len() < 2 {
            if let Some(NodeEvent::Refused { check, .. }) = events.next().await {
                refused.push(check.to_string());
            }
        }
        // Both requests are handled at the same time.
        refused.sort();
        assert_eq!(refused, ["X06", "X07"]);
        fleet.open("sender").await
    };
    let (read, sender) = tokio::join!(reading, attacking);
    assert_eq!(read, ["secret"]);

    // The producer answers a request that comes after all of these.
    let other = fleet.open("other").await;
    let read = take(&mut consumer(&other, "t").await, 1).await;
    assert_eq!(values(&read), ["secret"]);
    let refused = sender.status().await.unwrap().refused();
    let refused: Vec<_> = refused.keys().map(ToString::to_string).collect();
    assert_eq!(refused, ["C01", "C07", "X01"]);
}

/// Returns replies to a request, signed by an authorised producer, with all kinds of wrong content.
fn malformed_replies(rogue: &Party, asked: &[u8], kafka_key: &[u8]) -> Vec<Vec<u8>> {
    let usage = Usage::EncryptRequest;
    let asked = KeyRequest::validate(asked, &root(), usage, &rogue.trust(), now()).unwrap();
    let rng = &mut system_rng().unwrap();
    let offer = asked.offers().next().unwrap();
    let (answer, _) = offer.encapsulate(rng).unwrap();
    let constraints = granting(&[Usage::Encrypt], &["t"]).encode();
    let leaf = |extra: (usize, &dyn Fn(&mut kc::core::wire::Writer))| {
        let write_key = |writer: &mut kc::core::wire::Writer| {
            writer.array(1);
            kem::PublicKey::from(answer.clone()).write_to(writer);
        };
        let (count, write_extra) = extra;
        let extra = (count, |writer: &mut kc::core::wire::Writer| {
            write_extra(writer)
        });
        rogue.signed(&encode_certificate(
            in_secs(60),
            &constraints,
            write_key,
            extra,
        ))
    };
    let random0 = asked.random0().to_vec();
    let id = decode_key_ids(kafka_key).unwrap()[0];
    let twice = [(id, secret(1)), (id, secret(2))];
    let policy = (&Suite::ALL[..], Validity::default());
    let twice = compose_reply(&asked, &root(), &twice, policy, (&rogue.own(), now()), rng);
    let twice = twice.unwrap()[0].sign(rogue.key(), rng).unwrap();
    vec![
        b"garbage".to_vec(),
        rogue.chain(),
        leaf((0, &|_| {})),
        leaf((2, &|writer| {
            writer.map(1).bytes(&random0).nil().bytes(b"box");
        })),
        leaf((2, &|writer| {
            writer
                .array(2)
                .bytes(&random0)
                .bytes(&[0; 32])
                .bytes(b"box");
        })),
        twice,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_03_a_node_without_a_group_id_gets_one() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let sender = fleet.options("sender").kafka("group_id", "");
    let sender = sender.open().await.unwrap();
    let reader = fleet.options("reader").kafka("group_id", "");
    let reader = reader.open().await.unwrap();
    let producer = sender.producer().await.unwrap();
    let sent = producer.enqueue(record("t", "secret")).await.unwrap();
    sent.await.unwrap();
    let read = take(&mut consumer(&reader, "t").await, 1).await;
    assert_eq!(values(&read), ["secret"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_04_two_producers_with_the_same_key_id_are_both_read() {
    let fleet = Fleet::start().await;
    fleet.provision("reader", Role::Consumer, "root");
    let mut senders = Vec::new();
    for id in ["one", "two"] {
        fleet.provision(id, Role::Producer, "root");
        // Short ids are the index of the ratchet, so both producers begin with 0.
        let options = fleet.options(id).setting("mgmt_long_keyindex", "false");
        let sender = options.open().await.unwrap();
        senders.push((id, sender.producer().await.unwrap(), sender));
    }
    let mut sent = Vec::new();
    for n in 0..5 {
        for (id, producer, _) in &senders {
            let value = format!("{id} {n}");
            let record = producer.enqueue(record("t", value.as_str())).await.unwrap();
            record.await.unwrap();
            sent.push(value);
        }
    }
    let reader = fleet.open("reader").await;
    let read = take(&mut consumer(&reader, "t").await, sent.len()).await;
    assert_eq!(values(&read), sent);
}

#[test]
fn fault_04_an_authorised_producer_cannot_replace_the_key_of_another() {
    let (consumer, rogue) = (Party::new(Role::Consumer), Party::new(Role::Producer));
    let rng = &mut system_rng().unwrap();
    let (step, _) = Seed::generate(rng).advance().unwrap().stored();
    let mut ratchet = StepKeys::new(step, &KeyIdForm::long([new_key().verifying_key()]));
    let key = ratchet.sealing_key(&root(), rng);
    let mut message = Vec::new();
    seal(&key, Component::Value, b"secret", &mut message).unwrap();

    // The hostile producer answers first, with a key of its own under the same id.
    let (mut asking, asked) = request(&consumer, key.id(), Validity::default());
    let usage = Usage::EncryptRequest;
    let request = KeyRequest::validate(&asked.value, &root(), usage, &rogue.trust(), now());
    let forged = [(key.id(), secret(7)), (KeyId::Short(9), secret(9))];
    let policy = (&[Suite::X25519][..], Validity::default());
    let own = (&rogue.own()[..], now());
    let reply = compose_reply(&request.unwrap(), &root(), &forged, policy, own, rng);
    let reply = reply.unwrap()[0].sign(rogue.key(), rng).unwrap();
    let reply = OutRecord {
        value: reply.into(),
        ..asked
    };
    asking.take(SideTopic::Keys, &reply);
    // Keys that were not requested are not accepted.
    let ids: Vec<_> = asking.received.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids, [key.id()]);

    for forged_first in [true, false] {
        let mut ring = KeyRing::default();
        let (forged, true_one) = (secret(7), key.data_key().expose_copy());
        let (first, second) = if forged_first {
            (forged, true_one)
        } else {
            (true_one, forged)
        };
        assert_eq!(ring.add(&root(), key.id(), first, None), Added::New);
        assert_eq!(ring.add(&root(), key.id(), second, None), Added::Candidate);
        let opened = ring.open("t", Component::Value, &message);
        assert_eq!(opened.into_plaintext().unwrap(), b"secret");
    }
}

#[test]
fn fault_14_a_signed_request_lives_a_week_at_most_and_is_answered_once() {
    let (consumer, producer) = (Party::new(Role::Consumer), Party::new(Role::Producer));
    let controller = Party::new(Role::Controller);
    // With the validity that a role has by default.
    let ten_years = Validity::from_max_age(Role::Consumer.default_lifetime());
    let (_, asked) = request(&consumer, KeyId::Short(1), ten_years);
    let chain = UnverifiedChain::parse(&asked.value).unwrap();
    let demand = kc::core::chain::Demand::at(now());
    let end = chain
        .validate(&consumer.trust(), &demand)
        .unwrap()
        .max_age();
    assert!(end.timestamp().unwrap() <= now().plus(MAX_VALIDITY));

    let mut answering = peer(&producer, ten_years);
    answering.held.insert(KeyId::Short(1), secret(1));
    assert_eq!(answering.take(SideTopic::Requests, &asked).len(), 1);
    assert!(answering.take(SideTopic::Requests, &asked).is_empty());
    // The copy that a controller forwards is the same request.
    let mut vouching = peer(&controller, ten_years);
    let copy = vouching.take(SideTopic::Subscriptions, &asked).remove(0);
    assert!(answering.take(SideTopic::Requests, &copy).is_empty());
    assert!(answering.events.len() == 1, "{:?}", answering.events);
    // The request has expired when it is forgotten.
    answering.now.wall = now().plus(MAX_VALIDITY + Duration::from_secs(60));
    assert!(answering.take(SideTopic::Requests, &asked).is_empty());
    let refused = answering.events.iter().find_map(|event| match event {
        ExchangeEvent::Refused { refusal, .. } => Some(refusal.id().to_string()),
        _ => None,
    });
    assert_eq!(refused.as_deref(), Some("C12"));
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_14_a_producer_answers_a_replayed_request_once() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    fleet.provision("other", Role::Consumer, "root");
    let (sender, reader) = (fleet.open("sender").await, fleet.open("reader").await);
    let producer = sender.producer().await.unwrap();
    let sent = producer.enqueue(record("t", "secret")).await.unwrap();
    sent.await.unwrap();
    assert_eq!(take(&mut consumer(&reader, "t").await, 1).await.len(), 1);

    let wire = Wire::to(&fleet.broker).await;
    let (key, request) = wire.read("t.reqs").await.next().await;
    for _ in 0..5 {
        wire.send("t.reqs", &key, &request).await;
    }
    // When the request of another node is answered, the requests before it have been handled.
    let other = fleet.open("other").await;
    assert_eq!(take(&mut consumer(&other, "t").await, 1).await.len(), 1);
    let status = sender.status().await.unwrap();
    assert_eq!(status.exchange.answered, 2);
    assert_eq!(wire.count("t.keys").await, 2);
}
