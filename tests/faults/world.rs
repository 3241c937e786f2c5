//! Nodes as keys and chains, as an attacker holds them who has a node's files.

use std::fs;
use std::path::Path;
use std::time::Duration;

use kc::Clock;
use kc::core::chain::{
    Certificate, Constraints, Identity, MaxAge, TrustEntry, TrustStore, UnverifiedChain, Usage,
    ValidIdentity, encode_certificate,
};

use kc::core::keys::{KeyType, Signer, SigningKey, VerifyingKey};
use kc::core::provision::{NewKey, NewNode, ProvisionedNode, Role, derive_root, provision_node};
use kc::core::store::NodeSecrets;
use kc::core::store::config::{NodeConfig, Section, Value};
use kc::core::types::{Timestamp, TopicScheme};
use kc::core::wire::Writer;
use kc::keystore_file::{NodeFiles, read_config, system_rng};

/// The root password of all nodes here.
pub(crate) const ROOT: &str = "root";

pub(crate) fn now() -> Timestamp {
    Clock::system().now()
}

/// Returns an end in this number of seconds.
pub(crate) fn in_secs(secs: u64) -> MaxAge {
    MaxAge::until(now().plus(Duration::from_secs(secs)))
}

pub(crate) fn root_key(key_type: KeyType) -> SigningKey {
    derive_root(ROOT.as_bytes(), key_type).unwrap().key
}

pub(crate) fn new_key() -> SigningKey {
    SigningKey::generate(KeyType::Ed25519, &mut system_rng().unwrap())
}

/// Returns lists that trust a root without constraints.
pub(crate) fn trust_in(root: &VerifyingKey) -> TrustStore {
    TrustStore::new(Some(vec![TrustEntry::unrestricted(root)]), vec![])
}

pub(crate) fn provisioned(role: Role, topics: &[&str], key_type: KeyType) -> ProvisionedNode {
    let topics: Vec<_> = topics.iter().map(|topic| (*topic).to_owned()).collect();
    let scheme = TopicScheme::default();
    let node = NewNode {
        topics: &topics,
        key: NewKey::Drawn(key_type),
        ..NewNode::new("n", role, &scheme)
    };
    let rng = &mut system_rng().unwrap();
    provision_node(&node, ROOT.as_bytes(), b"provisioning", now(), rng).unwrap()
}

/// A node.
pub(crate) struct Party {
    secrets: NodeSecrets,
    config: NodeConfig,
}

impl Party {
    pub(crate) fn new(role: Role) -> Self {
        Self::limited_to(role, &[])
    }

    pub(crate) fn limited_to(role: Role, topics: &[&str]) -> Self {
        let ProvisionedNode {
            secrets, config, ..
        } = provisioned(role, topics, KeyType::Ed25519);
        Self {
            secrets: secrets.unwrap(),
            config,
        }
    }

    pub(crate) fn of_files(folder: &Path, id: &str) -> Self {
        let files = NodeFiles::in_folder(folder, id).unwrap();
        let secrets = NodeSecrets::decode(&fs::read(files.crypto()).unwrap()).unwrap();
        Self {
            secrets: secrets.secrets,
            config: read_config(&files).unwrap(),
        }
    }

    pub(crate) fn key(&self) -> &SigningKey {
        self.secrets.signing_keys().next().unwrap()
    }

    pub(crate) fn chain(&self) -> Vec<u8> {
        match self.config.load_value(Section::CHAINS, "chain0") {
            Ok(Some(Value::Bytes(chain))) => chain,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn trust(&self) -> TrustStore {
        trust_in(root_key(KeyType::Ed25519).verifying_key())
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity::new(self.key().verifying_key().clone(), Some(self.chain()))
    }

    /// Returns the keys and chains that the node can sign with.
    pub(crate) fn own(&self) -> Vec<ValidIdentity> {
        vec![self.identity().validated(&self.trust(), now()).unwrap()]
    }

    /// Returns the node's chain with one more certificate at the end, signed by the node.
    pub(crate) fn signed(&self, certificate: &[u8]) -> Vec<u8> {
        let link = self.key().sign(certificate, &mut system_rng().unwrap());
        let chain = self.chain();
        let chain = UnverifiedChain::parse(&chain).unwrap();
        chain.extended(&link.unwrap())
    }
}

pub(crate) fn granting(usages: &[Usage], topics: &[&str]) -> Constraints {
    Constraints {
        topics: Some(topics.iter().map(|topic| (*topic).into()).collect()),
        usages: Some(usages.iter().map(|usage| usage.as_str().into()).collect()),
        path_length: Some(4),
    }
}

/// Returns a signed certificate for a key.
pub(crate) fn issue(
    parent: &SigningKey,
    key: &VerifyingKey,
    until: MaxAge,
    constraints: &Constraints,
) -> Vec<u8> {
    let certificate = encode_certificate(
        until,
        &constraints.encode(),
        |writer| key.write_to(writer),
        (0, |_| {}),
    );
    assert!(Certificate::parse(&certificate).is_ok());
    parent
        .sign(&certificate, &mut system_rng().unwrap())
        .unwrap()
}

pub(crate) fn chain_of(links: &[&[u8]]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.array(links.len());
    for link in links {
        writer.bytes(link);
    }
    writer.into_vec()
}
