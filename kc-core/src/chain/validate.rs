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

/// How many certificates a chain may have: each costs the verification of a signature.
pub const MAX_LINKS: usize = 16;

/// How long a signed certificate before the last may be, in bytes. One signed by a hybrid key has 17,152 bytes of
/// signatures.
pub const MAX_LINK_LEN: usize = 32 * 1024;

/// What a chain is to prove.
#[derive(Clone, Copy, Debug)]
pub struct Demand<'a> {
    /// The time at which it must hold.
    pub now: Timestamp,
    /// The topic it must be granted for, if any.
    pub topic: Option<&'a str>,
    /// The usage it must be granted for, if any.
    pub usage: Option<&'a str>,
}

impl<'a> Demand<'a> {
    /// Validity alone.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            now,
            topic: None,
            usage: None,
        }
    }

    /// Also this topic.
    #[must_use]
    pub fn topic(self, topic: &'a str) -> Self {
        Self {
            topic: Some(topic),
            ..self
        }
    }

    /// Also this usage.
    #[must_use]
    pub fn usage(self, usage: Usage) -> Self {
        Self {
            usage: Some(usage.as_str()),
            ..self
        }
    }
}

/// Verifies a certificate signed by a key, at this place of its chain, and gives what was signed.
pub(super) type VerifyLink<'f> =
    dyn for<'l> FnMut(&VerifyingKey, &'l [u8], usize) -> Result<&'l [u8], SignatureError> + 'f;

/// A chain as received: a list of signed certificates, the first signed by a root of trust, each
/// other by the key in the one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnverifiedChain<'a> {
    links: Vec<&'a [u8]>,
}

/// What a chain proved: its last certificate, under the restrictions of all.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedChain {
    path: Vec<VerifyingKey>,
    keys: CertificateKeys,
    extra: Vec<u8>,
    limits: Limits,
}

/// The bytes of a chain of signed certificates.
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
    /// The checks C01 and C02.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ChainError> {
        let links = read_links(bytes)?;
        let (_, inner) = links.split_last().ok_or(ChainError::Length(0))?;
        if let Some(index) = inner.iter().position(|link| link.len() > MAX_LINK_LEN) {
            return Err(ChainError::LinkLength(index));
        }
        Ok(Self { links })
    }

    /// The signed certificates.
    #[must_use]
    pub fn links(&self) -> &[&'a [u8]] {
        &self.links
    }

    /// The bytes of this chain with one more signed certificate at its end.
    #[must_use]
    pub fn extended(&self, link: &[u8]) -> Vec<u8> {
        encode_chain(&[&self.links, &[link][..]].concat())
    }

    /// Walks the chain from each root of trust until it proves what is demanded (protocol §6).
    ///
    /// Until the signature of a root verifies, this costs one Ed25519 verification for each root, and nothing is
    /// evaluated. A [`SelfRevocation`] is no chain from a root: see [`self_revocation`](Self::self_revocation).
    ///
    /// # Errors
    /// The check that refused; with several roots, that of the root that led furthest.
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

    /// As [`validate`](Self::validate), verifying signatures by `verify`. Gives the key that made the chain denied to
    /// `denied`.
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
        let mut limits = entry.limits().clone();
        let mut denied = false;
        let mut signer = Some(root.clone());
        let mut leaf = None;
        for (index, link) in self.links.iter().enumerate() {
            let key = signer.take().ok_or(ChainError::NotASigner(index))?;
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
            keys,
            extra: leaf.extra.to_vec(),
            limits,
        })
    }

    /// This chain as a self-revocation, if it is laid out as one. Verifies nothing, and compiles nothing.
    #[must_use]
    pub fn self_revocation(&self) -> Option<SelfRevocation<'a>> {
        let [outer, inner] = self.links.as_slice() else {
            return None;
        };
        let certificate = Certificate::parse(outer).ok()?;
        let key = certificate.keys.signer()?.clone();
        let restrictions = &certificate.restrictions;
        // It names its usage, so that its path length is 0 unless it has room for one more certificate.
        let grants = restrictions.name_usage(Usage::Denylist);
        let has_room = restrictions.path_length().is_some_and(|left| left >= 1);
        (grants && has_room).then_some(SelfRevocation {
            key,
            max_age: certificate.max_age,
            signed: inner,
        })
    }
}

