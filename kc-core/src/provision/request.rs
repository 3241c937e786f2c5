use rand_core::CryptoRng;

use super::issuer::{certificate, names, prove, require_key};
use super::{NewKey, NewNode, ProvisionError, ProvisionedNode, Provisioner, Role, self_revocation};
use crate::chain::{ANYTHING, Certificate, Constraints, MaxAge, TrustEntry, encode_chain};
use crate::keys::{KeyError, Signer, SigningKey, VerifyingKey};
use crate::ratchet::Seed;
use crate::store::NodeSecrets;
use crate::store::config::{ConfigError, NodeConfig, Section, Value};
use crate::types::{Timestamp, TopicScheme};

/// The number of certificates that may follow a provisioner's certificate: the certificate of a node, and the
/// certificate of the node's request or reply.
const PROVISIONER_PATH_LENGTH: i64 = 2;

/// A request to certify a provisioner, made for the root of trust.
#[derive(Clone, Debug)]
pub struct ProvisionerRequest {
    /// The certificate for the root to [sign](sign_request). It grants the provisioner's usages for all topics, has
    /// path length 2, and does not expire.
    pub to_sign: Vec<u8>,
    /// The provisioner's [`self_revocation`]. An operator keeps it, and publishes it if others learn the provisioner's
    /// key.
    pub self_revocation: Vec<u8>,
}

/// Makes the request to the root of trust to certify a provisioner. The provisioner's key is
/// [derived](super::derive_provisioner) from the provisioning password, or is on a token.
///
/// # Errors
/// Returns a [`KeyError`] if the signer fails.
pub fn request_provisioner(
    provisioner: Provisioner,
    key: &dyn Signer,
    rng: &mut dyn CryptoRng,
) -> Result<ProvisionerRequest, KeyError> {
    let constraints = Constraints {
        usages: Some(names(provisioner.usages())),
        topics: Some(vec![ANYTHING.into()]),
        path_length: Some(PROVISIONER_PATH_LENGTH),
    };
    Ok(ProvisionerRequest {
        to_sign: certificate(MaxAge::UNLIMITED, &constraints, key.verifying_key()),
        self_revocation: self_revocation(key, rng)?,
    })
}

