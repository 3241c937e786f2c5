use std::fmt;
use std::time::Duration;

use rand_core::CryptoRng;
use scrypt::Params;

use super::issuer::Issuer;
use super::{ProvisionError, Provisioner, RequestedNode, Role};
use crate::kem::EncapsulationKey;
use crate::keys::{KeyType, Signer, SigningKey, VerifyingKey};
use crate::ratchet::Seed;
use crate::secret::{Secret, SecretVec};
use crate::store::NodeSecrets;
use crate::store::config::NodeConfig;
use crate::symmetric::sha256;
use crate::types::{Timestamp, TopicScheme};

/// What a node is to be.
#[derive(Clone, Debug)]
pub struct NewNode<'a> {
    /// The node's id; its files are named after it.
    pub id: &'a str,
    /// Its role.
    pub role: Role,
    /// The topics it may use, cut to their roots; none means all.
    pub topics: &'a [String],
    /// How topics are named; what is not the default goes into the configuration.
    pub scheme: &'a TopicScheme,
    /// How many certificates may follow its own; `None` for any number. Requests and replies need one.
    pub path_length: Option<u32>,
    /// How long its certificate is valid; `None` for without end.
    pub lifetime: Option<Duration>,
    /// Its signing key; the root's and the provisioner's are of the same type.
    pub key: NewKey<'a>,
    /// The index that its ratchet begins at: past all that a node of this id has used, or ids of keys repeat.
    pub first_index: u64,
    /// Whom the first secret of its ratchet is sealed to; usually nobody.
    pub escrow: Option<&'a EncapsulationKey>,
    /// The path of the authorities that Kafka's TLS trusts, for the configuration.
    pub ssl_cafile: &'a str,
}

impl<'a> NewNode<'a> {
    /// A node for all topics, with a fresh key of type 1 and a ratchet that begins at 0, the path length and lifetime
    /// that its role has by default, and neither escrow nor authorities; what else it is to be, set its fields to.
    #[must_use]
    pub fn new(id: &'a str, role: Role, scheme: &'a TopicScheme) -> Self {
        Self {
            id,
            role,
            topics: &[],
            scheme,
            path_length: Some(role.default_path_length()),
            lifetime: Some(role.default_lifetime()),
            key: NewKey::Drawn(KeyType::Ed25519),
            first_index: 0,
            escrow: None,
            ssl_cafile: "",
        }
    }
}

/// The signing key of a new node.
#[derive(Clone, Copy, Debug)]
pub enum NewKey<'a> {
    /// To be drawn, of this type: for the node's files.
    Drawn(KeyType),
    /// One that is elsewhere, as on a token; this is its public half. Neither are a signing key and an opaque key
    /// drawn, nor does the configuration say where they and the ratchet are.
    Elsewhere(&'a VerifyingKey),
}

impl NewKey<'_> {
    /// Its type.
    #[must_use]
    pub fn key_type(self) -> KeyType {
        match self {
            Self::Drawn(key_type) => key_type,
            Self::Elsewhere(key) => key.key_type(),
        }
    }
}

/// The content of a new node's files.
#[derive(Debug)]
pub struct ProvisionedNode {
    /// The configuration: sections, chain, allowlist.
    pub config: NodeConfig,
    /// The signing key and the opaque key, unless they are [elsewhere](NewKey::Elsewhere).
    pub secrets: Option<NodeSecrets>,
    /// The ratchet, unless the node has none.
    pub seed: Option<Seed>,
    /// The ratchet's first secret, sealed to the escrow key if one was given: to be printed once.
    pub escrow: Option<Vec<u8>>,
    /// The root of trust that the node now trusts.
    pub root: VerifyingKey,
    /// Until when its chain is valid; `None` for without end.
    pub expires: Option<Timestamp>,
}

