//! The logs of nodes at the most detailed level, during a whole exchange.

use std::fs;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use kc::actors::SealedArchive;
use kc::core::provision::Role;
use kc::core::ratchet::Seed;
use kc::core::store::NodeSecrets;
use kc::keystore_file::{NodeFiles, NodeLock, SecretFile, open_key_store, read_config};
use tracing_subscriber::EnvFilter;

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};
use crate::leaks::leak;

const PLAINTEXT: &str = "attack at dawn, by the northern gate";

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the present secrets in a node's files: the secret halves of the signing keys, the opaque key, the seed, and
/// the retained data keys.
fn secrets(fleet: &Fleet, id: &str) -> Vec<Vec<u8>> {
    let files = NodeFiles::in_folder(fleet.folder.path(), id).unwrap();
    let crypto = NodeSecrets::decode(&fs::read(files.crypto()).unwrap()).unwrap();
    let keys = crypto.secrets.signing_keys();
    let mut secrets: Vec<_> = keys
        .map(|key| key.expose_bytes().expose()[..32].to_vec())
        .collect();
    secrets.push(crypto.secrets.opaque_key().expose().to_vec());
    if let Ok(seed) = fs::read(files.seed()) {
        let seed = Seed::decode(&seed).unwrap().encode();
        secrets.push(seed.expose()[seed.expose().len() - 32..].to_vec());
    }
    if let Ok(lock) = NodeLock::acquire(&files) {
        let file = SecretFile::new(files.crypto(), lock.into());
        let keys = open_key_store(&file, None).unwrap();
        let config = read_config(&files).unwrap();
        let kept = SealedArchive::load(&keys, &config).unwrap();
        secrets.extend(kept.iter().map(|key| key.secret.expose().to_vec()));
    }
    secrets
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_logged_in_a_whole_exchange() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("off,kc=trace,kc_core=trace,kc_actors=trace,kc_backend_pure=trace,kc_keystore_file=trace"))
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();

    let fleet = Fleet::start().await;
    for (id, role) in [
        ("sender", Role::Producer),
        ("limited", Role::ConsumerLimited),
        ("controller", Role::Controller),
        ("reader", Role::Consumer),
    ] {
        fleet.provision(id, role, "the root password");
    }
    fleet.provision("stranger", Role::Consumer, "another root password");
    let mut hidden: Vec<Vec<u8>> = ["sender", "limited", "controller", "reader", "stranger"]
        .iter()
        .flat_map(|id| secrets(&fleet, id))
        .collect();

    let roles = kc::NodeRoles {
        controller: true,
        ..kc::NodeRoles::default()
    };
    let controller = fleet.options("controller").roles(roles);
    let controller = controller.setting("mgmt_subscribe_interval", "0.1");
    let controller = controller.open().await.unwrap();
    let sender = fleet.open("sender").await;
    let producer = sender.producer().await.unwrap();
    producer
        .enqueue(record("t", PLAINTEXT))
        .await
        .unwrap()
        .await
        .unwrap();
    let mut nodes = vec![controller];
    for id in ["reader", "limited"] {
        let reader = fleet.open(id).await;
        let read = take(&mut consumer(&reader, "t").await, 1).await;
        assert_eq!(values(&read), [PLAINTEXT]);
        nodes.push(reader);
    }
    let stranger = fleet.open("stranger").await;
    let mut refused = sender.events();
    let mut reading = consumer(&stranger, "t").await;
    let refusal =
        async { while !matches!(refused.next().await, Some(kc::NodeEvent::Refused { .. })) {} };
    tokio::select! {
        () = refusal => {}
        read = take(&mut reading, 1) => panic!("{read:?}"),
    }
    producer.close_within(DEADLINE).await.unwrap();
    nodes.extend([sender, stranger]);
    for node in nodes {
        node.close_within(DEADLINE).await.unwrap();
    }

    hidden.extend(secrets(&fleet, "sender"));
    let passwords = ["the root password", "another root password", PLAINTEXT];
    hidden.extend(passwords.map(|text| text.as_bytes().to_vec()));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for told in [
        "ratchet turned",
        "keys handed out",
        "keys received",
        "vouched for",
        "refused",
    ] {
        assert!(log.contains(told), "{told} is not in {log}");
    }
    // Two secrets of the sender before the exchange, and its seed and data key afterwards.
    assert!(hidden.len() >= 15, "{}", hidden.len());
    for secret in hidden {
        // Only long parts are searched, because short ones may occur by chance.
        assert_eq!(leak(&log, &secret, 8), None, "{log}");
    }
}
