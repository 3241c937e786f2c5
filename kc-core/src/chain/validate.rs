use std::collections::HashMap;

use super::constraints::Limits;
use super::{
    Certificate, CertificateKey, CertificateKeys, ChainError, Constraints, MaxAge, TrustEntry,
    TrustStore, Usage,
};
use crate::keys::{SignatureError, VerifyingKey};
use crate::sabotage::{Rule, broken};
use crate::symmetric::sha256;
use crate::types::Timestamp;
use crate::wire::{Reader, Value, WireError, Writer};

/// The maximum number of certificates in a chain. It limits the number of signatures that must be verified. Test:
/// `every_negative_case_is_refused_by_its_check`.
pub const MAX_LINKS: usize = 16;

/// The maximum length of a signed certificate before the last, in bytes. A hybrid key's signature has 17,152 bytes.
/// Test: `a_certificate_before_the_last_is_short`.
pub const MAX_LINK_LEN: usize = 32 * 1024;

/// The requirements that a chain must meet.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// The time at which the chain must be valid.
    pub now: Timestamp,
    /// The topic that the chain must grant, if any.
    pub topic: Option<&'a str>,
    /// The usage that the chain must grant, if any.
    pub usage: Option<&'a str>,
}

impl<'a> Demand<'a> {
    /// Creates a demand that requires validity at `now`, but no topic and no usage.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            topic: None,
            usage: None,
        }
    }

    /// Adds a topic to the demand.
    #[must_use]
    pub fn topic(self, topic: &'a str) -> Self {
        Self {
            topic: Some(topic),
            ..self
        }
    }

    /// Adds a usage to the demand.
    #[must_use]
    pub fn usage(self, usage: Usage) -> Self {
        Self {
            usage: Some(usage.as_str()),
            ..self
        }
    }
}

/// Verifies the signature of a certificate. The arguments are the signer's key, the signed certificate, and its index
/// in the chain. Returns the certificate without the signature.
pub(super) type VerifyLink<'f> =
    dyn for<'l> FnMut(&VerifyingKey, &'l [u8], usize) -> Result<&'l [u8], SignatureError> + 'f;

/// A chain as received: a list of signed certificates. In a valid chain, a root of trust signed the first certificate,
/// and each later certificate is signed by the key in the certificate before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedChain<'a> {
    links: Vec<&'a [u8]>,
}

/// The result of validation: the last certificate of a chain, under the constraints of all its certificates.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedChain {
    path: Vec<VerifyingKey>,
    /// The number of keys of `path` that signed a certificate of the chain.
    signers: usize,
    keys: CertificateKeys,
    extra: Vec<u8>,
    limits: Limits,
}

/// Encodes a chain of signed certificates.
#[must_use]
pub fn encode_chain(links: &[&[u8]]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.array(links.len());
    for link in links {
        writer.bytes(link);
    }
    writer.into_vec()
}

