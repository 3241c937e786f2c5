use rand_core::CryptoRng;

use super::{ProvisionError, Provisioner, Role, derive_provisioner, derive_root};
use crate::chain::{
    ANYTHING, Certificate, Constraints, Demand, MaxAge, TrustEntry, TrustStore, UnverifiedChain,
    Usage, ValidatedChain, encode_certificate, encode_chain,
};
use crate::keys::{KeyType, Signer, SigningKey, VerifyingKey};
use crate::types::{Timestamp, TopicScheme};

/// The issuer of a node's certificate: a provisioner, or the root of trust itself.
pub(super) struct Issuer<S> {
    /// The root of trust.
    pub(super) root: VerifyingKey,
    /// The provisioner's certificate, signed by the root, or `None` if the root itself is the issuer.
    provisioner: Option<Vec<u8>>,
    key: S,
}

impl Issuer<SigningKey> {
    /// Derives the issuer for a role from both passwords.
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
    /// Creates an issuer from a provisioner's key and the certificate that the root signed for it.
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

    /// Signs a certificate. Returns the chain from the root of trust to this certificate.
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

/// Returns the provisioner that issued a node's chain under `root`, and the provisioner's key, if the chain was issued
/// with both passwords.
///
/// The chain may have expired. The result is `None` if the root itself or a chain server issued the chain, if the root
/// certified the provisioner by a [request](super::request_provisioner), or if the chain is not valid under `root`.
#[must_use]
pub fn provisioner_of(chain: &[u8], root: &VerifyingKey) -> Option<(Provisioner, VerifyingKey)> {
    prove(chain, root, Timestamp::EPOCH).ok()?;
    let chain = UnverifiedChain::parse(chain).ok()?;
    let [first, _] = chain.links() else {
        return None;
    };
    let first = Certificate::parse_signed(first).ok()?;
    let constraints = first.restrictions.evaluate().ok()?;
    let by = Provisioner::ALL.into_iter().find(|by| {
        let issued = Constraints {
            usages: Some(names(by.usages())),
            ..Constraints::default()
        };
        constraints == issued
    })?;
    Some((by, first.keys.signer()?.clone()))
}

/// Encodes a certificate for the issuer to sign. The constraints are in the order that provisioning uses: usages,
/// topics, path length.
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

/// Validates a chain, with `root` as the only root of trust.
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

/// Returns an error if the last certificate of the chain is not for `key`.
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

/// The maximum number of topics for which a certificate can be made. Each topic counts, even if
/// several topics have the same root topic. Test: `a_node_of_too_many_topics_is_refused`.
pub const MAX_TOPICS: usize = 4096;

/// The content of a certificate, apart from its key.
#[derive(Clone, Debug)]
pub struct Grant {
    /// The role, which determines the issuer.
    pub role: Role,
    /// Usages, topics and path length; see [`Role::constraints`].
    pub constraints: Constraints,
    /// The end of validity.
    pub expires: MaxAge,
}

/// A new chain.
#[derive(Clone, Debug)]
pub struct IssuedChain {
    /// The new chain, from the root of trust to the key that it certifies.
    pub chain: Vec<u8>,
    /// The root of trust, which was derived from the root password.
    pub root: VerifyingKey,
}

impl Role {
    /// Returns the constraints for the certificate of a node with this role. They allow the role's usages, the root
    /// topics of the names in `topics`, and the topics that match the regular expressions in `topics`. If `topics` is
    /// empty, they allow all topics.
    ///
    /// # Errors
    /// Returns [`ProvisionError::TooManyTopics`] if there are more than [`MAX_TOPICS`] topics.
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

/// Issues a chain for an existing key: for example, for a key that was added to a node, or for a key whose current
/// chain will expire soon.
///
/// The keys of the root and the provisioner have the same type as `key`. For chain servers and administrators,
/// `provisioning_password` is not used.
///
/// # Errors
/// Returns [`ProvisionError::Derivation`] or [`ProvisionError::Signing`] if a key cannot be derived or does not
/// sign, and [`ProvisionError::Certificate`] if the chain would not be valid now.
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

/// Returns the topics that a certificate grants: the regular expressions among `topics`, which begin with `^`, and
/// the root topics of the names, each once. If `topics` is empty, all topics are granted.
fn granted_topics(topics: &[String], scheme: &TopicScheme) -> Vec<String> {
    if topics.is_empty() {
        return vec![ANYTHING.into()];
    }
    let mut roots: Vec<String> = Vec::new();
    for topic in topics {
        let root = match topic.starts_with('^') {
            true => topic.clone(),
            false => scheme.root_str(topic).into_owned(),
        };
        if !roots.contains(&root) {
            roots.push(root);
        }
    }
    roots
}
