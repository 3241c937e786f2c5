//! Nodes without a runtime, and handles of closed nodes.

use std::sync::Arc;
use std::time::Duration;

use kc::actors::key_table::PrepareError;
use kc::actors::{CryptoSettings, Node, NodeParts, NodeSettings};
use kc::backend_pure::PureBackend;
use kc::core::provision::Role;
use kc::keystore_file::{
    FileConfigStore, FileRatchetStore, NodeFiles, NodeLock, SecretFile, open_key_store,
};
use kc::{ClientSettings, Clock, ErrorKind, NodeRoles, OpenFailure, ProduceError, SealError};

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};

#[test]
fn a_node_seals_without_any_runtime_and_without_a_broker() {
    let folder = tempfile::tempdir().unwrap();
    Fleet::provision_in(folder.path(), "sender", Role::Producer, "root", &[]);
    let files = NodeFiles::in_folder(folder.path(), "sender").unwrap();
    let lock = Arc::new(NodeLock::acquire(&files).unwrap());
    let secret = |path| SecretFile::new(path, Arc::clone(&lock));
    // No broker listens on port 1.
    let servers = [("bootstrap_servers", "127.0.0.1:1")];
    let node = Node::start_blocking(NodeParts {
        backend: Arc::new(PureBackend::new(ClientSettings::parse(servers).unwrap()).unwrap()),
        keystore: Arc::new(open_key_store(&secret(files.crypto()), None).unwrap()),
        ratchet: Some(Box::new(
            FileRatchetStore::open(secret(files.seed())).unwrap(),
        )),
        config: Arc::new(FileConfigStore::new(Arc::clone(&lock))),
        settings: NodeSettings::default(),
        crypto: CryptoSettings::default(),
        roles: NodeRoles::default(),
        custodian: None,
        group: None,
        clock: Clock::system(),
    })
    .unwrap();
    let sealer = node.sealers().prepare_blocking("t").unwrap();
    let sealed = sealer.seal_value(b"secret").unwrap();
    assert!(sealed.len() > b"secret".len());
    assert!(!sealed.windows(6).any(|part| part == b"secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_may_wait_for_ever() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    let node = fleet.open("sender").await;
    node.sealer("t").await.unwrap();
    node.close_within(Duration::MAX).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_gateway_has_died_does_not_say_that_all_was_sent() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    let node = fleet.open("sender").await;
    node.actors().roles().gateway.close.disconnect();
    let error = node.close_within(DEADLINE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_of_a_node_that_was_shut_down_say_closed() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let (sender, reader) = (fleet.open("sender").await, fleet.open("reader").await);
    let producer = sender.producer().await.unwrap();
    let mut consumer = consumer(&reader, "t").await;
    drop(producer.enqueue(record("t", "a")).await.unwrap());
    producer.flush_within(DEADLINE).await.unwrap();
    assert_eq!(values(&take(&mut consumer, 1).await), ["a"]);
    drop(producer.enqueue(record("t", "b")).await.unwrap());
    producer.flush_within(DEADLINE).await.unwrap();

    let (sealers, opener) = (sender.actors().sealers(), reader.opener());
    let sealer = sealers.prepare("t").await.unwrap();
    let sealed = sealer.seal_value(b"c").unwrap();
    for node in [&sender, &reader] {
        node.close_within(DEADLINE).await.unwrap();
        node.close().await.unwrap();
    }

    assert_eq!(sealer.seal_value(b"d"), Err(SealError::Closed));
    let prepared = sealers.prepare("t").await;
    assert!(
        matches!(prepared, Err(PrepareError::Closed(_))),
        "{prepared:?}"
    );
    let prepared = sealers.prepare_blocking("new");
    assert!(
        matches!(prepared, Err(PrepareError::Closed(_))),
        "{prepared:?}"
    );
    let opened = opener.try_open_value("t", &sealed);
    assert_eq!(opened, Err(OpenFailure::Closed));
    let opened = opener.open_value("t", &sealed).await;
    assert_eq!(opened, Err(OpenFailure::Closed));
    let sent = producer.enqueue(record("t", "e")).await.map(drop);
    assert!(
        matches!(sent, Err(ProduceError::Seal(SealError::Closed))),
        "{sent:?}"
    );
    assert!(consumer.next().await.is_none());
}
