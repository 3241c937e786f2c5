//! Faults of a node's files.

use std::fs;
use std::path::Path;

use kc::actors::SealedArchive;
use kc::core::message::Envelope;
use kc::core::provision::Role;
use kc::core::types::KeyId;
use kc::keystore_file::{NodeFiles, NodeLock, SecretFile, open_key_store, read_config};
use kc::{Error, Node, NodeBuilder};

use crate::fleet::{DEADLINE, Fleet, consumer, take, values};
use crate::wire::Wire;

/// Returns the options of a node that needs no broker: no broker listens on port 1.
fn options(folder: &Path, id: &str) -> NodeBuilder {
    let config = folder.join(format!("{id}.config"));
    Node::builder(config.to_str().unwrap())
        .kafka("bootstrap_servers", "127.0.0.1:1")
        .kafka("security_protocol", "PLAINTEXT")
}

async fn sealed(node: &Node, value: &str) -> (KeyId, Vec<u8>) {
    let sealer = node.sealer("t").await.unwrap();
    let sealed = sealer.seal_value(value.as_bytes()).unwrap();
    (Envelope::parse(&sealed).unwrap().key_id, sealed)
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_05_a_ratchet_is_locked_whichever_way_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Fleet::provision_in(folder, "sender", Role::Producer, "root", &[]);
    let _open = options(folder, "sender").open().await.unwrap();
    let refusal = |opened: Result<Node, Error>| format!("{:?}", opened.unwrap_err().get_ref());
    let again = refusal(options(folder, "sender").open().await);
    assert!(again.contains("InUse"), "{again}");

    // A second configuration for the same ratchet.
    fs::copy(folder.join("sender.config"), folder.join("twin.config")).unwrap();
    let twin = refusal(options(folder, "twin").open().await);
    assert!(twin.contains("InUse"), "{twin}");
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_05_a_ratchet_is_stored_before_its_key_is_used_and_a_rollback_repeats_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Fleet::provision_in(folder, "sender", Role::Producer, "root", &[]);
    let seed = folder.join("sender.seed");
    let before = fs::read(&seed).unwrap();
    let mut used = Vec::new();
    for _ in 0..3 {
        // The first ratchet is restored before each start.
        fs::write(&seed, &before).unwrap();
        let sender = options(folder, "sender").open().await.unwrap();
        let (id, _) = sealed(&sender, "secret").await;
        assert_ne!(fs::read(&seed).unwrap(), before, "used and not stored");
        assert!(!used.contains(&id), "the key {id} is used twice");
        used.push(id);
        sender.close_within(DEADLINE).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_06_past_keys_are_stored_before_a_message_goes_out() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Fleet::provision_in(folder, "sender", Role::Producer, "root", &[]);
    let sender = options(folder, "sender").open().await.unwrap();
    // The key is ready, and no message has been sent.
    sender.sealer("t").await.unwrap();
    let copy = copy_of(folder, "sender");
    let (id, _) = sealed(&sender, "secret").await;

    let files = NodeFiles::in_folder(copy.path(), "sender").unwrap();
    let lock = NodeLock::acquire(&files).unwrap().into();
    let keys = open_key_store(&SecretFile::new(files.crypto(), lock), None).unwrap();
    let config = read_config(&files).unwrap();
    let stored = SealedArchive::load(&keys, &config).unwrap();
    assert!(stored.get(&"t".into(), &id).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_06_past_keys_are_served_after_a_crash_without_sending_anything() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    let sender = fleet.open("sender").await;
    let (_, value) = sealed(&sender, "secret").await;
    // The state after a crash directly after the first message.
    let copy = copy_of(fleet.folder.path(), "sender");
    drop(sender);
    let wire = Wire::to(&fleet.broker).await;
    wire.send_to("t", 0, None, &value).await;

    let address = fleet.broker.address().to_string();
    let options = options(copy.path(), "sender").kafka("bootstrap_servers", &address);
    let _sender = options.open().await.unwrap();
    let reader = fleet.open("reader").await;
    let read = take(&mut consumer(&reader, "t").await, 1).await;
    assert_eq!(values(&read), ["secret"]);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn fault_13_secret_files_are_private_from_the_start_and_replaced_as_a_whole() {
    use std::io::Read;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use kc::core::store::NodeSecrets;
    use kc::core::wire::Writer;

    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    Fleet::provision_in(folder, "sender", Role::Producer, "root", &[]);
    let mode = |name: &str| {
        let metadata = fs::metadata(folder.join(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    for name in ["sender.crypto", "sender.seed", "sender.config"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }

    // A key file of the oldest generation, which all users may read, as a peer leaves it.
    let crypto = folder.join("sender.crypto");
    let secrets = NodeSecrets::decode(&fs::read(&crypto).unwrap())
        .unwrap()
        .secrets;
    let key = secrets.signing_keys().next().unwrap().expose_bytes();
    let mut old = Writer::new();
    old.array(2).bytes(key.expose());
    old.bytes(secrets.opaque_key().expose());
    let old = old.into_vec();
    fs::write(&crypto, &old).unwrap();
    fs::set_permissions(&crypto, fs::Permissions::from_mode(0o644)).unwrap();
    let inode = fs::metadata(&crypto).unwrap().ino();
    let mut before = fs::File::open(&crypto).unwrap();

    let node = options(folder, "sender").open().await.unwrap();
    sealed(&node, "secret").await;
    assert_eq!(mode("sender.crypto"), 0o600);
    assert_eq!(mode("sender.seed"), 0o600);
    // The new file replaces the old one, which stays whole for processes that have it open.
    assert_ne!(fs::metadata(&crypto).unwrap().ino(), inode);
    assert!(
        !NodeSecrets::decode(&fs::read(&crypto).unwrap())
            .unwrap()
            .outdated
    );
    let mut bytes = Vec::new();
    before.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes, old);
}

/// Returns a copy of a node's files in their present state.
fn copy_of(folder: &Path, id: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for extension in ["config", "crypto", "seed"] {
        let name = format!("{id}.{extension}");
        fs::copy(folder.join(&name), copy.path().join(&name)).unwrap();
    }
    copy
}
