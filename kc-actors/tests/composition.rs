//! Exchange, ratchet and chain validation, used by their messages alone and without a node. Each of them is also
//! replaced by a stub.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Context, Handler, MessageResult, ResponseFuture};
use kc_actors::chain::ValidateChain;
use kc_actors::custody::{CustodyRole, KeysReceived, RequestSeeds};
use kc_actors::exchange::{
    AskExchange, ExchangeActor, ExchangeParts, ExchangeRole, KeyWanted, SideRecord, SideRecords,
};
use kc_actors::gateway::{ControlTopic, GatewayRole, SendRecord, Watch};
use kc_actors::key_table::{AwaitedKeys, KeyTableRole, ReceivedOpeningKeys};
use kc_actors::ratchet::{
    RatchetError, RatchetRole, RetainedKeysFor, SealingKeyFor, TurnRatchet, TurnReason,
};
use kc_actors::{Clock, Events, NodeEvent};
use kc_core::backend::{BackendError, BackendErrorKind};
use kc_core::chain::{ChainError, ValidatedChain};
use kc_core::exchange::RequestSeed;
use kc_core::provision::Role;
use kc_core::ratchet::{Candidates, DataKey, MAX_RETAINED_KEYS, RetainedKey, RetainedKeys, Seed};
use kc_core::secret::Secret;
use kc_core::store::{StoreError, StoreErrorKind};
use kc_core::types::{KeyId, RootTopic, SideTopic};
use support::{Archive, Own};
use tokio::sync::mpsc;

/// Side topics without a broker. Every record is delivered to every exchange.
struct Bus {
    listeners: Vec<ExchangeRole>,
    /// The number of replies that are refused.
    refused_replies: usize,
    sent: mpsc::UnboundedSender<SideRecord>,
}

impl Actor for Bus {
    type Context = Context<Self>;
}

impl Handler<SendRecord> for Bus {
    type Result = ResponseFuture<Result<(), BackendError>>;

    fn handle(&mut self, message: SendRecord, _: &mut Self::Context) -> Self::Result {
        let ControlTopic::Side(root_topic, side) = message.topic else {
            panic!("{message:?}");
        };
        let record = SideRecord {
            root_topic,
            side,
            kafka_key: message.kafka_key,
            value: message.value,
        };
        if side == SideTopic::Keys && self.refused_replies > 0 {
            self.refused_replies -= 1;
            let refused = BackendError::new(BackendErrorKind::Timeout, "send");
            return Box::pin(async { Err(refused) });
        }
        self.sent.send(record.clone()).unwrap();
        for listener in self.listeners.clone() {
            let records = SideRecords(vec![record.clone()]);
            actix::spawn(async move { listener.records.send(records).await });
        }
        Box::pin(async { Ok(()) })
    }
}

impl Handler<Watch> for Bus {
    type Result = Result<(), BackendError>;

    fn handle(&mut self, _: Watch, _: &mut Self::Context) -> Self::Result {
        Ok(())
    }
}

/// Receives the data keys of an exchange.
struct Sink(mpsc::UnboundedSender<ReceivedOpeningKeys>);

impl Actor for Sink {
    type Context = Context<Self>;
}

impl Handler<ReceivedOpeningKeys> for Sink {
    type Result = ();

    fn handle(&mut self, message: ReceivedOpeningKeys, _: &mut Self::Context) {
        self.0.send(message).unwrap();
    }
}

impl Handler<AwaitedKeys> for Sink {
    type Result = ();

    fn handle(&mut self, _: AwaitedKeys, _: &mut Self::Context) {}
}

/// A chain validation that refuses every chain.
struct Strict;

impl Actor for Strict {
    type Context = Context<Self>;
}

impl Handler<ValidateChain> for Strict {
    type Result = Result<ValidatedChain, ChainError>;

    fn handle(&mut self, _: ValidateChain, _: &mut Self::Context) -> Self::Result {
        Err(ChainError::Denied)
    }
}

/// A ratchet that keeps one fixed key.
struct FixedKey;

impl Actor for FixedKey {
    type Context = Context<Self>;
}

impl Handler<RetainedKeysFor> for FixedKey {
    type Result = MessageResult<RetainedKeysFor>;

    fn handle(&mut self, message: RetainedKeysFor, _: &mut Self::Context) -> Self::Result {
        let key = |id| {
            (
                id,
                DataKey::from(Secret::fill_with(|secret| secret.fill(7))),
            )
        };
        MessageResult(message.ids.into_iter().map(key).collect())
    }
}

/// Two exchanges on one bus.
struct Pair {
    consumer: ExchangeRole,
    producer: ExchangeRole,
    events: Events,
    received: mpsc::UnboundedReceiver<ReceivedOpeningKeys>,
    sent: mpsc::UnboundedReceiver<SideRecord>,
}

