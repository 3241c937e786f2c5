//! Roots of trust, and their signatures.

use std::sync::Arc;
use std::time::Duration;

use kc_core::chain::{
    Constraints, MaxAge, TrustEntry, UnverifiedChain, Usage, encode_certificate, encode_chain,
};
use kc_core::keys::{KeyType, Signer, SigningKey, VerifyingKey};
use kc_core::types::{RootTopic, Timestamp};

use super::core::Dice;

/// A key with the chain that certifies it.
#[derive(Clone)]
pub(super) struct Certified {
    pub(super) key: Arc<SigningKey>,
    pub(super) chain: Vec<u8>,
    /// The keys along the chain, the root of trust first.
    pub(super) path: Vec<VerifyingKey>,
}

/// The rights that a certificate grants.
pub(super) struct Grant<'a> {
    pub(super) usages: &'a [Usage],
    pub(super) topics: Option<&'a [RootTopic]>,
    pub(super) path_length: i64,
    pub(super) until: Timestamp,
}

pub(super) fn generate(key_type: KeyType, dice: &mut Dice) -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(key_type, &mut dice.0))
}

/// Returns a root of trust, which certifies other keys.
pub(super) fn root(key: Arc<SigningKey>) -> Certified {
    Certified {
        path: vec![key.verifying_key().clone()],
        chain: Vec::new(),
        key,
    }
}

impl Grant<'_> {
    pub(super) fn constraints(&self) -> Constraints {
        let names = |root: &RootTopic| root.as_str().to_owned();
        Constraints {
            topics: Some(match self.topics {
                Some(topics) => topics.iter().map(names).collect(),
                None => vec!["^.*$".into()],
            }),
            usages: Some(names_of(self.usages)),
            path_length: Some(self.path_length),
        }
    }
}

pub(super) fn names_of(usages: &[Usage]) -> Vec<String> {
    usages.iter().map(|usage| usage.as_str().into()).collect()
}

impl Certified {
    /// Certifies a key.
    pub(super) fn certify(
        &self,
        key: &Arc<SigningKey>,
        grant: &Grant<'_>,
        dice: &mut Dice,
    ) -> Self {
        let certificate = encode_certificate(
            MaxAge::until(grant.until),
            &grant.constraints().encode(),
            |writer| key.verifying_key().write_to(writer),
            (0, |_| {}),
        );
        let mut path = self.path.clone();
        path.push(key.verifying_key().clone());
        Self {
            key: Arc::clone(key),
            chain: self.sign(&certificate, dice),
            path,
        }
    }

    /// Returns a chain that ends with this certificate.
    pub(super) fn sign(&self, certificate: &[u8], dice: &mut Dice) -> Vec<u8> {
        let link = self.key.sign(certificate, &mut dice.0);
        let link = link.unwrap_or_default();
        match UnverifiedChain::parse(&self.chain) {
            Ok(chain) => chain.extended(&link),
            Err(_) => encode_chain(&[&link]),
        }
    }
}

/// Returns the list entry of a root of trust.
pub(super) fn entry(root: &Certified) -> TrustEntry {
    TrustEntry::unrestricted(root.key.verifying_key())
}

/// Returns a time after the end of every certificate in a simulation.
pub(super) fn far(now: Timestamp) -> Timestamp {
    now.plus(Duration::from_secs(400 * 86_400))
}
