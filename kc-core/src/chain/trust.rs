use std::collections::HashSet;

use super::constraints::Limits;
use super::{
    ANYTHING, Certificate, CertificateKey, ChainError, Constraints, MaxAge, TrustList, Usage,
    encode_certificate, intersect,
};
use crate::keys::{KeyType, VerifyingKey};

/// An entry of the allowlist or the denylist: an unsigned certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustEntry {
    bytes: Vec<u8>,
    limits: Limits,
    signer: Option<VerifyingKey>,
    keys: Vec<VerifyingKey>,
}

/// The public key of the *temporary root* that the peers put into a fresh configuration. Its private
/// key is public knowledge, so to trust it is to trust everybody (protocol §7).
pub const TEMPORARY_ROOT: VerifyingKey = VerifyingKey::Ed25519([
    0x1a, 0x13, 0xb0, 0xae, 0xcd, 0xd6, 0x75, 0x1c, 0x7d, 0xfa, 0x43, 0xe4, 0x32, 0x84, 0x32, 0x6a,
    0xd0, 0x1d, 0xbc, 0x20, 0xa8, 0xa0, 0x0b, 0x15, 0x66, 0x09, 0x2a, 0xb0, 0xa5, 0x42, 0x62, 0x0f,
]);

/// How many keys that deny themselves are remembered beside the denylist: anybody can make such keys.
pub const MAX_SELF_DENIED: usize = 65_536;

/// Whom a node trusts: its allowlist, whose keys are the roots of trust, and its denylist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrustStore {
    allowlist: Option<Vec<TrustEntry>>,
    denylist: Vec<TrustEntry>,
    /// Keys that deny themselves, by the first 16 bytes of the SHA-256 of their byte form.
    self_denied: HashSet<[u8; 16]>,
    allow_classical_root: bool,
}

impl TrustEntry {
    /// Reads an entry.
    ///
    /// # Errors
    /// The checks C06 to C09.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChainError> {
        let certificate = Certificate::parse(bytes)?;
        let signing = |key: &CertificateKey| key.as_signing().cloned();
        Ok(Self {
            bytes: bytes.to_vec(),
            signer: certificate.keys.signer().cloned(),
            keys: certificate
                .keys
                .as_slice()
                .iter()
                .filter_map(signing)
                .collect(),
            limits: Limits {
                max_age: certificate.max_age,
                constraints: certificate.restrictions.evaluate()?,
            },
        })
    }

    /// An entry without end or restriction, as provisioning writes it for a root of trust.
    #[must_use]
    pub fn unrestricted(key: &VerifyingKey) -> Self {
        let constraints = Constraints::default();
        let write_key = |writer: &mut _| key.write_to(writer);
        Self {
            bytes: encode_certificate(
                MaxAge::UNLIMITED,
                &constraints.encode(),
                write_key,
                (0, |_| {}),
            ),
            limits: Limits {
                max_age: MaxAge::UNLIMITED,
                constraints,
            },
            signer: Some(key.clone()),
            keys: vec![key.clone()],
        }
    }

    /// The entry's bytes, as stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The key that the entry is for; `None` if it is for none or several.
    #[must_use]
    pub fn key(&self) -> Option<&VerifyingKey> {
        self.signer.as_ref()
    }

    /// All signing keys that it is for. An entry of the denylist may be for several; a root of trust is one.
    #[must_use]
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }

    /// Until when it is valid.
    #[must_use]
    pub fn max_age(&self) -> MaxAge {
        self.limits.max_age
    }

    /// What it restricts its key to.
    #[must_use]
    pub fn constraints(&self) -> &Constraints {
        &self.limits.constraints
    }

    /// The same entry, for these topics, and for the exchange of keys alone: lists have no topics, so who is
    /// trusted for some topics must not update them.
    ///
    /// # Errors
    /// [`ChainError::NotASigner`] for an entry that is not for a single key, and the checks C08 and C09.
    pub fn within(&self, topics: Option<Vec<String>>) -> Result<Self, ChainError> {
        let exchange = [
            Usage::Encrypt,
            Usage::EncryptRequest,
            Usage::EncryptSubscribe,
        ];
        let exchange = exchange.map(|usage| usage.as_str().to_owned());
        let usages = self.limits.constraints.usages.clone();
        let constraints = Constraints {
            topics,
            usages: intersect(usages, Some(exchange.into()))?,
            ..self.limits.constraints.clone()
        };
        let key = self.signer.as_ref().ok_or(ChainError::NotASigner(0))?;
        Self::parse(&encode_certificate(
            self.limits.max_age,
            &constraints.encode(),
            |writer| key.write_to(writer),
            (0, |_| {}),
        ))
    }

    fn is_for_all_topics(&self) -> bool {
        let topics = self.limits.constraints.topics.as_ref();
        topics.is_none_or(|topics| topics.iter().any(|topic| topic == ANYTHING))
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    fn names(&self, key: &VerifyingKey) -> bool {
        self.keys.contains(key)
    }
}

impl TrustStore {
    /// With these lists. Without an allowlist nothing is trusted, not even a key that revokes itself.
    #[must_use]
    pub fn new(allowlist: Option<Vec<TrustEntry>>, denylist: Vec<TrustEntry>) -> Self {
        Self {
            allowlist,
            denylist,
            self_denied: HashSet::new(),
            allow_classical_root: false,
        }
    }