fn root_topic() -> RootTopic {
    "t".into()
}

fn wanted(id: KeyId) -> KeyWanted {
    KeyWanted {
        root_topic: root_topic(),
        id,
        known: Candidates::default(),
    }
}

/// A custody that cannot store the first keys that it receives.
#[derive(Default)]
struct FullDisk {
    attempts: usize,
    stored: Arc<Mutex<Vec<KeyId>>>,
}

impl Actor for FullDisk {
    type Context = Context<Self>;
}

impl Handler<KeysReceived> for FullDisk {
    type Result = Result<(), StoreError>;

    fn handle(&mut self, message: KeysReceived, _: &mut Self::Context) -> Self::Result {
        self.attempts += 1;
        if self.attempts == 1 {
            return Err(StoreError::new(StoreErrorKind::Io, "store keys"));
        }
        let ids = message.keys.iter().map(|(id, _)| *id);
        self.stored.lock().unwrap().extend(ids);
        Ok(())
    }
}

impl Handler<RequestSeeds> for FullDisk {
    type Result = Result<Vec<RequestSeed>, StoreError>;

    fn handle(&mut self, _: RequestSeeds, _: &mut Self::Context) -> Self::Result {
        Ok(vec![Secret::fill_with(|_| {}).into()])
    }
}

#[actix::test]
async fn a_custodian_finishes_a_reply_when_its_keys_are_stored() {
    let (_, producer) = nodes();
    let custodian = Own::provisioned(Role::Prodcon, "root", Archive::default());
    let key = producer.ratchet.sealing_key.send(SealingKeyFor {
        root_topic: root_topic(),
    });
    let key = key.await.unwrap().unwrap();
    let (gateway, custody) = (GatewayRole::default(), CustodyRole::default());
    let disk = FullDisk::default();
    let stored = Arc::clone(&disk.stored);
    let disk = disk.start();
    custody.received.connect(&disk);
    custody.seeds.connect(&disk);
    let exchange = |own: &Own, custody| {
        let gateway = gateway.clone();
        let parts = ExchangeParts {
            gateway,
            custody,
            ..own.exchange()
        };
        ExchangeRole::to(&ExchangeActor::new(parts).start())
    };
    let custodian = exchange(&custodian, Some(custody));
    // The test itself delivers the reply.
    let listeners = vec![exchange(&producer, None)];
    let (send, mut sent) = mpsc::unbounded_channel();
    let bus = Bus {
        listeners,
        refused_replies: 0,
        sent: send,
    };
    let bus = bus.start();
    gateway.send_record.connect(&bus);
    gateway.watch.connect(&bus);

    custodian.want.send(wanted(key.id())).await.unwrap();
    let reply = loop {
        let record = sent.recv().await.unwrap();
        if record.side == SideTopic::Keys {
            break record;
        }
    };
    let done = custodian.records.send(SideRecords(vec![reply]));
    let done = tokio::time::timeout(Duration::from_secs(20), done).await;
    done.unwrap().unwrap();
    assert_eq!(*stored.lock().unwrap(), [key.id()]);
}

fn pair(consumer: &Own, producer: &Own) -> Pair {
    pair_with(consumer, producer, 0)
}

fn pair_with(consumer: &Own, producer: &Own, refused_replies: usize) -> Pair {
    let (gateway, key_table) = (GatewayRole::default(), KeyTableRole::default());
    let (sink, received) = mpsc::unbounded_channel();
    let sink = Sink(sink).start();
    key_table.received.connect(&sink);
    key_table.awaited.connect(&sink);
    let events = Events::default();
    let exchange = |own: &Own, events: Events| {
        let parts = ExchangeParts {
            gateway: gateway.clone(),
            key_table: key_table.clone(),
            events,
            ..own.exchange()
        };
        ExchangeRole::to(&ExchangeActor::new(parts).start())
    };
    let consumer = exchange(consumer, Events::default());
    let producer = exchange(producer, events.clone());
    let (send, sent) = mpsc::unbounded_channel();
    let bus = Bus {
        listeners: vec![consumer.clone(), producer.clone()],
        refused_replies,
        sent: send,
    };
    let bus = bus.start();
    gateway.send_record.connect(&bus);
    gateway.watch.connect(&bus);
    Pair {
        consumer,
        producer,
        events,
        received,
        sent,
    }
}

fn nodes() -> (Own, Own) {
    let own = |role| Own::provisioned(role, "root", Archive::default());
    (own(Role::Consumer), own(Role::Producer))
}

