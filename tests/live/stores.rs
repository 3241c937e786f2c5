//! A node whose stores fail for some time, like those on an unavailable token.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kc::actors::key_table::PrepareError;
use kc::actors::ratchet::RatchetError;
use kc::actors::{CryptoSettings, Node, NodeParts, NodeSettings, ProducerOptions, Store};
use kc::core::kem::Suite;
use kc::core::keys::VerifyingKey;
use kc::core::provision::Role;
use kc::core::secret::SecretVec;
use kc::core::store::config::{ConfigError, ConfigStore, ConfigStoreError, NodeConfig};
use kc::core::store::{KeyStore, StoreError, StoreErrorKind};
use kc::keystore_file::{
    FileConfigStore, FileRatchetStore, NodeFiles, NodeLock, SecretFile, open_key_store,
};
use kc::{Clock, EventListener, NodeEvent, NodeRoles, ProduceError};

use crate::fleet::{DEADLINE, Fleet, record, take, values};

/// The maximum delay of all other work.
const HELD_UP: Duration = Duration::from_secs(10);

/// A keystore that can be unavailable.
#[derive(Debug)]
struct Removable {
    store: Box<dyn KeyStore>,
    away: AtomicBool,
}

impl Removable {
    fn there(&self) -> Result<&dyn KeyStore, StoreError> {
        if self.away.load(Ordering::Relaxed) {
            let error = StoreError::new(StoreErrorKind::Io, "keystore of the test");
            return Err(error.with_advice("put it back"));
        }
        Ok(&*self.store)
    }
}

impl KeyStore for Removable {
    fn verifying_keys(&self) -> Vec<VerifyingKey> {
        self.store.verifying_keys()
    }

    fn sign(&self, key: &VerifyingKey, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.there()?.sign(key, message)
    }

    fn wrap_opaque(&self, plaintext: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.there()?.wrap_opaque(plaintext)
    }

    fn unwrap_opaque(&self, wrapped: &[u8]) -> Result<SecretVec, StoreError> {
        self.there()?.unwrap_opaque(wrapped)
    }

    fn suites(&self) -> Vec<Suite> {
        self.store.suites()
    }

    fn legacy_requests(&self) -> bool {
        self.store.legacy_requests()
    }
}

/// A configuration store whose reads block until they are released.
#[derive(Debug)]
struct Slow {
    config: Arc<dyn ConfigStore>,
    go: Mutex<Receiver<()>>,
}

impl ConfigStore for Slow {
    fn load(&self) -> Result<NodeConfig, ConfigStoreError> {
        let let_go = self.go.lock().unwrap().recv_timeout(HELD_UP);
        assert_eq!(let_go, Err(RecvTimeoutError::Disconnected));
        self.config.load()
    }

    fn update(
        &self,
        edit: &mut dyn FnMut(&mut NodeConfig) -> Result<(), ConfigError>,
    ) -> Result<NodeConfig, ConfigStoreError> {
        self.config.update(edit)
    }
}

fn parts(fleet: &Fleet) -> (NodeParts, Arc<Removable>) {
    let files = NodeFiles::in_folder(fleet.folder.path(), "sender").unwrap();
    let lock = Arc::new(NodeLock::acquire(&files).unwrap());
    let file = |path| SecretFile::new(path, Arc::clone(&lock));
    let keystore = Arc::new(Removable {
        store: Box::new(open_key_store(&file(files.crypto()), None).unwrap()),
        away: AtomicBool::new(false),
    });
    let ratchet = FileRatchetStore::open(file(files.seed())).unwrap();
    let parts = NodeParts {
        backend: Arc::new(fleet.plain()),
        keystore: Arc::<Removable>::clone(&keystore),
        ratchet: Some(Box::new(ratchet)),
        config: Arc::new(FileConfigStore::new(lock)),
        settings: NodeSettings::default(),
        crypto: CryptoSettings::default(),
        roles: NodeRoles::default(),
        custodian: None,
        group: None,
        clock: Clock::system(),
    };
    (parts, keystore)
}

/// Waits for an event of a store. Returns all such events up to it.
async fn news(events: &mut EventListener, awaited: &NodeEvent) -> Vec<NodeEvent> {
    let mut news = Vec::new();
    while news.last() != Some(awaited) {
        let event = tokio::time::timeout(DEADLINE, events.next()).await;
        let event = event.unwrap().unwrap();
        if let NodeEvent::StoreFails { .. } | NodeEvent::StoreWorks { .. } = event {
            news.push(event);
        }
    }
    news
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_goes_on_without_its_stores_and_tells_of_it_once() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let (parts, keystore) = parts(&fleet);
    let sender = Node::start(parts).await.unwrap();
    let mut events = sender.events();
    let backend = fleet.plain();
    let producer = sender
        .clients()
        .producer(&backend, ProducerOptions::default());
    let producer = producer.await.unwrap();
    producer
        .enqueue(record("t", "before"))
        .await
        .unwrap()
        .await
        .unwrap();

    keystore.away.store(true, Ordering::Relaxed);
    producer
        .enqueue(record("t", "meanwhile"))
        .await
        .unwrap()
        .await
        .unwrap();
    for _ in 0..3 {
        let refused = producer.enqueue(record("u", "refused")).await.map(drop);
        let Err(ProduceError::Prepare(PrepareError::Ratchet(RatchetError::Archive(behind)))) =
            refused
        else {
            panic!("{refused:?}");
        };
        assert_eq!(behind.advice(), Some("put it back"));
    }
    let reader = fleet
        .options("reader")
        .setting("crypto_sub_interval", "0.2");
    let reader = reader.open().await.unwrap();
    let joining = reader.consumer(["t", "u"]).from_beginning().join();
    let mut joined = joining.await.unwrap();
    let taking = tokio::spawn(async move { (take(&mut joined, 2).await, joined) });
    let failing = sender.status().await.unwrap().failing_stores;
    let fault = &failing[&Store::RetainedKeys];
    assert_eq!(fault.advice, Some("put it back"));
    let fails = [Store::RetainedKeys, Store::Keys].map(|store| NodeEvent::StoreFails {
        store,
        fault: fault.clone(),
    });
    assert_eq!(news(&mut events, &fails[1]).await, fails);

    keystore.away.store(false, Ordering::Relaxed);
    let (read, mut joined) = taking.await.unwrap();
    assert_eq!(values(&read), ["before", "meanwhile"]);
    producer
        .enqueue(record("u", "after"))
        .await
        .unwrap()
        .await
        .unwrap();
    assert_eq!(values(&take(&mut joined, 1).await), ["after"]);
    let works = [Store::Keys, Store::RetainedKeys].map(|store| NodeEvent::StoreWorks { store });
    assert_eq!(news(&mut events, &works[1]).await, works);
    assert!(sender.status().await.unwrap().failing_stores.is_empty());
}

#[tokio::test]
async fn a_node_whose_stores_take_their_time_holds_up_nothing_else() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    let (mut parts, _) = parts(&fleet);
    let (let_go, go) = channel();
    parts.config = Arc::new(Slow {
        config: parts.config,
        go: Mutex::new(go),
    });
    let meanwhile = async { drop(let_go) };
    let (started, ()) = tokio::join!(Node::start(parts), meanwhile);
    started.unwrap();
}
