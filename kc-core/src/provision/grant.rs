use rand_core::CryptoRng;

use super::certificate::{certificate, names, prove};
use super::issuer::Issuer;
use super::{ProvisionError, Role};
use crate::chain::{ANYTHING, Constraints, MaxAge};
use crate::keys::VerifyingKey;
use crate::types::{Timestamp, TopicScheme};

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