/// Signs the certificate that a provisioner or a node requests. `root` is the root of trust. Returns the signature
/// followed by the certificate.
///
/// An operator should first check the rights that the certificate grants; see [`Certificate::parse`].
///
/// # Errors
/// Returns [`ProvisionError::Request`] if `to_sign` is not a certificate, [`ProvisionError::NotARequest`] if the
/// certificate is not for exactly one signing key or contains further elements, and [`ProvisionError::Signing`] if the
/// root does not sign.
pub fn sign_request(
    root: &dyn Signer,
    to_sign: &[u8],
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, ProvisionError> {
    let certificate = Certificate::parse(to_sign).map_err(ProvisionError::Request)?;
    if certificate.keys.signer().is_none() || !certificate.extra.is_empty() {
        return Err(ProvisionError::NotARequest);
    }
    Ok(root.sign(to_sign, rng)?)
}

/// A node without a signed certificate. Its parts may be stored, and combined again when the signed certificate
/// arrives.
#[derive(Debug)]
pub struct RequestedNode {
    /// The configuration, without a chain and without a root of trust.
    pub config: NodeConfig,
    /// The public half of the signing key.
    pub key: VerifyingKey,
    /// The signing key and the opaque key, unless they are [elsewhere](NewKey::Elsewhere).
    pub secrets: Option<NodeSecrets>,
    /// The ratchet, or `None` for a role without a ratchet.
    pub seed: Option<Seed>,
    /// The ratchet's first secret, sealed to the escrow key, if there is an escrow key. The caller should show it to
    /// the operator, because it is not stored.
    pub escrow: Option<Vec<u8>>,
    /// The certificate for the root to [sign](super::sign_request).
    pub to_sign: Vec<u8>,
}

/// Creates a node without a certificate. An operator then signs [`RequestedNode::to_sign`] with the root of trust
/// ([`sign_request`]). The node has a ratchet unless it is a controller, a chain server or an administrator.
///
/// Draws random bytes in this order: for the ratchet's secret, escrow, the opaque key and the signing key. The last two
/// are not drawn if the keys are [elsewhere](super::NewKey::Elsewhere).
///
/// # Errors
/// Returns [`ProvisionError::TooManyTopics`] if there are too many topics, and [`ProvisionError::Config`] if the syntax
/// of the configuration cannot express the node id, the path of the certificate authorities, or a part of the naming
/// scheme of topics. If there is an escrow key, returns [`ProvisionError::NothingToEscrow`] if the node has no ratchet,
/// and [`ProvisionError::Escrow`] if the escrow key is invalid.
pub fn request_node(
    node: &NewNode<'_>,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<RequestedNode, ProvisionError> {
    let has_ratchet = node.role.exchanges_keys() && node.role != Role::Controller;
    RequestedNode::draw(node, has_ratchet, now, rng)
}

impl RequestedNode {
    /// Completes the node with the certificate that the root of trust signed.
    ///
    /// # Errors
    /// Returns [`ProvisionError::Certificate`] if the root did not sign the certificate or the certificate is not valid
    /// now, [`ProvisionError::OtherKey`] if it is for another key, [`ProvisionError::GrantsOther`] if it grants other
    /// usages or topics than the node requested, and [`ProvisionError::Request`] if [`to_sign`](Self::to_sign) is not a
    /// certificate.
    pub fn complete(
        self,
        root: &VerifyingKey,
        signed: &[u8],
        now: Timestamp,
    ) -> Result<ProvisionedNode, ProvisionError> {
        self.complete_with_chain(root, &encode_chain(&[signed]), now)
    }

    /// Adds a root of trust to the node's allowlist. The node can thus trust the root before the node's certificate
    /// arrives.
    ///
    /// # Errors
    /// Returns a [`ConfigError`] if the configuration cannot hold the entry. This does not happen with a
    /// configuration that [`request_node`] made.
    pub fn trust(&mut self, root: &VerifyingKey) -> Result<(), ConfigError> {
        let entry = TrustEntry::unrestricted(root);
        let entry = Value::from(entry.as_bytes());
        self.config.set(Section::ALLOWLIST, "rot0", &entry)?;
        Ok(())
    }

    pub(super) fn draw(
        node: &NewNode<'_>,
        has_ratchet: bool,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, ProvisionError> {
        let role = node.role;
        let constraints = role.constraints(node.topics, node.scheme, node.path_length)?;
        let config = configuration(node, has_ratchet)?;
        let seed = has_ratchet.then(|| Seed::generate_from(node.first_index, rng));
        let escrow = match (node.escrow, &seed) {
            (Some(recipient), Some(seed)) => Some(seed.escrow(recipient, rng)?),
            (Some(_), None) => return Err(ProvisionError::NothingToEscrow(node.role)),
            (None, _) => None,
        };
        let (key, secrets) = match node.key {
            NewKey::Elsewhere(key) => (key.clone(), None),
            NewKey::Drawn(key_type) => {
                let mut secrets = NodeSecrets::generate(rng);
                let key = SigningKey::generate(key_type, rng);
                let public = key.verifying_key().clone();
                secrets.add_key(key);
                (public, Some(secrets))
            }
        };
        let end = node
            .lifetime
            .map(|lifetime| MaxAge::until(now.plus(lifetime)));
        let to_sign = certificate(end.unwrap_or(MaxAge::UNLIMITED), &constraints, &key);
        Ok(Self {
            config,
            key,
            secrets,
            seed,
            escrow,
            to_sign,
        })
    }

    pub(super) fn complete_with_chain(
        mut self,
        root: &VerifyingKey,
        chain: &[u8],
        now: Timestamp,
    ) -> Result<ProvisionedNode, ProvisionError> {
        let proven = prove(chain, root, now)?;
        require_key(&proven, &self.key)?;
        let wanted = Certificate::parse(&self.to_sign).map_err(ProvisionError::Request)?;
        let wanted = wanted.restrictions.evaluate();
        let (granted, wanted) = (
            proven.constraints(),
            wanted.map_err(ProvisionError::Request)?,
        );
        if granted.usages != wanted.usages || granted.topics != wanted.topics {
            return Err(ProvisionError::GrantsOther);
        }
        self.trust(root)?;
        self.config
            .set(Section::CHAINS, "chain0", &Value::from(chain))?;
        Ok(ProvisionedNode {
            config: self.config,
            secrets: self.secrets,
            seed: self.seed,
            escrow: self.escrow,
            root: root.clone(),
            expires: proven.max_age().timestamp(),
        })
    }
}

/// Creates the configuration without the root of trust and the chain. The sections and entries have the order of the
/// peers' files.
fn configuration(node: &NewNode<'_>, has_ratchet: bool) -> Result<NodeConfig, ConfigError> {
    let mut config = NodeConfig::create(node.id)?;
    if let NewKey::Drawn(_) = node.key {
        let file = |extension| Value::from(format!("file#{}.{extension}", node.id).as_str());
        config.set(Section::NODE, "cryptokey", &file("crypto"))?;
        if has_ratchet {
            config.set(Section::NODE, "ratchet", &file("seed"))?;
        }
    }
    set_scheme(&mut config, node.scheme)?;
    // `maxage` is the validity of requests and replies. It is left out if the node signs neither of them. It is also
    // left out if the certificate has no end: then the default applies.
    if let Some(lifetime) = node.lifetime.filter(|_| node.role.exchanges_keys()) {
        let max_age = i128::from(lifetime.as_secs());
        config.set(Section::CRYPTO, "maxage", &Value::Int(max_age))?;
    }
    config.add_kafka_sections(node.ssl_cafile)?;
    config.add_section(Section::CHAINS)?;
    if node.role == Role::ChainServer {
        config.add_section(Section::CHAIN_KEYS)?;
    }
    Ok(config)
}

/// Writes the naming scheme of topics, unless it is the default.
fn set_scheme(config: &mut NodeConfig, scheme: &TopicScheme) -> Result<(), ConfigError> {
    if *scheme == TopicScheme::default() {
        return Ok(());
    }
    for (name, text) in [
        ("topic_separator", &scheme.separator),
        ("topic_suffix_subs", &scheme.subscriptions_suffix),
        ("topic_suffix_keys", &scheme.keys_suffix),
        ("topic_suffix_reqs", &scheme.requests_suffix),
    ] {
        config.set(Section::NODE, name, &Value::from(text.as_str()))?;
    }
    Ok(())
}