#[actix::test]
async fn a_key_goes_from_ratchet_to_consumer_by_messages_alone() {
    let (consumer, producer) = nodes();
    let mut pair = pair(&consumer, &producer);
    let key = producer.ratchet.sealing_key.send(SealingKeyFor {
        root_topic: root_topic(),
    });
    let key = key.await.unwrap().unwrap();

    pair.consumer.want.send(wanted(key.id())).await.unwrap();
    let received = pair.received.recv().await.unwrap();
    assert_eq!(received.keys.len(), 1);
    assert_eq!(received.keys[0].0, key.id());
    assert_eq!(&received.keys[0].1, key.data_key());
}

#[actix::test]
async fn a_stricter_chain_validation_refuses_what_the_default_accepts() {
    let (consumer, producer) = nodes();
    producer.chain.validate.replace(&Strict.start());
    let pair = pair(&consumer, &producer);
    let mut events = pair.events.listen();
    let key = producer.ratchet.sealing_key.send(SealingKeyFor {
        root_topic: root_topic(),
    });
    let id = key.await.unwrap().unwrap().id();
    pair.consumer.want.send(wanted(id)).await.unwrap();
    match events.next().await {
        Some(NodeEvent::Refused { check, .. }) => assert_eq!(check.to_string(), "C11"),
        other => panic!("{other:?}"),
    }
    let status = pair.producer.status.send(AskExchange).await.unwrap();
    assert_eq!(status.refused.values().sum::<u64>(), 1);
    assert_eq!(status.answered, 0);
}

#[actix::test]
async fn another_ratchet_hands_its_own_keys_out() {
    let (consumer, producer) = nodes();
    producer.ratchet.retained.replace(&FixedKey.start());
    let mut pair = pair(&consumer, &producer);
    let id = KeyId::Short(42);
    pair.consumer.want.send(wanted(id)).await.unwrap();
    let received = pair.received.recv().await.unwrap();
    assert_eq!(received.keys[0].0, id);
    assert_eq!(received.keys[0].1.expose(), &[7; 32]);
}

#[actix::test]
async fn no_key_is_given_out_before_it_is_stored() {
    let broken = Archive {
        broken: true,
        ..Archive::default()
    };
    let producer = Own::provisioned(Role::Producer, "root", broken);
    let key = producer.ratchet.sealing_key.send(SealingKeyFor {
        root_topic: root_topic(),
    });
    assert!(key.await.unwrap().is_err());
    let ids = Vec::new();
    let held = producer
        .ratchet
        .retained
        .send(RetainedKeysFor {
            root_topic: root_topic(),
            ids,
        })
        .await
        .unwrap();
    assert!(held.is_empty());
}

#[actix::test]
async fn a_ratchet_that_was_put_back_skips_the_steps_that_were_used() {
    let seed = Seed::generate(&mut support::rng()).encode();
    let mut retained = RetainedKeys::default();
    let mut ids = Vec::new();
    for _ in 0..2 {
        // The same file each time, as after a restore from a backup.
        let seed = Seed::decode(seed.expose()).unwrap();
        let ratchet = support::ratchet(seed, retained, Archive::default());
        let ratchet = RatchetRole::to(&support::start(ratchet));
        let key = ratchet
            .sealing_key
            .send(SealingKeyFor {
                root_topic: root_topic(),
            })
            .await;
        ids.push(key.unwrap().unwrap().id());
        let message = RetainedKeysFor {
            root_topic: root_topic(),
            ids: ids.clone(),
        };
        retained = RetainedKeys::default();
        for (id, secret) in ratchet.retained.send(message).await.unwrap() {
            retained.insert(RetainedKey {
                root_topic: root_topic(),
                id,
                secret,
                birth: Clock::system().now(),
            });
        }
    }
    assert_eq!(ids, [KeyId::Short(0), KeyId::Short(1)]);
}

#[actix::test]
async fn a_ratchet_that_was_put_back_is_noticed_after_its_keys_are_forgotten() {
    let seed = Seed::generate(&mut support::rng()).encode();
    let archive = Archive::default();
    for restart in 0..1000 {
        let seed = Seed::decode(seed.expose()).unwrap();
        // Each run starts with the first file, and the data keys are too old to be retained.
        let ratchet = support::ratchet(seed, RetainedKeys::default(), archive.clone());
        let ratchet = RatchetRole::to(&support::start(ratchet));
        let key = ratchet
            .sealing_key
            .send(SealingKeyFor {
                root_topic: root_topic(),
            })
            .await;
        assert_eq!(key.unwrap().unwrap().id(), KeyId::Short(restart));
        assert_eq!(*archive.used.lock().unwrap(), Some(restart));
    }
}