    /// Keeps an Ed25519 root in force although a hybrid root with the same Ed25519 key is trusted.
    /// Off by default, because it lets an attacker strip the post-quantum half.
    #[must_use]
    pub fn allow_classical_root(mut self, allow: bool) -> Self {
        self.allow_classical_root = allow;
        self
    }

    /// Adds an entry to a list.
    pub fn add(&mut self, list: TrustList, entry: TrustEntry) {
        match list {
            TrustList::Allow => self.allowlist.get_or_insert_default().push(entry),
            TrustList::Deny => self.denylist.push(entry),
        }
    }

    /// Remembers a key that denied itself. Returns whether there was room: see [`MAX_SELF_DENIED`].
    pub fn deny_self(&mut self, key: &VerifyingKey) -> bool {
        let has_room = self.self_denied.len() < MAX_SELF_DENIED;
        if has_room {
            self.self_denied.insert(key.short_hash());
        }
        has_room
    }

    /// How many keys that denied themselves are remembered beside the denylist.
    #[must_use]
    pub fn self_denied(&self) -> usize {
        self.self_denied.len()
    }

    /// As it would be if a list had no entry for a key.
    #[must_use]
    pub fn without(mut self, list: TrustList, key: &VerifyingKey) -> Self {
        let entries = match list {
            TrustList::Allow => self.allowlist.as_mut(),
            TrustList::Deny => Some(&mut self.denylist),
        };
        if let Some(entries) = entries {
            entries.retain(|entry| !entry.names(key));
        }
        self
    }

    /// Whether a list has an entry for a key; the denylist, whether the key denied itself, too.
    #[must_use]
    pub fn lists(&self, list: TrustList, key: &VerifyingKey) -> bool {
        (list == TrustList::Deny && self.denied_itself(key)) || self.has_entry(list, key)
    }

    pub(super) fn has_entry(&self, list: TrustList, key: &VerifyingKey) -> bool {
        let entries = match list {
            TrustList::Allow => self.allowlist.as_deref().unwrap_or_default(),
            TrustList::Deny => &self.denylist,
        };
        entries.iter().any(|entry| entry.names(key))
    }

    /// The allowlist, if there is one.
    #[must_use]
    pub fn allowlist(&self) -> Option<&[TrustEntry]> {
        self.allowlist.as_deref()
    }

    /// The denylist.
    #[must_use]
    pub fn denylist(&self) -> &[TrustEntry] {
        &self.denylist
    }

    /// The roots of trust in force, in order. [`TEMPORARY_ROOT`] is never one, whatever the list says, nor is
    /// the classical half of a denied hybrid key.
    pub fn roots(&self) -> impl Iterator<Item = (&VerifyingKey, &TrustEntry)> {
        let entries = self.allowlist.as_deref().unwrap_or_default();
        entries
            .iter()
            .filter_map(|entry| Some((entry.signer.as_ref()?, entry)))
            .filter(|(root, _)| **root != TEMPORARY_ROOT)
            .filter(|(root, _)| !self.is_half_of_a_denied_hybrid(root))
            .filter(|(root, _)| self.allow_classical_root || !self.is_half_of_a_hybrid_root(root))
    }

    pub(super) fn denied_itself(&self, key: &VerifyingKey) -> bool {
        !self.self_denied.is_empty() && self.self_denied.contains(&key.short_hash())
    }

    /// Returns whether the lists deny who signs with the last key of a path from a root: each key on the denylist
    /// denies what follows, and a root of trust further on restores it.
    #[must_use]
    pub fn denies(&self, path: &[VerifyingKey]) -> bool {
        path.iter().fold(false, |denied, key| {
            self.is_denied(key) || (denied && self.allowed(key).is_none())
        })
    }

    /// Returns whether a hybrid key on the denylist has this key as its classical half. Whoever can sign for
    /// the hybrid key can sign for the half, too, so the half is neither a root of trust nor restores trust.
    #[must_use]
    pub fn is_half_of_a_denied_hybrid(&self, key: &VerifyingKey) -> bool {
        let mut denied = self.denylist.iter().flat_map(TrustEntry::keys);
        denied.any(|denied| is_half_of(key, denied))
    }

    pub(super) fn is_denied(&self, key: &VerifyingKey) -> bool {
        self.lists(TrustList::Deny, key)
    }

    /// The entry of a root in force: what is no root cannot restore trust in a denied chain either.
    pub(super) fn allowed(&self, key: &VerifyingKey) -> Option<&TrustEntry> {
        let mut roots = self.roots();
        roots.find_map(|(root, entry)| (root == key).then_some(entry))
    }

    fn is_half_of_a_hybrid_root(&self, root: &VerifyingKey) -> bool {
        let entries = self.allowlist.as_deref().unwrap_or_default();
        entries
            .iter()
            .filter(|entry| entry.is_for_all_topics())
            .filter_map(TrustEntry::key)
            .any(|other| is_half_of(root, other))
    }
}

fn is_half_of(key: &VerifyingKey, hybrid: &VerifyingKey) -> bool {
    key.key_type() == KeyType::Ed25519
        && hybrid.key_type() == KeyType::Hybrid
        && hybrid.ed25519() == key.ed25519()
}
