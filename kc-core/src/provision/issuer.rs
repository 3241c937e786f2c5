use rand_core::CryptoRng;

use super::{ProvisionError, Role, derive_provisioner, derive_root};
use crate::chain::{
    ANYTHING, Constraints, Demand, MaxAge, TrustEntry, TrustStore, UnverifiedChain, Usage,
    ValidatedChain, encode_certificate, encode_chain,
};
use crate::keys::{KeyType, Signer, SigningKey, VerifyingKey};
use crate::types::{Timestamp, TopicScheme};

/// Who certifies a node: a provisioner, or the root of trust itself.
pub(super) struct Issuer<S> {
    /// The root of trust.
    pub(super) root: VerifyingKey,
    /// The provisioner's certificate, signed by the root; none if the root itself certifies.
    provisioner: Option<Vec<u8>>,
    key: S,
}

impl Issuer<SigningKey> {
    /// With both passwords at hand.
    pub(super) fn of_passwords(
        (role, key_type): (Role, KeyType),
        root_password: &[u8],
        provisioning_password: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Self, ProvisionError> {
        let root = derive_root(root_password, key_type)?.key;
        let root_key = root.verifying_key().clone();
        let Some(by) = role.provisioner() else {
            return Ok(Self {
                root: root_key,
                provisioner: None,
                key: root,
            });
        };
        let key = derive_provisioner(provisioning_password, by, &root_key, key_type)?.key;
        let constraints = Constraints {
            usages: Some(names(by.usages())),
            ..Constraints::default()
        };
        let to_sign = certificate(MaxAge::UNLIMITED, &constraints, key.verifying_key());
        Ok(Self {
            root: root_key,
            provisioner: Some(root.sign(&to_sign, rng)?),
            key,
        })
    }
}

impl<S: Signer> Issuer<S> {
    /// With a provisioner's key, and what the root signed for it.
    pub(super) fn of_certificate(
        key: S,
        root: &VerifyingKey,
        signed: &[u8],
        now: Timestamp,
    ) -> Result<Self, ProvisionError> {
        let proven = prove(&encode_chain(&[signed]), root, now)?;
        require_key(&proven, key.verifying_key())?;
        Ok(Self {
            root: root.clone(),
            provisioner: Some(signed.to_vec()),
            key,
        })
    }

    /// Certifies: gives the chain from the root.
    pub(super) fn issue(
        &self,
        to_sign: &[u8],
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, ProvisionError> {
        let link = self.key.sign(to_sign, rng)?;
        Ok(match &self.provisioner {
            Some(provisioner) => encode_chain(&[provisioner, &link]),
            None => encode_chain(&[&link]),
        })
    }
}

// Certificates as provisioning writes them, and what signed ones prove.

/// The bytes of a certificate, to be signed.
pub(super) fn certificate(
    max_age: MaxAge,
    constraints: &Constraints,
    key: &VerifyingKey,
) -> Vec<u8> {
    encode_certificate(
        max_age,
        &constraints.encode_usages_first(),
        |writer| key.write_to(writer),
        (0, |_| {}),
    )
}

/// What a chain proves under a root of trust and nothing else.
pub(super) fn prove(
    chain: &[u8],
    root: &VerifyingKey,
    now: Timestamp,
) -> Result<ValidatedChain, ProvisionError> {
    let trust = TrustStore::new(Some(vec![TrustEntry::unrestricted(root)]), Vec::new());
    UnverifiedChain::parse(chain)
        .and_then(|chain| chain.validate(&trust, &Demand::at(now)))
        .map_err(ProvisionError::Certificate)
}

/// Refuses a chain that ends with another key.
pub(super) fn require_key(
    chain: &ValidatedChain,
    key: &VerifyingKey,
) -> Result<(), ProvisionError> {
    if chain.keys().signer() == Some(key) {
        return Ok(());
    }
    Err(ProvisionError::OtherKey {
        expected: key.fingerprint(),
    })
}

pub(super) fn names(usages: &[Usage]) -> Vec<String> {
    usages.iter().map(|usage| usage.as_str().into()).collect()
}

/// How many topics a certificate may name.
pub const MAX_TOPICS: usize = 4096;

/// What a certificate is to allow.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The role, which says who certifies.
    pub role: Role,
    /// Usages, topics and path length; see [`Role::constraints`].
    pub constraints: Constraints,
    /// Until when it is valid.
    pub expires: MaxAge,
}

/// A fresh chain.
#[derive(Clone, Debug)]
pub struct IssuedChain {
    /// The chain, from the root of trust to the key.
    pub chain: Vec<u8>,
    /// The root of trust of the root password.
    pub root: VerifyingKey,
}

impl Role {
    /// What its certificate says: its usages, the topics cut to their roots (all if there are none), and the
    /// path length.
    ///
    /// # Errors
    /// [`ProvisionError::TooManyTopics`].
    pub fn constraints(
        self,
        topics: &[String],
        scheme: &TopicScheme,
        path_length: Option<u32>,
    ) -> Result<Constraints, ProvisionError> {
        if topics.len() > MAX_TOPICS {
            return Err(ProvisionError::TooManyTopics(topics.len()));
        }
        Ok(Constraints {
            usages: Some(names(self.usages())),
            topics: Some(granted_topics(topics, scheme)),
            path_length: path_length.map(i64::from),
        })
    }
}

/// Issues a chain for a key that exists already: one that was added to a node, or whose chain ends. Root
/// and provisioner are of the key's type. A chain server needs the root password alone.
///
/// # Errors
/// [`ProvisionError::Derivation`], [`ProvisionError::Signing`]; [`ProvisionError::Certificate`] for a chain
/// that would not be valid now.
pub fn issue_chain(
    key: &VerifyingKey,
    grant: &Grant,
    root_password: &[u8],
    provisioning_password: &[u8],
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<IssuedChain, ProvisionError> {
    let issuer = Issuer::of_passwords(
        (grant.role, key.key_type()),
        root_password,
        provisioning_password,
        rng,
    )?;
    let to_sign = certificate(grant.expires, &grant.constraints, key);
    let chain = issuer.issue(&to_sign, rng)?;
    prove(&chain, &issuer.root, now)?;
    Ok(IssuedChain {
        chain,
        root: issuer.root,
    })
}

/// The roots of the topics, each once; all topics if there are none.
fn granted_topics(topics: &[String], scheme: &TopicScheme) -> Vec<String> {
    if topics.is_empty() {
        return vec![ANYTHING.into()];
    }
    let mut roots: Vec<String> = Vec::new();
    for topic in topics {
        let root = scheme.root_str(topic);
        if !roots.iter().any(|known| known == root) {
            roots.push(root.into());
        }
    }
    roots
}
