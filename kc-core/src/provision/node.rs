use std::time::Duration;

use rand_core::CryptoRng;
use thiserror::Error;

use super::{Provisioner, Role, derive_provisioner, derive_root};
use crate::chain::{ANYTHING, Constraints, MaxAge, TrustEntry, Usage, encode_certificate};
use crate::keys::{KeyError, KeyType, Signer, SigningKey, VerifyingKey};
use crate::ratchet::Seed;
use crate::store::NodeSecrets;
use crate::store::config::{ConfigError, NodeConfig, Section, Value};
use crate::types::{Timestamp, TopicScheme};
use crate::wire::Writer;

/// How many topics a certificate may name.
pub const MAX_TOPICS: usize = 4096;

/// Why a node could not be provisioned.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProvisionError {
    /// Deriving a key from a password failed.
    #[error("deriving a key from the password failed")]
    Derivation,
    /// Signing a certificate failed.
    #[error("signing a certificate failed")]
    Signing(#[from] KeyError),
    /// More than [`MAX_TOPICS`] topics.
    #[error("{0} topics are too many")]
    TooManyTopics(usize),
    /// The configuration cannot hold the node id or a path.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// What a node is to be.
#[derive(Clone, Debug)]
pub struct NewNode<'a> {
    /// The node's id; its files are named after it.
    pub id: &'a str,
    /// Its role.
    pub role: Role,
    /// The topics it may use, cut to their roots; none means all.
    pub topics: &'a [String],
    /// How many certificates may follow its own; `None` for any number. Requests and replies need one.
    pub path_length: Option<u32>,
    /// How long its certificate is valid.
    pub lifetime: Duration,
    /// The type of the root's, the provisioner's and the node's keys.
    pub key_type: KeyType,
    /// The path of the authorities that Kafka's TLS trusts, for the configuration.
    pub ssl_cafile: &'a str,
}

/// The content of a new node's files.
#[derive(Debug)]
pub struct ProvisionedNode {
    /// The configuration: sections, chain, allowlist.
    pub config: NodeConfig,
    /// The signing key and the opaque key.
    pub secrets: NodeSecrets,
    /// The ratchet.
    pub seed: Seed,
    /// The root of trust that the node now trusts.
    pub root: VerifyingKey,
    /// Until when its certificate is valid.
    pub expires: Timestamp,
}

/// Provisions a node with both passwords at hand. Draws the ratchet's secret, the opaque key, the
/// signing key, and what hybrid signatures need.
///
/// # Errors
/// Any [`ProvisionError`].
pub fn provision_node(
    node: &NewNode<'_>,
    root_password: &[u8],
    provisioning_password: &[u8],
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<ProvisionedNode, ProvisionError> {
    if node.topics.len() > MAX_TOPICS {
        return Err(ProvisionError::TooManyTopics(node.topics.len()));
    }
    let root = derive_root(root_password, node.key_type)?.key;
    let by = node.role.provisioner();
    let root_key = root.verifying_key();
    let provisioner = derive_provisioner(provisioning_password, by, root_key, node.key_type)?.key;
    let provisioner_link = certify_provisioner(&root, &provisioner, by, rng)?;

    let seed = Seed::generate(rng);
    let mut secrets = NodeSecrets::generate(rng);
    secrets.ensure_key(node.key_type, rng);
    let node_key = secrets
        .signing_keys()
        .next()
        .ok_or(ProvisionError::Derivation)?;
    let expires = now.plus(node.lifetime);
    let node_link = certify_node(node, node_key.verifying_key(), &provisioner, expires, rng)?;

    let mut chain = Writer::new();
    chain.array(2).bytes(&provisioner_link).bytes(&node_link);
    let config = configuration(node, root_key, &chain.into_vec())?;
    Ok(ProvisionedNode {
        config,
        secrets,
        seed,
        root: root_key.clone(),
        expires,
    })
}

fn certify_provisioner(
    root: &SigningKey,
    provisioner: &SigningKey,
    kind: Provisioner,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, KeyError> {
    let constraints = Constraints {
        usages: Some(names(kind.usages())),
        ..Constraints::default()
    };
    let certificate = encode_certificate(
        MaxAge::UNLIMITED,
        &constraints.encode_usages_first(),
        |writer| provisioner.verifying_key().write_to(writer),
        (0, |_| {}),
    );
    root.sign(&certificate, rng)
}

fn certify_node(
    node: &NewNode<'_>,
    key: &VerifyingKey,
    provisioner: &SigningKey,
    expires: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, KeyError> {
    let constraints = Constraints {
        usages: Some(names(node.role.usages())),
        topics: Some(granted_topics(node.topics)),
        path_length: node.path_length.map(i64::from),
    };
    let certificate = encode_certificate(
        MaxAge::until(expires),
        &constraints.encode_usages_first(),
        |writer| key.write_to(writer),
        (0, |_| {}),
    );
    provisioner.sign(&certificate, rng)
}

/// The roots of the topics, each once; all topics if there are none.
fn granted_topics(topics: &[String]) -> Vec<String> {
    if topics.is_empty() {
        return vec![ANYTHING.into()];
    }
    let scheme = TopicScheme::default();
    let mut roots: Vec<String> = Vec::new();
    for topic in topics {
        let root = scheme.root_str(topic);
        if !roots.iter().any(|known| known == root) {
            roots.push(root.into());
        }
    }
    roots
}

fn configuration(
    node: &NewNode<'_>,
    root: &VerifyingKey,
    chain: &[u8],
) -> Result<NodeConfig, ProvisionError> {
    let mut config = NodeConfig::create(node.id)?;
    let files = [("cryptokey", "crypto"), ("ratchet", "seed")];
    for (name, extension) in files {
        let path = Value::from(format!("file#{}.{extension}", node.id).as_str());
        config.set(Section::NODE, name, &path)?;
    }
    let entry = TrustEntry::unrestricted(root);
    let entry = Value::Bytes(entry.as_bytes().to_vec());
    config.set(Section::ALLOWLIST, "rot0", &entry)?;
    let max_age = i128::from(node.lifetime.as_secs());
    config.set(Section::CRYPTO, "maxage", &Value::Int(max_age))?;
    config.add_kafka_sections(node.ssl_cafile)?;
    config.set(Section::CHAINS, "chain0", &Value::Bytes(chain.to_vec()))?;
    Ok(config)
}

fn names(usages: &[Usage]) -> Vec<String> {
    usages.iter().map(|usage| usage.as_str().into()).collect()
}
