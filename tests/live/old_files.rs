//! Configurations of old versions.

use std::fs;
use std::path::PathBuf;

use kc::core::provision::Role;
use kc::core::store::config::{NodeConfig, Section, Value};
use kc::{NodeBuilder, NodeRoles};

use crate::fleet::{DEADLINE, Fleet, consumer, record, take, values};

/// A comment of a person, which must be kept.
const COMMENT: &str = "; mine";

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_root_and_chain_are_where_old_versions_had_them_works() {
    let fleet = Fleet::start().await;
    fleet.provision("sender", Role::Producer, "root");
    fleet.provision("reader", Role::Consumer, "root");
    for id in ["sender", "reader"] {
        let new = stored(&fleet, id);
        make_old(&fleet, id);
        assert_ne!(stored(&fleet, id), new);
    }
    let (sender, reader) = (fleet.open("sender").await, fleet.open("reader").await);
    let producer = sender.producer().await.unwrap();
    let mut consumer = consumer(&reader, "t").await;
    drop(producer.enqueue(record("t", "a")).await.unwrap());
    producer.flush_within(DEADLINE).await.unwrap();
    assert_eq!(values(&take(&mut consumer, 1).await), ["a"]);

    for id in ["sender", "reader"] {
        let config = stored(&fleet, id);
        assert!(config.render().starts_with(COMMENT));
        assert!(entry(&config, Section::CRYPTO, "rot").is_none());
        assert!(entry(&config, Section::CRYPTO, "chain").is_none());
        assert!(entry(&config, Section::ALLOWLIST, "rot").is_some());
        assert!(entry(&config, Section::CHAINS, "chain0").is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_controller_trusts_the_provisioners_of_old_versions() {
    let fleet = Fleet::start().await;
    fleet.provision("warden", Role::Controller, "root");
    let mut config = stored(&fleet, "warden");
    let root = entry(&config, Section::ALLOWLIST, "rot0").unwrap();
    config.set(Section::PROVISIONERS, "p", &root).unwrap();
    write(&fleet, "warden", &config);
    let options = || fleet.options("warden");

    open_and_close(options()).await;
    let kept = entry(&stored(&fleet, "warden"), Section::PROVISIONERS, "p");
    assert_eq!(kept, Some(root));

    let controller = NodeRoles {
        controller: true,
        ..NodeRoles::default()
    };
    open_and_close(options().roles(controller)).await;
    let config = stored(&fleet, "warden");
    assert_eq!(config.own_settings(Section::PROVISIONERS).unwrap(), []);
    assert_eq!(config.own_settings(Section::ALLOWLIST).unwrap().len(), 2);
}

async fn open_and_close(options: NodeBuilder) {
    let node = options.open().await.unwrap();
    node.close_within(DEADLINE).await.unwrap();
}

/// Moves root and chain to their places in old versions.
fn make_old(fleet: &Fleet, id: &str) {
    let mut config = stored(fleet, id);
    let root = entry(&config, Section::ALLOWLIST, "rot0").unwrap();
    let chain = entry(&config, Section::CHAINS, "chain0").unwrap();
    config.remove(Section::ALLOWLIST, "rot0");
    config.remove(Section::CHAINS, "chain0");
    config.set(Section::CRYPTO, "rot", &root).unwrap();
    config.set(Section::CRYPTO, "chain", &chain).unwrap();
    write(fleet, id, &config);
}

/// Returns the configuration in the file.
fn stored(fleet: &Fleet, id: &str) -> NodeConfig {
    let text = fs::read_to_string(path(fleet, id)).unwrap();
    NodeConfig::parse(&text).unwrap()
}

fn path(fleet: &Fleet, id: &str) -> PathBuf {
    fleet.folder.path().join(format!("{id}.config"))
}

fn write(fleet: &Fleet, id: &str, config: &NodeConfig) {
    let text = format!("{COMMENT}\n{}", config.render().as_str());
    fs::write(path(fleet, id), text).unwrap();
}

fn entry(config: &NodeConfig, section: Section<'_>, name: &str) -> Option<Value> {
    config.load_value(section, name).unwrap()
}
