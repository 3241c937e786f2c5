//! Nodes, their files and their configurations.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use kc::actors::key_table::ReceivedOpeningKeys;
use kc::actors::keystore::KeystoreActor;
use kc::actors::ratchet::{RatchetActor, RatchetParts, RetainedKeysFor, SealingKeyFor};
use kc::actors::{Entropy, SealedArchive};
use kc::core::keys::{KeyType, Signer};
use kc::core::provision::{
    NewKey, NewNode, ProvisionedNode, Provisioner, Role, derive_provisioner, derive_root,
    provision_node, request_node,
};
use kc::core::ratchet::{KeyIdForm, RatchetConfig, RetainedKeys};
use kc::core::store::config::{ConfigStore, KafkaUse, NodeConfig, Section, Value};
use kc::core::store::{MemoryKeyStore, MemoryRatchetStore, NodeSecrets};
use kc::core::types::{KeyId, TopicScheme};
use kc::keystore_file::{
    FileConfigStore, FileRatchetStore, NodeFiles, NodeLock, SecretFile, Settings, create_node,
    open_key_store, system_rng,
};
use kc::{Clock, Node};

use crate::core::{check, data_key, node_secrets, seed, signing_key};
use crate::leaks::{known, leak};

const PASSWORD: &str = "zQ7!xK9%wV3?";

/// Returns all secrets of a node of known bytes.
fn secrets() -> Vec<Vec<u8>> {
    vec![
        known::<32>(1).to_vec(),
        signing_key().1,
        known::<32>(4).to_vec(),
        PASSWORD.into(),
    ]
}

fn config() -> NodeConfig {
    let mut config = NodeConfig::create("n").unwrap();
    let password = Value::from(PASSWORD);
    config
        .set(Section::KAFKA, "sasl_plain_password", &password)
        .unwrap();
    config
}

fn node() -> ProvisionedNode {
    let root = signing_key().0.verifying_key().clone();
    ProvisionedNode {
        config: config(),
        secrets: Some(node_secrets()),
        seed: Some(seed()),
        escrow: None,
        root,
        expires: None,
    }
}

#[track_caller]
fn check_node(value: &dyn std::fmt::Debug, expected: &str) {
    let secrets = secrets();
    let secrets: Vec<_> = secrets.iter().map(Vec::as_slice).collect();
    check(value, &secrets, expected);
}

