//! Roles and trust at run time: a controller, limited consumers, a denied consumer, a chain server.

use std::time::{Duration, Instant};

use kc::core::backend::{Backend, OutgoingRecord, TopicSpec};
use kc::core::chain::{
    Certificate, Constraints, MaxAge, TrustEntry, TrustList, Usage, encode_certificate,
};
use kc::core::keys::{KeyType, VerifyingKey};
use kc::core::provision::{Role, compose_update, derive_root};
use kc::core::store::config::{ConfigStore, NodeConfig, Section, Value};
use kc::core::types::Timestamp;
use kc::keystore_file::{FileConfigStore, NodeFiles, NodeLock, read_config, system_rng};
use kc::{
    BackendErrorKind, Clock, Consumer, EventListener, Node, NodeBuilder, NodeEvent, NodeRoles,
};

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};

const ROOT: &[u8] = b"root";
const PRODUCERS: [&str; 3] = ["p1", "p2", "p3"];
const CONSUMERS: [&str; 3] = ["c1", "c2", "c3"];
/// The number of attempts of a denied consumer after which the test assumes that it gets nothing.
const ATTEMPTS: u64 = 3;

/// The behaviour of a denied consumer, which determines the nodes that refuse it the next data keys.
#[derive(Clone, Copy, PartialEq)]
enum Denied {
    /// It learns of its denial, and stops asking.
    Learns,
    /// It does not learn of its denial, and asks the controller.
    AsksController,
    /// It does not learn of its denial, and asks the producers and the controller.
    AsksAll,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_denied_at_run_time_reads_nothing_under_the_next_key() {
    deny_one_of_three(KeyType::Ed25519, Denied::Learns).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_quantum_fleet_denies_a_consumer_as_well() {
    deny_one_of_three(KeyType::Hybrid, Denied::Learns).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_consumer_that_does_not_know_is_refused_by_the_controller() {
    deny_one_of_three(KeyType::Ed25519, Denied::AsksController).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_consumer_that_does_not_know_is_refused_by_each_producer() {
    deny_one_of_three(KeyType::Ed25519, Denied::AsksAll).await;
}

async fn deny_one_of_three(key_type: KeyType, denied: Denied) {
    let mut fleet = Fleet::start().await;
    fleet.key_type = key_type;
    for id in PRODUCERS {
        fleet.provision(id, Role::Producer, "root");
    }
    for id in CONSUMERS {
        let role = match denied {
            Denied::AsksAll if id == "c2" => Role::Consumer,
            _ => Role::ConsumerLimited,
        };
        fleet.provision(id, role, "root");
    }
    let controller = start_controller(&fleet, fleet.options("controller")).await;
    // Post-quantum signatures take long, especially on a busy machine: requests must not be more frequent than answers.
    let interval = match key_type {
        KeyType::Ed25519 => "0.3",
        KeyType::Hybrid => "3",
    };

    let producers = open_all(&fleet, PRODUCERS).await;
    send(&producers, "before").await;
    let mut nodes = Vec::new();
    let mut consumers = Vec::new();
    for id in CONSUMERS {
        let node = fleet.options(id);
        let node = node.setting("crypto_sub_interval", interval);
        let node = if id == "c2" && denied != Denied::Learns {
            node.setting("mgmt_topic_denylist", "elsewhere")
        } else {
            node
        };
        let node = node.open().await.unwrap();
        consumers.push(consumer(&node, "t").await);
        nodes.push(node);
    }
    for consumer in &mut consumers {
        assert_eq!(take_sorted(consumer).await, expected("before"));
    }
    let status = controller.status().await.unwrap();
    assert!(status.controller.unwrap().forwarded >= 3);

    let key = key_of(&fleet, "c2");
    let mut learning: Vec<_> = producers.iter().map(|node| node.events()).collect();
    learning.push(controller.events());
    let mut told = nodes[1].events();
    publish(&fleet, key_type, TrustList::Deny, &key).await;
    for events in &mut learning {
        until(events, |event| matches!(event, NodeEvent::Listed { .. })).await;
    }
    if denied == Denied::Learns {
        until(&mut told, |event| matches!(event, NodeEvent::Denied { .. })).await;
    }

    // Each start of a producer takes a step of its ratchet.
    close_all(producers).await;
    let producers = open_all(&fleet, PRODUCERS).await;
    let givers = || producers.iter().chain([&controller]);
    let heard: Vec<_> = givers().map(|node| node.events()).collect();
    let (mut blocked, mut asked) = (nodes[1].events(), nodes[1].events());
    let keys = async || nodes[1].status().await.unwrap().opening_keys;
    let before = keys().await;
    send(&producers, "after").await;
    let [first, second, third] = consumers.as_mut_slice() else {
        panic!("three consumers");
    };
    assert_eq!(take_sorted(first).await, expected("after"));
    assert_eq!(take_sorted(third).await, expected("after"));
    let refused = async {
        match denied {
            Denied::Learns => {
                for _ in 0..ATTEMPTS {
                    until(&mut blocked, is_blocked).await;
                }
            }
            Denied::AsksController => refuses_often(&controller).await,
            Denied::AsksAll => {
                for giver in givers() {
                    refuses_often(giver).await;
                }
            }
        }
    };
    let reads = async {
        loop {
            let read = take(second, 1).await;
            assert!(read.is_empty(), "the denied consumer read {read:?}");
        }
    };
    tokio::select! {
        () = reads => {}
        () = refused => {}
    }
    assert_eq!(keys().await, before);
    assert!(second.waiting() > 0);
    let mut to_others = 0;
    for mut events in heard {
        while let Some(event) = events.try_next() {
            if let NodeEvent::Answered { requester, .. } | NodeEvent::Forwarded { requester, .. } =
                event
            {
                assert_ne!(requester.key, key);
                to_others += 1;
            }
        }
    }
    assert!(to_others > 0);
    let mut asked = std::iter::from_fn(|| asked.try_next());
    let asks = asked.any(|event| matches!(event, NodeEvent::Requested { .. }));
    assert_eq!(asks, denied != Denied::Learns);
}

/// Returns whether a node refuses to ask because its own key is denied.
fn is_blocked(event: &NodeEvent) -> bool {
    matches!(event, NodeEvent::NoValidChain { reason } if reason.contains("(C11)"))
}

/// Waits until a node has refused a denied key several times since the node was opened.
async fn refuses_often(giver: &Node) {
    let refused = async || {
        let refused = giver.status().await.unwrap().refused();
        let denied = refused.iter().find(|(check, _)| check.to_string() == "C11");
        denied.map_or(0, |(_, times)| *times)
    };
    let waiting = async {
        while refused().await < ATTEMPTS {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(DEADLINE, waiting).await;
    assert!(waited.is_ok(), "{:?}", giver.status().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_server_keeps_two_minute_chains_fresh_over_many_renewals() {
    keep_chains_fresh(KeyType::Ed25519, 30.0, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_quantum_chain_server_keeps_chains_fresh_as_well() {
    keep_chains_fresh(KeyType::Hybrid, 8.0, 3).await;
}

/// `speed` is the factor by which the clock of the fleet is faster: post-quantum signatures take long, especially on a
/// busy machine.
async fn keep_chains_fresh(key_type: KeyType, speed: f64, renewals_of_each: usize) {
    const LIFETIME: Duration = Duration::from_secs(120);
    let clock = fast_clock(speed);
    let mut fleet = Fleet::start().await;
    fleet.clock = clock.clone();
    fleet.key_type = key_type;
    fleet.provision("server", Role::ChainServer, "root");
    // Chains of a chain server do not allow requests to producers (protocol §12).
    let _controller = start_controller(&fleet, fleet.options("controller")).await;
    fleet.lifetime = Some(LIFETIME);
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    fleet.provision("latecomer", Role::Consumer, "root");
    renew_for(&fleet, "sender", &[Usage::Encrypt]);
    for reader in ["reader", "latecomer"] {
        renew_for(&fleet, reader, &[Usage::EncryptSubscribe]);
    }
    let server = fleet.options("server").roles(NodeRoles {
        chain_server: true,
        ..NodeRoles::default()
    });
    let server = server
        .setting("lifetime", "120")
        .setting("refresh_fraction", "0.5")
        .setting("interval_secs", "0.05")
        .clock(clock.clone());
    let server = server.open().await.unwrap();
    let mut renewals = server.events();

    let options = |id: &str| {
        let options = fleet.options(id).clock(clock.clone());
        options.setting("crypto_sub_interval", "1")
    };
    let sender = options("sender").open().await.unwrap();
    let reader = options("reader").open().await.unwrap();
    let (mut warnings, sealed) = (sender.events(), send_one(&sender, "first"));
    sealed.await;
    let mut consumer_of_reader = consumer(&reader, "t").await;
    assert_eq!(values(&take(&mut consumer_of_reader, 1).await), ["first"]);
    for _ in 0..3 * renewals_of_each {
        let is_renewal = |event: &NodeEvent| matches!(event, NodeEvent::ChainRenewed { .. });
        until(&mut renewals, is_renewal).await;
    }
    for node in [&sender, &reader] {
        let trust = node.status().await.unwrap().trust;
        let expires = trust.identities[0].chain.clone().unwrap().unwrap();
        assert!(expires > clock.now());
    }
    // A node whose own chain expired long ago finds a new one at the broker, and uses it to ask.
    let latecomer = options("latecomer").open().await.unwrap();
    let mut consumer_of_latecomer = consumer(&latecomer, "t").await;
    assert_eq!(
        values(&take(&mut consumer_of_latecomer, 1).await),
        ["first"]
    );
    let stored = read_config(&fleet.files("sender")).unwrap();
    let stored = chain_key_of(&stored);
    assert!(stored.timestamp().unwrap() > Timestamp::from_unix(LIFETIME * 2));
    // A chain that is renewed in time causes no warning.
    while let Some(event) = warnings.try_next() {
        assert!(
            !matches!(event, NodeEvent::ChainExpires { .. }),
            "{event:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_chain_is_warned_of() {
    let clock = Clock::system();
    let mut fleet = Fleet::start().await;
    fleet.lifetime = Some(Duration::from_secs(15));
    fleet.provision("reader", Role::Consumer, "root");
    let reader = fleet.open("reader").await;
    let mut events = reader.events();
    let opened = clock.now();
    let trust = reader.status().await.unwrap().trust;
    let end = trust.identities[0].chain.clone().unwrap().unwrap();
    until(&mut events, |event| match event {
        NodeEvent::ChainExpires { expires, .. } => {
            assert_eq!(*expires, end);
            true
        }
        _ => false,
    })
    .await;
    // The warning comes when at most a tenth of the validity at the start is left, not at the start.
    let left = |at: Timestamp| end.as_secs() - at.as_secs();
    assert!(left(clock.now()) < left(opened) / 5.0);
}

/// Returns a clock that is faster by this factor.
fn fast_clock(factor: f64) -> Clock {
    let start = Instant::now();
    let begun = Clock::system().now();
    Clock::new(move || begun.plus(start.elapsed().mul_f64(factor)))
}

/// Provisions a controller, and opens it with `options`, which name its files.
pub(crate) async fn start_controller(fleet: &Fleet, options: NodeBuilder) -> Node {
    fleet.provision("controller", Role::Controller, "root");
    let controller = options.roles(NodeRoles {
        controller: true,
        ..NodeRoles::default()
    });
    let controller = controller
        .setting("mgmt_subscribe_interval", "0.1")
        .clock(fleet.clock.clone());
    controller.open().await.unwrap()
}

async fn open_all(fleet: &Fleet, ids: [&str; 3]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for id in ids {
        nodes.push(fleet.open(id).await);
    }
    nodes
}

async fn close_all(nodes: Vec<Node>) {
    for node in nodes {
        node.close_within(DEADLINE).await.unwrap();
    }
}

/// Each producer sends one record.
async fn send(producers: &[Node], what: &str) {
    for (node, id) in producers.iter().zip(PRODUCERS) {
        send_one(node, &format!("{what} {id}")).await;
    }
}

async fn send_one(node: &Node, value: &str) {
    let producer = node.producer().await.unwrap();
    let sent = producer.enqueue(record("t", value)).await.unwrap();
    sent.await.unwrap();
    producer.close_within(DEADLINE).await.unwrap();
}

fn expected(what: &str) -> Vec<String> {
    PRODUCERS.map(|id| format!("{what} {id}")).into()
}

async fn take_sorted(consumer: &mut Consumer) -> Vec<String> {
    let mut read = values(&take(consumer, 3).await);
    read.sort();
    read
}

async fn until(events: &mut EventListener, is_it: impl Fn(&NodeEvent) -> bool) {
    let waiting = async {
        while let Some(event) = events.next().await {
            if is_it(&event) {
                return;
            }
        }
        panic!("the node is gone");
    };
    tokio::time::timeout(DEADLINE, waiting).await.unwrap();
}

pub(crate) fn key_of(fleet: &Fleet, id: &str) -> VerifyingKey {
    let config = read_config(&fleet.files(id)).unwrap();
    certificate_of(&config, |certificate| {
        certificate.keys.signer().unwrap().clone()
    })
}

/// Returns the end of the last certificate of the chain in a configuration.
fn chain_key_of(config: &NodeConfig) -> MaxAge {
    certificate_of(config, |certificate| certificate.max_age)
}

/// Reads the last certificate of a node's first chain, without verifying it.
fn certificate_of<T>(config: &NodeConfig, look: impl FnOnce(&Certificate<'_>) -> T) -> T {
    let Some(Value::Bytes(chain)) = config.load_value(Section::CHAINS, "chain0").unwrap() else {
        panic!("no chain");
    };
    let chain = kc::core::chain::UnverifiedChain::parse(&chain).unwrap();
    let link = chain.links().last().unwrap();
    let signatures = [64, 64 + 17_088];
    let certificate = signatures
        .iter()
        .find_map(|len| Certificate::parse(link.get(*len..)?).ok());
    look(&certificate.unwrap())
}

/// Publishes an entry of a list, signed by the root.
pub(crate) async fn publish(fleet: &Fleet, key_type: KeyType, list: TrustList, key: &VerifyingKey) {
    let root = derive_root(ROOT, key_type).unwrap().key;
    let entry = TrustEntry::unrestricted(key);
    let until = MaxAge::until(Clock::system().now().plus(Duration::from_secs(3600)));
    let mut rng = system_rng().unwrap();
    let update = compose_update(list, &entry, until, (&root, None), &mut rng).unwrap();
    let plain = fleet.plain();
    let topic = TopicSpec::control(list.name());
    let admin = plain.admin().await.unwrap();
    if let Err(error) = admin.create_topic(&topic, DEADLINE).await {
        assert_eq!(error.kind(), BackendErrorKind::TopicExists);
    }
    let producer = plain.producer().await.unwrap();
    let sent = producer.enqueue(OutgoingRecord {
        topic: list.name().into(),
        key: Some(key.to_bytes()),
        value: Some(update),
        ..OutgoingRecord::default()
    });
    sent.await.unwrap().await.unwrap();
}

/// Makes the chain server renew a node's chain from now on.
fn renew_for(fleet: &Fleet, id: &str, usages: &[Usage]) {
    let constraints = Constraints {
        topics: Some(vec!["^.*$".into()]),
        usages: Some(usages.iter().map(|usage| usage.as_str().into()).collect()),
        path_length: Some(1),
    };
    let (due_at_once, key) = (MaxAge::until(fleet.clock.now()), key_of(fleet, id));
    let write_key = |writer: &mut _| key.write_to(writer);
    let entry = encode_certificate(due_at_once, &constraints.encode(), write_key, (0, |_| {}));
    let lock = NodeLock::acquire(&fleet.files("server")).unwrap();
    let store = FileConfigStore::new(std::sync::Arc::new(lock));
    let entry = Value::Bytes(entry);
    let stored = store.update(&mut |config: &mut NodeConfig| {
        config.set(Section::CHAIN_KEYS, id, &entry).map(drop)
    });
    stored.unwrap();
}

impl Fleet {
    fn files(&self, id: &str) -> NodeFiles {
        NodeFiles::in_folder(self.folder.path(), id).unwrap()
    }
}