#[actix::test]
async fn each_turn_of_the_ratchet_gives_new_keys_and_keeps_the_old_ones() {
    let archive = Archive::default();
    let producer = Own::provisioned(Role::Producer, "root", archive.clone());
    let first = producer.ratchet.sealing_key.send(SealingKeyFor {
        root_topic: root_topic(),
    });
    let first = first.await.unwrap().unwrap();
    let again = producer.ratchet.sealing_key.send(SealingKeyFor {
        root_topic: root_topic(),
    });
    assert!(Arc::ptr_eq(&first, &again.await.unwrap().unwrap()));

    let turned = producer
        .ratchet
        .turn
        .send(TurnRatchet(TurnReason::Requested))
        .await;
    let turned = turned.unwrap().keys.unwrap();
    assert_ne!(turned[0].1.id(), first.id());
    let ids = vec![first.id(), turned[0].1.id()];
    let held = producer
        .ratchet
        .retained
        .send(RetainedKeysFor {
            root_topic: root_topic(),
            ids,
        })
        .await
        .unwrap();
    assert_eq!(held.len(), 2);
    assert_eq!(*archive.saved.lock().unwrap(), [1, 2]);
}

#[actix::test]
async fn a_node_seals_for_as_many_root_topics_as_it_keeps_keys_of_and_for_no_more() {
    let producer = Own::provisioned(Role::Producer, "root", Archive::default());
    let key = |root_topic: usize| {
        let root_topic = RootTopic::from(&*format!("t{root_topic}"));
        producer
            .ratchet
            .sealing_key
            .send(SealingKeyFor { root_topic })
    };
    for root_topic in 0..MAX_RETAINED_KEYS {
        key(root_topic).await.unwrap().unwrap();
    }
    let id = key(0).await.unwrap().unwrap().id();
    let refused = key(MAX_RETAINED_KEYS).await.unwrap();
    assert!(matches!(refused, Err(RatchetError::TooManyRoots)));
    let message = RetainedKeysFor {
        root_topic: "t0".into(),
        ids: vec![id],
    };
    assert_eq!(
        producer.ratchet.retained.send(message).await.unwrap().len(),
        1
    );
    let turned = producer
        .ratchet
        .turn
        .send(TurnRatchet(TurnReason::Requested))
        .await;
    let turned = turned.unwrap().keys.unwrap();
    assert_eq!(turned.len(), MAX_RETAINED_KEYS);
}

#[actix::test]
async fn a_request_whose_reply_was_not_sent_is_answered_when_it_comes_again() {
    let (consumer, producer) = nodes();
    let mut pair = pair_with(&consumer, &producer, 1);
    let key = producer.ratchet.sealing_key.send(SealingKeyFor {
        root_topic: root_topic(),
    });
    let key = key.await.unwrap().unwrap();
    pair.consumer.want.send(wanted(key.id())).await.unwrap();
    let request = loop {
        let record = pair.sent.recv().await.unwrap();
        if record.side == SideTopic::Requests {
            break record;
        }
    };
    let answered = async {
        loop {
            let again = SideRecords(vec![request.clone()]);
            pair.producer.records.send(again).await.unwrap();
            if let Ok(received) = pair.received.try_recv() {
                return received;
            }
        }
    };
    let received = tokio::time::timeout(Duration::from_secs(10), answered).await;
    assert_eq!(received.unwrap().keys[0].0, key.id());
}

#[actix::test]
async fn garbage_on_the_side_topics_changes_nothing() {
    let (consumer, producer) = nodes();
    let mut pair = pair(&consumer, &producer);
    let key = producer.ratchet.sealing_key.send(SealingKeyFor {
        root_topic: root_topic(),
    });
    let key = key.await.unwrap().unwrap();
    let mut rng = support::rng();
    let mut garbage = |side| {
        let mut bytes = vec![0; usize::from(rand::Rng::next_u32(&mut rng).to_le_bytes()[0])];
        rand::Rng::fill_bytes(&mut rng, &mut bytes);
        SideRecord {
            root_topic: root_topic(),
            side,
            kafka_key: bytes.clone(),
            value: bytes,
        }
    };
    for _ in 0..200 {
        let records = [
            SideTopic::Requests,
            SideTopic::Keys,
            SideTopic::Subscriptions,
        ];
        let records: Vec<_> = records.map(&mut garbage).into();
        for slot in [&pair.consumer.records, &pair.producer.records] {
            slot.send(SideRecords(records.clone())).await.unwrap();
        }
    }
    let status = pair.producer.status.send(AskExchange).await.unwrap();
    assert!(status.refused.values().sum::<u64>() > 0);
    assert!(status.refused.len() <= 25, "checks are few: {status:?}");
    assert!(status.wanted.is_empty());

    pair.consumer.want.send(wanted(key.id())).await.unwrap();
    assert_eq!(pair.received.recv().await.unwrap().keys.len(), 1);
}
