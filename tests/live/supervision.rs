//! A node whose parts fail beneath it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::{Actor, Context, Handler, System};
use kc::actors::exchange::SideRecords;
use kc::actors::{ConsumerOptions, CryptoSettings, Node, NodeParts, NodeSettings};
use kc::backend_pure::PureBackend;
use kc::core::backend::{GroupStart, Subscription};
use kc::core::kem::Suite;
use kc::core::keys::VerifyingKey;
use kc::core::provision::Role;
use kc::core::secret::SecretVec;
use kc::core::store::{KeyStore, StoreError};
use kc::keystore_file::{FileConfigStore, NodeFiles, NodeLock, SecretFile, open_key_store};
use kc::{ClientSettings, Clock, NodeRoles, Undecryptable};

use crate::fleet::{Fleet, consumer, record, take, values};

/// A keystore that panics at its first signature, which no store should do.
#[derive(Debug)]
struct Faulty {
    store: Box<dyn KeyStore>,
    sound: AtomicBool,
}

impl KeyStore for Faulty {
    fn verifying_keys(&self) -> Vec<VerifyingKey> {
        self.store.verifying_keys()
    }

    fn sign(&self, key: &VerifyingKey, message: &[u8]) -> Result<Vec<u8>, StoreError> {
        assert!(self.sound.swap(true, Ordering::Relaxed), "a fault");
        self.store.sign(key, message)
    }

    fn wrap_opaque(&self, plaintext: &[u8]) -> Result<Vec<u8>, StoreError> {
        self.store.wrap_opaque(plaintext)
    }

    fn unwrap_opaque(&self, wrapped: &[u8]) -> Result<SecretVec, StoreError> {
        self.store.unwrap_opaque(wrapped)
    }

    fn suites(&self) -> Vec<Suite> {
        self.store.suites()
    }

    fn legacy_requests(&self) -> bool {
        self.store.legacy_requests()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_dies_is_made_anew_and_the_key_still_comes() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let sender = fleet.open("sender").await;
    let producer = sender.producer().await.unwrap();
    let sent = producer.enqueue(record("t", "secret")).await.unwrap();
    sent.await.unwrap();

    let files = NodeFiles::in_folder(fleet.folder.path(), "reader").unwrap();
    let lock = Arc::new(NodeLock::acquire(&files).unwrap());
    let crypto = SecretFile::new(files.crypto(), Arc::clone(&lock));
    let keystore = Arc::new(Faulty {
        store: Box::new(open_key_store(&crypto, None).unwrap()),
        sound: AtomicBool::new(false),
    });
    let address = fleet.broker.address().to_string();
    let servers = [("bootstrap_servers", address.as_str())];
    let backend = Arc::new(PureBackend::new(ClientSettings::parse(servers).unwrap()).unwrap());
    let reader = Node::start(NodeParts {
        backend: Arc::<PureBackend>::clone(&backend),
        keystore: Arc::<Faulty>::clone(&keystore),
        ratchet: None,
        config: Arc::new(FileConfigStore::new(lock)),
        settings: NodeSettings {
            crypto_sub_interval: 0.2,
            ..NodeSettings::default()
        },
        crypto: CryptoSettings::default(),
        roles: NodeRoles::default(),
        custodian: None,
        group: None,
        clock: Clock::system(),
    })
    .await
    .unwrap();

    let options = ConsumerOptions {
        group: "reader".into(),
        topics: Subscription::to(["t"]),
        start: GroupStart::Earliest,
        assignment: None,
        undecryptable: Undecryptable::default(),
        plain_keys: false,
        plain: false,
        no_commit: false,
        skip_until: BTreeMap::new(),
        threads: None,
    };
    let joined = reader.clients().consumer(backend, options);
    let read = take(&mut joined.await.unwrap(), 1).await;
    assert_eq!(values(&read), ["secret"]);
    assert!(keystore.sound.load(Ordering::Relaxed));
}

/// Replaces the exchange, and panics at its first records.
struct Doomed;

impl Actor for Doomed {
    type Context = Context<Self>;
}

impl Handler<SideRecords> for Doomed {
    type Result = ();

    fn handle(&mut self, _: SideRecords, _: &mut Self::Context) {
        panic!("a fault");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_of_ones_own_that_dies_gives_its_place_back() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let sender = fleet.open("sender").await;
    let records = sender.actors().roles().exchange.records.clone();
    let (connected, ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let system = System::new();
        system.block_on(async {
            records.replace(&Doomed.start());
            connected.send(()).unwrap();
        });
        system.run().unwrap();
    });
    ready.recv().unwrap();
    let producer = sender.producer().await.unwrap();
    let sent = producer.enqueue(record("t", "secret")).await.unwrap();
    sent.await.unwrap();

    let reader = fleet.open("reader").await;
    let mut consumer = consumer(&reader, "t").await;
    assert_eq!(values(&take(&mut consumer, 1).await), ["secret"]);
}