impl<'a> UnverifiedChain<'a> {
    /// Reads a chain.
    ///
    /// # Errors
    /// Returns the [`ChainError`] of one of the checks C01 and C02 if the chain is malformed, empty or too long.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ChainError> {
        let links = read_links(bytes)?;
        let (_, inner) = links.split_last().ok_or(ChainError::Length(0))?;
        if let Some(index) = inner.iter().position(|link| link.len() > MAX_LINK_LEN) {
            return Err(ChainError::LinkLength(index));
        }
        Ok(Self { links })
    }

    /// Returns the signed certificates.
    #[must_use]
    pub fn links(&self) -> &[&'a [u8]] {
        &self.links
    }

    /// Encodes this chain with one more signed certificate at its end.
    #[must_use]
    pub fn extended(&self, link: &[u8]) -> Vec<u8> {
        encode_chain(&[&self.links, &[link][..]].concat())
    }

    /// Validates the whole chain against one root of trust after the other, until the chain is valid under one of them
    /// and meets `demand` (protocol §6).
    ///
    /// Until the signature of a root verifies, this costs one Ed25519 verification for each root, and no constraint is
    /// evaluated. A [`SelfRevocation`] is not a chain from a root; see [`self_revocation`](Self::self_revocation).
    ///
    /// # Errors
    /// Returns [`ChainError::NoAllowlist`] if there is no allowlist, and [`ChainError::UnknownRoot`] if no root of
    /// trust signed the first certificate. Otherwise returns the [`ChainError`] of the check that refused the chain
    /// under the root that signed it.
    pub fn validate(
        &self,
        trust: &TrustStore,
        demand: &Demand<'_>,
    ) -> Result<ValidatedChain, ChainError> {
        self.validate_by(
            trust,
            demand,
            &mut |key, link, _| key.verify(link),
            &mut None,
        )
    }

    /// Validates like [`validate`](Self::validate), but verifies the signatures with `verify`. If a key of the chain is
    /// on the denylist, stores it in `denied`.
    pub(super) fn validate_by(
        &self,
        trust: &TrustStore,
        demand: &Demand<'_>,
        verify: &mut VerifyLink<'_>,
        denied: &mut Option<VerifyingKey>,
    ) -> Result<ValidatedChain, ChainError> {
        if trust.allowlist().is_none() {
            return Err(ChainError::NoAllowlist);
        }
        let mut refusal = ChainError::UnknownRoot;
        for (root, entry) in trust.roots() {
            match self.walk((root, entry), trust, demand, verify, denied) {
                Ok(chain) => return Ok(chain),
                Err(ChainError::UnknownRoot) => {}
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    fn walk(
        &self,
        (root, entry): (&VerifyingKey, &TrustEntry),
        trust: &TrustStore,
        demand: &Demand<'_>,
        verify: &mut VerifyLink<'_>,
        denied_by: &mut Option<VerifyingKey>,
    ) -> Result<ValidatedChain, ChainError> {
        let mut path = vec![root.clone()];
        let mut signers = 0;
        let mut limits = entry.limits().clone();
        let mut denied = false;
        let mut signer = Some(root.clone());
        let mut leaf = None;
        for (index, link) in self.links.iter().enumerate() {
            let not_a_signer = ChainError::NotASigner(index.saturating_sub(1));
            let key = signer.take().ok_or(not_a_signer)?;
            if broken(Rule::VerifiedBeforeEvaluated)
                && let Ok(certificate) = Certificate::parse_signed(link)
            {
                limits.clone().then(&certificate)?;
            }
            let bytes = verify(&key, link, index).map_err(|_| match index {
                0 => ChainError::UnknownRoot,
                _ => ChainError::Signature(index),
            })?;
            if trust.is_denied(&key) {
                denied = true;
                *denied_by = Some(key);
            } else if let Some(entry) = trust.allowed(&key) {
                denied = false;
                limits = limits.and(entry.limits())?;
            }
            let certificate = Certificate::parse(bytes)?;
            limits = limits.then(&certificate)?;
            signers = path.len();
            signer = certificate.keys.signer().cloned();
            path.extend(signer.clone());
            leaf = Some(certificate);
        }
        let leaf = leaf.ok_or(ChainError::Length(0))?;
        if let Some(key) = leaf.keys.signer().filter(|key| trust.is_denied(key)) {
            *denied_by = Some(key.clone());
        }
        let keys = permitted(leaf.keys, trust, denied)?;
        limits.require(demand)?;
        Ok(ValidatedChain {
            path,
            signers,
            keys,
            extra: leaf.extra.to_vec(),
            limits,
        })
    }

    /// Returns this chain as a self-revocation, or `None` if it does not have the layout of a self-revocation. Verifies
    /// no signature and compiles no regular expression.
    #[must_use]
    pub fn self_revocation(&self) -> Option<SelfRevocation<'a>> {
        let [outer, inner] = self.links.as_slice() else {
            return None;
        };
        let certificate = Certificate::parse(outer).ok()?;
        let key = certificate.keys.signer()?.clone();
        let restrictions = &certificate.restrictions;
        // The certificate states its usage, so its path length is 0 unless it states that one more certificate may
        // follow.
        let grants = restrictions.name_usage(Usage::Denylist);
        let has_room = restrictions.path_length().is_some_and(|left| left >= 1);
        (grants && has_room).then_some(SelfRevocation {
            key,
            max_age: certificate.max_age,
            signed: inner,
        })
    }
}

/// A message in which a key denies itself: an unsigned certificate for the denylist, then a certificate for the same
/// key, signed by this key itself.
///
/// Such a message needs no root of trust and does not expire. Anyone can create keys at no cost, so a node spends only
/// a small part of its time on the verification of such messages.
#[derive(Clone, Debug, PartialEq)]
pub struct SelfRevocation<'a> {
    key: VerifyingKey,
    max_age: MaxAge,
    signed: &'a [u8],
}