/// Any key may deny itself: an unsigned certificate for the denylist, then one for the same key that it signed. It
/// has no need of a root, and it does not expire. Anybody can make keys, so whoever verifies such messages gives
/// them a small part of the time.
#[derive(Clone, Debug, PartialEq)]
pub struct SelfRevocation<'a> {
    key: VerifyingKey,
    max_age: MaxAge,
    signed: &'a [u8],
}

impl SelfRevocation<'_> {
    /// The key that denies itself, if the signature verifies.
    #[must_use]
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Verifies it: one signature, by a key that nobody certified.
    ///
    /// # Errors
    /// The checks C05 to C08, C14 and C15.
    pub fn verify(&self) -> Result<ValidatedChain, ChainError> {
        self.judge(self.key.verify(self.signed))
    }

    /// As [`verify`](Self::verify), but of a hybrid signature the Ed25519 half alone.
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

/// The links of a chain: their number is looked at before any of them.
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
    /// The root of trust it was validated under.
    #[must_use]
    pub fn root(&self) -> Option<&VerifyingKey> {
        self.path.first()
    }

    /// The signing keys along it: the root first, then each certificate's that has a single one.
    #[must_use]
    pub fn path(&self) -> &[VerifyingKey] {
        &self.path
    }

    /// What the last certificate is for; denied keys of a list are gone.
    #[must_use]
    pub fn keys(&self) -> &CertificateKeys {
        &self.keys
    }

    /// The further elements of the last certificate.
    #[must_use]
    pub fn extra(&self) -> Vec<Value<'_>> {
        let mut reader = Reader::new(&self.extra);
        let mut elements = Vec::new();
        // The bytes were read when the certificate was.
        while let Ok(element) = reader.value() {
            elements.push(element);
        }
        elements
    }

    /// Their bytes, one after the other.
    pub(super) fn extra_bytes(&self) -> &[u8] {
        &self.extra
    }

    /// What all certificates together allow.
    #[must_use]
    pub fn constraints(&self) -> &Constraints {
        &self.limits.constraints
    }

    /// Whether they allow a usage.
    #[must_use]
    pub fn grants(&self, usage: Usage) -> bool {
        let constraints = &self.limits.constraints;
        constraints.require(None, Some(usage.as_str())).is_ok()
    }

    /// When the first of them ends.
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
            return Err(ChainError::Expired(self.max_age.secs() as i64));
        }
        self.constraints.require(demand.topic, demand.usage)
    }
}

/// What the lists leave of the last certificate's keys, given whether the chain is denied so far.
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
    /// The signing key that the last certificate names, before anything is verified: to pass over what is known
    /// without looking at signatures.
    #[must_use]
    pub fn peek_key(&self) -> Option<VerifyingKey> {
        let last = Certificate::parse_signed(self.links().last()?).ok()?;
        last.keys.signer().cloned()
    }

    /// The signing key that signed the last certificate, as the one before names it, before anything is verified.
    #[must_use]
    pub fn peek_signer(&self) -> Option<VerifyingKey> {
        let (_, before) = self.links().split_last()?;
        let certificate = Certificate::parse_signed(before.last()?).ok()?;
        certificate.keys.signer().cloned()
    }

    /// The signing key that the chain certifies, if whoever signed its first certificate is to be trusted:
    /// all other signatures are verified. For those who pass a chain on; it proves nothing.
    ///
    /// # Errors
    /// The checks C02 and C05 to C10.
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
    key.ok_or(ChainError::NotASigner(index + 1))
}

/// How many verified certificates are remembered.
pub const MAX_VERIFIED: usize = 1024;

/// The certificates whose signature verified under a trusted key, so that the chains of the same nodes are not
/// verified again and again. Validity and the lists are looked at each time: only the signature is remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct VerifiedLinks {
    /// When each was last used, by the hash of its signer and itself.
    used: HashMap<[u8; 32], u64>,
    uses: u64,
}

impl VerifiedLinks {
    /// Verifies a signed certificate, unless that has been done.
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
