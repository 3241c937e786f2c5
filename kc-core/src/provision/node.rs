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

/// The properties of a new node.
#[derive(Clone, Debug)]
pub struct NewNode<'a> {
    /// The node's id, from which its files get their names.
    pub id: &'a str,
    /// The node's role.
    pub role: Role,
    /// The topics that the node may use: names, and regular expressions, which begin with `^`. If the list is empty,
    /// the node may use all topics. The certificate contains the root topics of the names, and the regular expressions.
    pub topics: &'a [String],
    /// The naming scheme of topics. The configuration contains it unless it is the default.
    pub scheme: &'a TopicScheme,
    /// The number of certificates that may follow the node's own certificate in a chain, or `None` for any number. To
    /// sign requests and replies, a node needs at least 1.
    pub path_length: Option<u32>,
    /// The validity of the node's certificate, or `None` for a certificate without end.
    pub lifetime: Option<Duration>,
    /// The node's signing key. [`provision_node`] derives the root's and the provisioner's keys with the same type.
    pub key: NewKey<'a>,
    /// The first index of the node's ratchet. It must exceed all indices that a node with this id has used; otherwise
    /// key ids can repeat.
    pub first_index: u64,
    /// The escrow key, or `None` for no escrow. The first secret of the node's ratchet is sealed to this public key.
    pub escrow: Option<&'a EncapsulationKey>,
    /// The path of the PEM file with the certificate authorities that the Kafka client trusts, as written to the
    /// configuration.
    pub ssl_cafile: &'a str,
}

impl<'a> NewNode<'a> {
    /// Creates the properties of a node for all topics, with a new Ed25519 key, a ratchet that begins at index 0, the
    /// default path length and lifetime of its role, no escrow, and no file with certificate authorities. The caller
    /// can change the fields.
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
    /// A new key of this type, which the node's files will contain.
    Drawn(KeyType),
    /// The public half of a key that is stored elsewhere, such as on a token. No signing key and no opaque key are
    /// drawn. The caller must add to the configuration the entries that name the places of the keys and of the ratchet.
    Elsewhere(&'a VerifyingKey),
}

impl NewKey<'_> {
    /// Returns the key's type.
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
    /// The configuration, with all sections, the node's chain and the allowlist.
    pub config: NodeConfig,
    /// The signing key and the opaque key, unless they are [elsewhere](NewKey::Elsewhere).
    pub secrets: Option<NodeSecrets>,
    /// The ratchet, or `None` for a role without a ratchet.
    pub seed: Option<Seed>,
    /// The ratchet's first secret, sealed to the escrow key, if there is an escrow key. The caller should show it to
    /// the operator, because it is not stored.
    pub escrow: Option<Vec<u8>>,
    /// The root of trust that the node trusts.
    pub root: VerifyingKey,
    /// The end of the chain's validity, or `None` if the chain has no end.
    pub expires: Option<Timestamp>,
}

/// Provisions a node from both passwords. For chain servers and administrators, `provisioning_password` is not used.
///
/// Draws random bytes in this order: for the root's signature of the provisioner, the ratchet's secret, escrow, the
/// opaque key, the signing key, and the signature of the node's certificate. Signatures need random bytes only if their
/// keys are hybrid.
///
/// # Errors
/// Returns [`ProvisionError::Derivation`] or [`ProvisionError::Signing`] if a key cannot be derived or does not sign,
/// and otherwise the errors of [`request_node`](super::request_node) and [`RequestedNode::complete`].
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

/// Provisions a node with the key of its role's provisioner, the root's public key, and the certificate that the
/// root [signed](super::sign_request) for the provisioner.
///
/// The provisioner's key is [derived](super::derive_provisioner) from the provisioning password, or is on a token.
/// Random bytes are drawn in the same order as in [`provision_node`]. No bytes are drawn for a signature of the root,
/// because the root signs nothing here.
///
/// # Errors
/// Returns [`ProvisionError::NeedsRoot`] if no provisioner certifies the role, [`ProvisionError::Certificate`] if the
/// root did not sign the provisioner's certificate or the certificate is not valid now, [`ProvisionError::OtherKey`] if
/// the certificate is for another key, and otherwise the errors of [`provision_node`].
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

/// libsodium's interactive limits of scrypt (RFC 7914): N = 2^14, r = 8, p = 1.
const SCRYPT: (u8, u32, u32) = (14, 8, 1);

/// A signing key derived from a password.
pub struct DerivedKey {
    /// The key.
    pub key: SigningKey,
    /// The salt of the derivation, 32 bytes. For a root of trust, the salt is a plain hash of the password. The salt
    /// must therefore be kept as secret as the password.
    pub salt: [u8; 32],
    /// The output of scrypt: 32 bytes for Ed25519, followed by 48 bytes for SLH-DSA if the key is hybrid.
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

/// Derives the key of the root of trust from the root password.
///
/// # Errors
/// Returns [`ProvisionError::Derivation`] if scrypt fails. No password causes this failure.
pub fn derive_root(password: &[u8], key_type: KeyType) -> Result<DerivedKey, ProvisionError> {
    derive(password, sha256(&[b"Root of Trust", password]), key_type)
}

/// Derives the key of a provisioner under a root of trust from the provisioning password.
///
/// # Errors
/// Returns [`ProvisionError::Derivation`] if scrypt fails. No password causes this failure.
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