impl SelfRevocation<'_> {
    /// Returns the key that claims to deny itself. The claim is true only if [`verify`](Self::verify) succeeds.
    #[must_use]
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Verifies the one signature in the message. No root of trust needs to have certified the key.
    ///
    /// # Errors
    /// Returns the [`ChainError`] of one of the checks C05 to C08, C14 and C15 if the signature or a certificate is
    /// invalid.
    pub fn verify(&self) -> Result<ValidatedChain, ChainError> {
        self.judge(self.key.verify(self.signed))
    }

    /// Verifies like [`verify`](Self::verify), but only the Ed25519 half of a hybrid signature.
    pub(super) fn verify_ed25519(&self) -> Result<ValidatedChain, ChainError> {
        self.judge(self.key.verify_ed25519(self.signed))
    }

    fn judge(&self, signed: Result<&[u8], SignatureError>) -> Result<ValidatedChain, ChainError> {
        let inner = Certificate::parse(signed.map_err(|_| ChainError::Signature(1))?)?;
        if inner.keys.signer() != Some(&self.key) {
            return Err(ChainError::Signature(1));
        }
        if !inner.restrictions.name_usage(Usage::Denylist) {
            return Err(ChainError::Usage(Usage::Denylist.as_str().into()));
        }
        if inner
            .restrictions
            .path_length()
            .is_some_and(|left| left < 0)
        {
            return Err(ChainError::PathLength);
        }
        Ok(ValidatedChain {
            path: vec![self.key.clone()],
            signers: 1,
            extra: inner.extra.to_vec(),
            limits: Limits {
                max_age: self.max_age.earlier(inner.max_age),
                constraints: Constraints {
                    topics: None,
                    usages: Some(vec![Usage::Denylist.as_str().into()]),
                    path_length: Some(0),
                },
            },
            keys: inner.keys,
        })
    }
}

/// Reads the signed certificates of a chain. Checks their number before it reads the first of them.
fn read_links(bytes: &[u8]) -> Result<Vec<&[u8]>, ChainError> {
    let mut reader = Reader::new(bytes);
    let len = reader.array().map_err(ChainError::Encoding)?;
    if len == 0 || len > MAX_LINKS {
        return Err(ChainError::Length(len));
    }
    let links = (0..len).map(|_| reader.value()?.bytes());
    let links = links.collect::<Result<_, WireError>>();
    let links = links.map_err(ChainError::Encoding)?;
    reader.finish().map_err(ChainError::Encoding)?;
    Ok(links)
}

impl ValidatedChain {
    /// Returns the root of trust under which the chain was validated.
    #[must_use]
    pub fn root(&self) -> Option<&VerifyingKey> {
        self.path.first()
    }

    /// Returns the signing keys of the chain: the root, then the key of each certificate that has a single signing
    /// key.
    #[must_use]
    pub fn path(&self) -> &[VerifyingKey] {
        &self.path
    }

    /// Returns the keys that signed the certificates of the chain: the root first, and the signer of the last
    /// certificate last. Unlike the [path](Self::path), they do not include the key of the last certificate, which is
    /// an ephemeral key in some requests and replies.
    #[must_use]
    pub fn signers(&self) -> &[VerifyingKey] {
        self.path.get(..self.signers).unwrap_or_default()
    }

    /// Returns the keys of the last certificate. If the certificate has a list of keys, denied keys are left out.
    #[must_use]
    pub fn keys(&self) -> &CertificateKeys {
        &self.keys
    }

