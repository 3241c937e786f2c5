//! A node with two signing keys, whose chains are in the entries of the other key.

use std::fs;

use kc::Clock;
use kc::actors::chain::{ManagementRecord, ManagementRecords};
use kc::core::chain::MaxAge;
use kc::core::keys::{KeyType, Signer, SigningKey, VerifyingKey};
use kc::core::provision::{Grant, Role, issue_chain};
use kc::core::store::NodeSecrets;
use kc::core::store::config::{NodeConfig, Section, Value};
use kc::core::types::{ManagementTopic, TopicScheme};
use kc::keystore_file::{NodeFiles, read_config, system_rng};

use crate::fleet::{DEADLINE, Fleet};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_chain_takes_its_keys_place_and_the_other_keys_chain_stays() {
    let fleet = Fleet::start().await;
    fleet.provision("n", Role::Producer, "root");
    let second = add_key(&fleet);
    let mut config = stored(&fleet);
    let first = entry(&config, "chain0");
    let entries = [
        ("chain0", issue(&second)),
        ("chain1", first.clone()),
        ("chain7", vec![0x90]),
    ];
    for (name, chain) in entries {
        config
            .set(Section::CHAINS, name, &Value::Bytes(chain))
            .unwrap();
    }
    fs::write(files(&fleet).config(), config.render().as_str()).unwrap();

    let node = fleet.open("n").await;
    let new = issue(&second);
    let record = ManagementRecord {
        topic: ManagementTopic::Chains,
        kafka_key: second.to_bytes(),
        value: new.clone(),
    };
    let taken = node
        .actors()
        .roles()
        .chain
        .records
        .send(ManagementRecords(vec![record]));
    taken.await.unwrap();
    node.close_within(DEADLINE).await.unwrap();

    let config = stored(&fleet);
    assert_eq!(entry(&config, "chain0"), first);
    assert_eq!(entry(&config, "chain1"), new);
    assert_eq!(entry(&config, "chain7"), [0x90]);
    let node = fleet.open("n").await;
    let identities = node.status().await.unwrap().trust.identities;
    assert_eq!(identities.len(), 2);
    assert!(
        identities.iter().all(|identity| identity.chain.is_ok()),
        "{identities:?}"
    );
    node.close_within(DEADLINE).await.unwrap();
}

/// Adds a signing key to the node's file.
fn add_key(fleet: &Fleet) -> VerifyingKey {
    let path = files(fleet).crypto();
    let mut secrets = NodeSecrets::decode(&fs::read(&path).unwrap())
        .unwrap()
        .secrets;
    let key = SigningKey::generate(KeyType::Ed25519, &mut system_rng().unwrap());
    let public = key.verifying_key().clone();
    secrets.add_key(key);
    fs::write(path, secrets.encode().expose()).unwrap();
    public
}

/// Returns a new chain for a key.
fn issue(key: &VerifyingKey) -> Vec<u8> {
    let role = Role::Producer;
    let constraints = role
        .constraints(&[], &TopicScheme::default(), Some(1))
        .unwrap();
    let now = Clock::system().now();
    let grant = Grant {
        role,
        constraints,
        expires: MaxAge::until(now.plus(role.default_lifetime())),
    };
    let rng = &mut system_rng().unwrap();
    issue_chain(key, &grant, b"root", b"provisioning", now, rng)
        .unwrap()
        .chain
}

fn files(fleet: &Fleet) -> NodeFiles {
    NodeFiles::in_folder(fleet.folder.path(), "n").unwrap()
}

fn stored(fleet: &Fleet) -> NodeConfig {
    read_config(&files(fleet)).unwrap()
}

fn entry(config: &NodeConfig, name: &str) -> Vec<u8> {
    match config.load_value(Section::CHAINS, name).unwrap() {
        Some(Value::Bytes(chain)) => chain,
        other => panic!("{name}: {other:?}"),
    }
}