/// Provisions a node with both passwords at hand. A chain server needs the root password alone.
///
/// Draws what hybrid signatures of the root need, the ratchet's secret, what escrow needs, the opaque
/// key, the signing key, and what hybrid signatures of the provisioner need.
///
/// # Errors
/// [`ProvisionError::Derivation`], [`ProvisionError::Signing`], and as [`request_node`](super::request_node)
/// and [`RequestedNode::complete`].
pub fn provision_node(
    node: &NewNode<'_>,
    root_password: &[u8],
    provisioning_password: &[u8],
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<ProvisionedNode, ProvisionError> {
    let issuer = Issuer::of_passwords(
        (node.role, node.key.key_type()),
        root_password,
        provisioning_password,
        rng,
    )?;
    provision_by(&issuer, node, now, rng)
}

/// Provisions a node with the key of its role's provisioner under a root of trust, given the root's public key and the
/// certificate that it [signed](super::sign_request) for the provisioner. The key is
/// [derived](super::derive_provisioner) from the provisioning password, or on a token. Draws as [`provision_node`]
/// does, but for the root's signatures.
///
/// # Errors
/// [`ProvisionError::NeedsRoot`] for a chain server, [`ProvisionError::Certificate`] if the root did not
/// sign the certificate, [`ProvisionError::OtherKey`] if it is for another key; else as [`provision_node`].
pub fn provision_node_under(
    root: &VerifyingKey,
    signed_provisioner: &[u8],
    node: &NewNode<'_>,
    provisioner: &dyn Signer,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<ProvisionedNode, ProvisionError> {
    if node.role.provisioner().is_none() {
        return Err(ProvisionError::NeedsRoot(node.role));
    }
    let issuer = Issuer::of_certificate(provisioner, root, signed_provisioner, now)?;
    provision_by(&issuer, node, now, rng)
}

fn provision_by(
    issuer: &Issuer<impl Signer>,
    node: &NewNode<'_>,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<ProvisionedNode, ProvisionError> {
    let has_ratchet = node.role.exchanges_keys();
    let requested = RequestedNode::draw(node, has_ratchet, now, rng)?;
    let chain = issuer.issue(&requested.to_sign, rng)?;
    requested.complete_with_chain(&issuer.root, &chain, now)
}

/// libsodium's interactive limits for scrypt: N = 2^14, r = 8, p = 1.
const SCRYPT: (u8, u32, u32) = (14, 8, 1);

/// A signing key derived from a password.
pub struct DerivedKey {
    /// The key.
    pub key: SigningKey,
    /// The salt of its derivation, 32 bytes. The root's is a plain hash of its password, and as secret.
    pub salt: [u8; 32],
    /// What scrypt gave: 32 bytes for Ed25519; 48 more for SLH-DSA if the key is hybrid.
    pub seed: SecretVec,
}

impl fmt::Debug for DerivedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, .. } = self;
        f.debug_struct("DerivedKey")
            .field("key", key)
            .finish_non_exhaustive()
    }
}

/// The root of trust of a password.
///
/// # Errors
/// [`ProvisionError::Derivation`], which a working scrypt never gives.
pub fn derive_root(password: &[u8], key_type: KeyType) -> Result<DerivedKey, ProvisionError> {
    derive(password, sha256(&[b"Root of Trust", password]), key_type)
}

/// A provisioner of a provisioning password, under a root of trust.
///
/// # Errors
/// [`ProvisionError::Derivation`], which a working scrypt never gives.
pub fn derive_provisioner(
    password: &[u8],
    provisioner: Provisioner,
    root: &VerifyingKey,
    key_type: KeyType,
) -> Result<DerivedKey, ProvisionError> {
    let salt = sha256(&[provisioner.name().as_bytes(), &root.to_bytes()]);
    derive(password, salt, key_type)
}

fn derive(
    password: &[u8],
    salt: [u8; 32],
    key_type: KeyType,
) -> Result<DerivedKey, ProvisionError> {
    let len = match key_type {
        KeyType::Ed25519 => 32,
        KeyType::Hybrid => 80,
    };
    let seed = stretch(password, &salt, len).ok_or(ProvisionError::Derivation)?;
    let halves = seed.expose().split_at_checked(32);
    let (ed25519, slh_dsa) = halves.ok_or(ProvisionError::Derivation)?;
    let ed25519 = Secret::from_slice(ed25519).ok_or(ProvisionError::Derivation)?;
    let key = match key_type {
        KeyType::Ed25519 => SigningKey::from_ed25519_seed(&ed25519),
        KeyType::Hybrid => {
            let slh_dsa = Secret::from_slice(slh_dsa).ok_or(ProvisionError::Derivation)?;
            SigningKey::from_hybrid_seeds(&ed25519, &slh_dsa)
        }
    };
    Ok(DerivedKey { key, salt, seed })
}

fn stretch(password: &[u8], salt: &[u8], len: usize) -> Option<SecretVec> {
    let (log_n, r, p) = SCRYPT;
    let params = Params::new(log_n, r, p).ok()?;
    let mut seed = vec![0; len];
    scrypt::scrypt(password, salt, &params, &mut seed).ok()?;
    Some(seed.into())
}