    /// Returns the elements after the keys in the last certificate.
    #[must_use]
    pub fn extra(&self) -> Vec<Value<'_>> {
        let mut reader = Reader::new(&self.extra);
        let mut elements = Vec::new();
        // Cannot fail: the bytes were read together with the certificate.
        while let Ok(element) = reader.value() {
            elements.push(element);
        }
        elements
    }

    /// Returns the encoded elements after the keys in the last certificate, concatenated.
    pub(super) fn extra_bytes(&self) -> &[u8] {
        &self.extra
    }

    /// Returns the constraints that result from all certificates together.
    #[must_use]
    pub fn constraints(&self) -> &Constraints {
        &self.limits.constraints
    }

    /// Returns whether the certificates together grant `usage`.
    #[must_use]
    pub fn grants(&self, usage: Usage) -> bool {
        let constraints = &self.limits.constraints;
        constraints.require(None, Some(usage.as_str())).is_ok()
    }

    /// Returns the end of the chain's validity: the earliest end of its certificates and of the root's entry.
    #[must_use]
    pub fn max_age(&self) -> MaxAge {
        self.limits.max_age
    }
}

impl Limits {
    fn then(self, child: &Certificate<'_>) -> Result<Self, ChainError> {
        Ok(Self {
            max_age: self.max_age.earlier(child.max_age),
            constraints: self.constraints.then(&child.restrictions.evaluate()?)?,
        })
    }

    fn and(self, entry: &Self) -> Result<Self, ChainError> {
        Ok(Self {
            max_age: self.max_age.earlier(entry.max_age),
            constraints: self.constraints.and(&entry.constraints)?,
        })
    }

    #[expect(clippy::cast_possible_truncation, reason = "whole seconds, for people")]
    fn require(&self, demand: &Demand<'_>) -> Result<(), ChainError> {
        if self.max_age.is_over(demand.now) {
            return Err(ChainError::Expired {
                end: self.max_age.secs() as i64,
                now: demand.now.as_secs() as i64,
            });
        }
        self.constraints.require(demand.topic, demand.usage)
    }
}

/// Returns the keys of the last certificate, without the denied keys of a list. `denied` is true if the lists deny the
/// key that signed the last certificate; a key of the last certificate that is on the allowlist lifts this denial.
/// Returns [`ChainError::Denied`] if a denial is not lifted or no key is left.
fn permitted(
    keys: CertificateKeys,
    trust: &TrustStore,
    denied: bool,
) -> Result<CertificateKeys, ChainError> {
    let is_denied = |key: &CertificateKey| key.as_signing().is_some_and(|key| trust.is_denied(key));
    let is_allowed = |key: &CertificateKey| {
        key.as_signing()
            .is_some_and(|key| trust.allowed(key).is_some())
    };
    match keys {
        CertificateKeys::Single(key) => {
            if is_denied(&key) || (denied && !is_allowed(&key)) {
                return Err(ChainError::Denied);
            }
            Ok(CertificateKeys::Single(key))
        }
        CertificateKeys::List(mut keys) => {
            keys.retain(|key| !is_denied(key));
            if keys.is_empty() || (denied && !keys.iter().any(is_allowed)) {
                return Err(ChainError::Denied);
            }
            Ok(CertificateKeys::List(keys))
        }
    }
}

