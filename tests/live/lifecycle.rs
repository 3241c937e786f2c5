//! Nodes without a runtime, and handles of nodes that are no more.

use std::sync::Arc;
use std::time::Duration;

use kc::actors::key_table::PrepareError;
use kc::backend_pure::PureBackend;
use kc::core::provision::Role;
use kc::keystore_file::{
    FileConfigStore, FileRatchetStore, NodeFiles, NodeLock, SecretFile, open_key_store,
};
use kc::{
    BackendErrorKind, ClientSettings, Clock, ConsumeError, CryptoSettings, Node, NodeParts,
    NodeRoles, NodeSettings, Outcome, ProduceError, SealError,
};

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};

#[test]
fn a_node_seals_without_any_runtime_and_without_a_broker() {
    let folder = tempfile::tempdir().unwrap();
    Fleet::provision_in(folder.path(), "sender", Role::Producer, "root", &[]);
    let files = NodeFiles::in_folder(folder.path(), "sender").unwrap();
    let lock = Arc::new(NodeLock::acquire(&files).unwrap());
    let secret = |path| SecretFile::new(path, Arc::clone(&lock));
    // Nobody listens at port 1.
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
        group: None,
        clock: Clock::system(),
    })
    .unwrap();
    let serializer = node.serializer();
    let mut sealed = Vec::new();
    let unprepared = serializer.seal_value("t", b"secret", &mut sealed);
    assert_eq!(unprepared, Err(SealError::NotPrepared));
    serializer.prepare_blocking("t").unwrap();
    serializer.seal_value("t", b"secret", &mut sealed).unwrap();
    assert!(sealed.len() > b"secret".len());
    assert!(!sealed.windows(6).any(|part| part == b"secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_may_wait_for_ever() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    let node = fleet.open("sender").await.node;
    node.serializer().prepare("t").await.unwrap();
    node.shutdown(Duration::MAX).await.unwrap().gateway.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_gateway_has_died_does_not_say_that_all_was_sent() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    let node = fleet.open("sender").await.node;
    node.roles().gateway.close.disconnect();
    let report = node.shutdown(DEADLINE).await.unwrap();
    assert_eq!(report.gateway.unwrap_err().kind(), BackendErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn handles_of_a_node_that_was_shut_down_say_closed() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let (sender, reader) = (fleet.open("sender").await, fleet.open("reader").await);
    let producer = sender.producer().await.unwrap();
    let mut consumer = consumer(&reader, "t").await;
    drop(producer.send(record("t", "a")).await.unwrap());
    producer.flush(DEADLINE).await.unwrap();
    assert_eq!(values(&take(&mut consumer, 1).await), ["a"]);
    drop(producer.send(record("t", "b")).await.unwrap());
    producer.flush(DEADLINE).await.unwrap();

    let (serializer, deserializer) = (sender.node.serializer(), reader.node.deserializer());
    let mut sealed = Vec::new();
    serializer.seal_value("t", b"c", &mut sealed).unwrap();
    for node in [sender.node, reader.node] {
        node.shutdown(DEADLINE).await.unwrap().gateway.unwrap();
    }

    let late = serializer.seal_value("t", b"d", &mut Vec::new());
    assert_eq!(late, Err(SealError::Closed));
    let prepared = serializer.prepare("t").await;
    assert!(
        matches!(prepared, Err(PrepareError::Closed(_))),
        "{prepared:?}"
    );
    let prepared = serializer.prepare_blocking("new");
    assert!(
        matches!(prepared, Err(PrepareError::Closed(_))),
        "{prepared:?}"
    );
    assert_eq!(deserializer.try_open_value("t", &sealed), Outcome::Closed);
    assert_eq!(deserializer.open_value("t", &sealed).await, Outcome::Closed);
    let sent = producer.send(record("t", "e")).await.map(drop);
    assert!(
        matches!(sent, Err(ProduceError::Seal(SealError::Closed))),
        "{sent:?}"
    );
    let read = async {
        loop {
            match consumer.poll(10, DEADLINE).await {
                Ok(read) => assert!(read.is_empty(), "{read:?}"),
                Err(error) => return error,
            }
        }
    };
    let error = tokio::time::timeout(DEADLINE, read).await.unwrap();
    assert!(matches!(error, ConsumeError::Closed), "{error:?}");
}