#[test]
fn configurations() {
    let config = config();
    check_node(
        &config,
        r#"NodeConfig { node_id: "n", document: [[DEFAULT], node_id : (1 bytes), [n], mgmt_long_keyindex : (4 bytes), [n-allowlist], [n-denylist], [n-crypto], [n-kafka], sasl_plain_password : (13 bytes)] }"#,
    );
    check_node(
        config.document(),
        "[[DEFAULT], node_id : (1 bytes), [n], mgmt_long_keyindex : (4 bytes), [n-allowlist], [n-denylist], [n-crypto], [n-kafka], sasl_plain_password : (13 bytes)]",
    );
    let settings = config.kafka_config(KafkaUse::Consumer, None).unwrap();
    check_node(&settings, r#"{"sasl_plain_password", "group_id"}"#);
    let setting = config.own_settings(Section::KAFKA).unwrap();
    check_node(
        &setting,
        r#"[Setting { name: Text("sasl_plain_password"), .. }]"#,
    );
    check_node(&Value::from(PASSWORD), "Text(12 bytes)");
    check_node(&Value::from(&known::<32>(1)[..]), "Bytes(32 bytes)");
    let layered = Settings::new(&config, "n.config".as_ref()).environment([(
        "KC_CONFIG__KAFKA__SASL_PLAIN_PASSWORD".into(),
        PASSWORD.into(),
    )]);
    let layered = layered.flag(Section::KAFKA, "sasl_plain_password", PASSWORD);
    let shown = format!("{layered:?} {layered:#?}");
    assert_eq!(leak(&shown, PASSWORD.as_bytes(), 4), None, "{shown}");
    let options = Node::builder("n").kafka("sasl_plain_password", PASSWORD);
    check_node(
        &options,
        r#"NodeBuilder { node: "n", flags: [(Some("kafka"), "sasl_plain_password")], roles: NodeRoles { controller: false, chain_server: false }, .. }"#,
    );
}

#[test]
fn provisioned_nodes() {
    check_node(
        &node(),
        r#"ProvisionedNode { config: NodeConfig { node_id: "n", document: [[DEFAULT], node_id : (1 bytes), [n], mgmt_long_keyindex : (4 bytes), [n-allowlist], [n-denylist], [n-crypto], [n-kafka], sasl_plain_password : (13 bytes)] }, secrets: Some(NodeSecrets { signing_keys: [Known(SigningKey(of VerifyingKey(Ed25519, 2fc4df3d682cbfb9), redacted))], opaque_key: Secret<32>(redacted), legacy_requests: false, exchange_versions: [1] }), seed: Some(Seed { index: 7, secret: Secret<32>(redacted) }), escrow: None, root: VerifyingKey(Ed25519, 2fc4df3d682cbfb9), expires: None }"#,
    );
    let scheme = TopicScheme::default();
    let wanted = NewNode {
        lifetime: Some(Duration::from_secs(3600)),
        ..NewNode::new("n", Role::Prodcon, &scheme)
    };
    let (now, rng) = (Clock::system().now(), &mut system_rng().unwrap());
    let requested = request_node(&wanted, now, rng).unwrap();
    let made = provision_node(&wanted, b"root", b"provisioning", now, rng).unwrap();
    for (shown, secrets, seed) in [
        (
            format!("{requested:?}"),
            requested.secrets.as_ref().unwrap(),
            &requested.seed,
        ),
        (
            format!("{made:?}"),
            made.secrets.as_ref().unwrap(),
            &made.seed,
        ),
    ] {
        let seed = seed.as_ref().unwrap().encode();
        assert_hidden(&shown, secrets, seed.expose());
    }
}

/// The files of a node do not contain the secrets of its root of trust and its provisioner, but their public keys.
#[test]
fn who_made_a_node_is_in_none_of_its_files() {
    let (root_password, password) = (b"password of the root", b"password of provisioners");
    let scheme = TopicScheme::default();
    let key_type = KeyType::Ed25519;
    let new = NewNode {
        key: NewKey::Drawn(key_type),
        lifetime: None,
        ..NewNode::new("n", Role::Producer, &scheme)
    };
    let (now, rng) = (Clock::system().now(), &mut system_rng().unwrap());
    let node = provision_node(&new, root_password, password, now, rng).unwrap();
    let folder = tempfile::tempdir().unwrap();
    create_node(folder.path(), &node, false).unwrap();

    let root = derive_root(root_password, key_type).unwrap();
    let public = root.key.verifying_key();
    let provisioner = derive_provisioner(password, Provisioner::Producer, public, key_type);
    let provisioner = provisioner.unwrap();
    let secrets = [
        &root_password[..],
        password,
        root.seed.expose(),
        provisioner.seed.expose(),
    ];
    let mut knows_root = false;
    for file in fs::read_dir(folder.path()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        for secret in secrets {
            assert_eq!(leak(&text, secret, 8), None, "{text}");
            assert!(
                bytes
                    .windows(8)
                    .all(|part| !secret.windows(8).any(|secret| secret == part))
            );
        }
        knows_root |= leak(&text, &public.to_bytes(), 8).is_some();
    }
    assert!(knows_root);
}

/// Checks that a text shows none of the secrets of a node of random bytes. Only long parts are searched, because short
/// ones may occur by chance.
fn assert_hidden(shown: &str, secrets: &NodeSecrets, seed: &[u8]) {
    let keys = secrets.signing_keys();
    let keys: Vec<_> = keys.map(|key| key.expose_bytes()).collect();
    // The other half of an Ed25519 key is public.
    let keys = keys.iter().map(|key| &key.expose()[..32]);
    for secret in keys.chain([&secrets.opaque_key().expose()[..], &seed[4..]]) {
        assert_eq!(leak(shown, secret, 8), None, "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn open_nodes_and_their_handles() {
    let folder = tempfile::tempdir().unwrap();
    let files = create_node(folder.path(), &node(), false).unwrap();
    {
        let lock = Arc::new(NodeLock::acquire(&files).unwrap());
        let file = |path| SecretFile::new(path, Arc::clone(&lock));
        let crypto = file(files.crypto());
        let stores = (
            open_key_store(&crypto, None).unwrap(),
            FileRatchetStore::open(file(files.seed())).unwrap(),
            FileConfigStore::new(Arc::clone(&lock)),
            NodeFiles::in_folder(folder.path(), "n").unwrap(),
        );
        assert_nothing_shows(&format!("{crypto:?} {stores:?} {stores:#?}"));
        // The node is opened without a password for Kafka.
        let edit = &mut |config: &mut NodeConfig| {
            config.remove(Section::KAFKA, "sasl_plain_password");
            config
                .set(Section::NODE, "ratchet", &Value::from("file#n.seed"))
                .map(drop)
        };
        stores.2.update(edit).unwrap();
    }
    let options =
        Node::builder(files.config().to_str().unwrap()).kafka("bootstrap_servers", "127.0.0.1:1");
    let node = options.open().await.unwrap();
    let sealer = node.sealer("t").await.unwrap();
    let step = seed().advance().unwrap().stored().0;
    let sealing = step.data_key(&"t".into());
    let shown = format!("{node:?} {node:#?} {sealer:?} {:?}", node.opener());
    assert_nothing_shows(&shown);
    assert!(shown.contains("SealingKey"), "it is in there: {shown}");
    assert_eq!(leak(&shown, sealing.expose(), 4), None);
    assert!(fs::read(files.seed()).unwrap() != *seed().encode().expose());
}

#[test]
fn actors_and_messages() {
    let rng = Box::new(|| Ok(Box::new(system_rng()?) as _));
    let keys = Arc::new(MemoryKeyStore::new(node_secrets(), None, rng));
    let folder = tempfile::tempdir().unwrap();
    let files = create_node(folder.path(), &node(), false).unwrap();
    let config = Arc::new(FileConfigStore::new(
        NodeLock::acquire(&files).unwrap().into(),
    ));
    let ratchet = RatchetActor::new(RatchetParts {
        store: Some(Box::new(MemoryRatchetStore::new(seed()))),
        archive: Some(Box::new(SealedArchive::new(keys.clone(), config))),
        retained: RetainedKeys::default(),
        used: None,
        config: RatchetConfig {
            form: KeyIdForm::Short,
            interval: Duration::from_secs(1),
            max_age: Duration::from_secs(1),
        },
        clock: Clock::system(),
        entropy: Entropy::system(),
    });
    assert_nothing_shows(&format!("{ratchet:?} {ratchet:#?}"));
    assert_nothing_shows(&format!("{:?}", KeystoreActor::new(keys)));
    let received = ReceivedOpeningKeys {
        root_topic: "t".into(),
        keys: vec![(KeyId::Short(1), data_key())],
        giver: None,
    };
    check(
        &received,
        &[&known::<32>(2)],
        r#"ReceivedOpeningKeys { root_topic: RootTopic("t"), keys: [(KeyId(#1), DataKey(Secret<32>(redacted)))], giver: None }"#,
    );
    let root_topic = "t".into();
    check_node(
        &SealingKeyFor { root_topic },
        r#"SealingKeyFor { root_topic: RootTopic("t") }"#,
    );
    let (root_topic, ids) = ("t".into(), vec![KeyId::Short(1)]);
    check_node(
        &RetainedKeysFor { root_topic, ids },
        r#"RetainedKeysFor { root_topic: RootTopic("t"), ids: [KeyId(#1)] }"#,
    );
}

fn assert_nothing_shows(shown: &str) {
    for secret in secrets() {
        assert_eq!(leak(shown, &secret, 4), None, "{shown}");
    }
}