impl UnverifiedChain<'_> {
    /// Returns the signing key for which the last certificate was made, or `None` if the certificate is malformed or is
    /// not for a single signing key. Nothing is verified. Callers use this to recognize a known key without the cost of
    /// verifying a signature.
    #[must_use]
    pub fn peek_key(&self) -> Option<VerifyingKey> {
        let last = Certificate::parse_signed(self.links().last()?).ok()?;
        last.keys.signer().cloned()
    }

    /// Returns the key that must have signed the last certificate: the key that the certificate before it names.
    /// Returns `None` if there is no such certificate or it is not for a single signing key. Nothing is verified.
    #[must_use]
    pub fn peek_signer(&self) -> Option<VerifyingKey> {
        let (_, before) = self.links().split_last()?;
        let certificate = Certificate::parse_signed(before.last()?).ok()?;
        certificate.keys.signer().cloned()
    }

    /// Returns the signing key that the chain claims to certify. All signatures except the first are verified.
    ///
    /// The first signature is not verified because no root of trust is known here. The result therefore proves nothing.
    /// Use this method only to pass the chain on to other nodes, which validate it.
    ///
    /// # Errors
    /// Returns the [`ChainError`] of the check C05 if a signature does not verify, of one of the checks C06 to C08 if a
    /// certificate is malformed, and of the check C10 if a certificate is not for a single signing key.
    pub fn claimed_key(&self) -> Result<VerifyingKey, ChainError> {
        let (first, rest) = self.links().split_first().ok_or(ChainError::Length(0))?;
        let mut key = signer_of(&Certificate::parse_signed(first)?, 0)?;
        for (index, link) in (1..).zip(rest) {
            let certificate = key.verify(link).map_err(|_| ChainError::Signature(index))?;
            key = signer_of(&Certificate::parse(certificate)?, index)?;
        }
        Ok(key)
    }
}

fn signer_of(certificate: &Certificate<'_>, index: usize) -> Result<VerifyingKey, ChainError> {
    let key = certificate.keys.signer().cloned();
    key.ok_or(ChainError::NotASigner(index))
}

/// The maximum number of verified certificates that are remembered. At this number, the least recently used
/// certificate is forgotten for each new one. Test: `verified_certificates_are_bounded`.
pub const MAX_VERIFIED: usize = 1024;

/// Remembers the certificates whose signatures verified under a trusted key, so that the signatures in the chains of
/// the same nodes need not be verified again.
///
/// Only the result for the signature is remembered. The validity and the lists are checked each time.
#[derive(Clone, Debug, Default)]
pub(super) struct VerifiedLinks {
    /// For each certificate, the value of `uses` at its last use. The map's key is a hash of the signer's key and the
    /// certificate.
    used: HashMap<[u8; 32], u64>,
    uses: u64,
}

impl VerifiedLinks {
    /// Verifies the signature of a certificate, unless it was verified before. Returns the certificate without the
    /// signature.
    pub(super) fn verify<'a>(
        &mut self,
        key: &VerifyingKey,
        link: &'a [u8],
    ) -> Result<&'a [u8], SignatureError> {
        let id = sha256(&[&key.short_hash(), link]);
        self.uses += 1;
        if let Some(used) = self.used.get_mut(&id) {
            *used = self.uses;
            return link
                .get(key.key_type().signature_len()..)
                .ok_or(SignatureError);
        }
        let message = key.verify(link)?;
        if self.used.len() >= MAX_VERIFIED {
            let oldest = self.used.iter().min_by_key(|(_, used)| **used);
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.used.remove(&oldest);
            }
        }
        self.used.insert(id, self.uses);
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Signer, SigningKey};
    use crate::secret::Secret;
    use crate::work::measure;

    #[test]
    fn verified_certificates_are_bounded() {
        use rand::SeedableRng;

        let key = SigningKey::from_ed25519_seed(&Secret::fill_with(|seed| seed.fill(1)));
        let mut rng = rand::rngs::StdRng::seed_from_u64(1);
        let mut sign = |number: usize| key.sign(&number.to_be_bytes(), &mut rng).unwrap();
        let signed: Vec<_> = (0..=MAX_VERIFIED).map(&mut sign).collect();
        let mut verified = VerifiedLinks::default();
        let mut verify = |link: &[u8]| {
            let (result, work) = measure(|| verified.verify(key.verifying_key(), link).is_ok());
            assert!(result);
            work.ed25519
        };
        signed.iter().for_each(|link| assert_eq!(verify(link), 1));
        assert_eq!(verify(&signed[MAX_VERIFIED]), 0);
        // The least recently used certificate has been forgotten.
        assert_eq!(verify(&signed[0]), 1);
        assert_eq!(verified.used.len(), MAX_VERIFIED);
    }
}
