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

/// The public key of the *temporary root*, which the peers put into a new configuration.
///
/// Its private key is public knowledge, so a node that trusted it would trust everyone (protocol §7).
pub const TEMPORARY_ROOT: VerifyingKey = VerifyingKey::Ed25519([
    0x1a, 0x13, 0xb0, 0xae, 0xcd, 0xd6, 0x75, 0x1c, 0x7d, 0xfa, 0x43, 0xe4, 0x32, 0x84, 0x32, 0x6a,
    0xd0, 0x1d, 0xbc, 0x20, 0xa8, 0xa0, 0x0b, 0x15, 0x66, 0x09, 0x2a, 0xb0, 0xa5, 0x42, 0x62, 0x0f,
]);

/// The maximum number of keys that denied themselves and are remembered apart from the denylist. Anyone can create such
/// keys. At this number, the self-revocations of further keys that are not in use are refused. Test:
/// `invented_keys_do_not_switch_self_revocation_off`.
pub const MAX_SELF_DENIED: usize = 65_536;

/// The lists of a node: the allowlist, whose keys are the roots of trust, and the denylist.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrustStore {
    allowlist: Option<Vec<TrustEntry>>,
    denylist: Vec<TrustEntry>,
    /// Keys that denied themselves, as the first 16 bytes of the SHA-256 of their byte form.
    self_denied: HashSet<[u8; 16]>,
    allow_classical_root: bool,
}

impl TrustEntry {
    /// Reads an entry.
    ///
    /// # Errors
    /// Returns the [`ChainError`] of one of the checks C06 to C09 if the entry is malformed.
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

    /// Creates an entry without end or constraint, as provisioning writes it for a root of trust.
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

    /// Returns the entry's bytes, as stored.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the key of the entry, or `None` if the entry is not for a single signing key.
    #[must_use]
    pub fn key(&self) -> Option<&VerifyingKey> {
        self.signer.as_ref()
    }

    /// Returns all signing keys of the entry. An entry of the denylist may have several; a root of trust has one.
    #[must_use]
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.keys
    }

    /// Returns the end of the entry's validity.
    #[must_use]
    pub fn max_age(&self) -> MaxAge {
        self.limits.max_age
    }

    /// Returns the constraints of the entry's key.
    #[must_use]
    pub fn constraints(&self) -> &Constraints {
        &self.limits.constraints
    }

    /// Returns the same entry with `topics` as its topics, and restricted to the usages of the key exchange.
    ///
    /// The usages for extending the lists are removed because the lists apply to all topics: a key that is trusted
    /// for only some topics must not extend the lists.
    ///
    /// # Errors
    /// Returns [`ChainError::NotASingleKey`] if the entry is not for a single key, and the error of one of the checks
    /// C08 and C09 if the constraints are invalid.
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
        let key = self.signer.as_ref().ok_or(ChainError::NotASingleKey)?;
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
    /// Creates the lists. Without an allowlist nothing is trusted.
    #[must_use]
    pub fn new(allowlist: Option<Vec<TrustEntry>>, denylist: Vec<TrustEntry>) -> Self {
        Self {
            allowlist,
            denylist,
            self_denied: HashSet::new(),
            allow_classical_root: false,
        }
    }

    /// If `allow` is true, an Ed25519 root of the allowlist stays in force, even if a hybrid root with the same Ed25519
    /// key is trusted.
    ///
    /// This is off by default: an attacker that can forge Ed25519 signatures could build chains from the Ed25519 root,
    /// and so avoid the post-quantum half of the hybrid root.
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

    /// Remembers a key that denied itself. Returns whether there was room; see [`MAX_SELF_DENIED`].
    pub(super) fn deny_self(&mut self, key: &VerifyingKey) -> bool {
        let has_room = self.self_denied.len() < MAX_SELF_DENIED;
        if has_room {
            self.self_denied.insert(key.short_hash());
        }
        has_room
    }

    /// Returns the number of keys that denied themselves and are remembered apart from the denylist.
    #[must_use]
    pub fn self_denied(&self) -> usize {
        self.self_denied.len()
    }

    /// Removes all entries for `key` from a list.
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

    /// Returns whether a list has an entry for `key`. A key that denied itself counts as an entry of the denylist.
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

    /// Returns the allowlist, if there is one.
    #[must_use]
    pub fn allowlist(&self) -> Option<&[TrustEntry]> {
        self.allowlist.as_deref()
    }

    /// Returns the denylist.
    #[must_use]
    pub fn denylist(&self) -> &[TrustEntry] {
        &self.denylist
    }

    /// Returns the roots of trust in force, in the order of the list.
    ///
    /// [`TEMPORARY_ROOT`] and the classical half of a denied hybrid key are never in force. The classical half of a
    /// hybrid root for all topics is in force only with [`allow_classical_root`](Self::allow_classical_root).
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

    /// Returns whether the lists deny the last key of a path from a root: a denied key also denies the keys that
    /// follow, up to the next root of trust.
    #[must_use]
    pub fn denies(&self, path: &[VerifyingKey]) -> bool {
        path.iter().fold(false, |denied, key| {
            self.is_denied(key) || (denied && self.allowed(key).is_none())
        })
    }

    /// Returns whether `key` is the classical half of a hybrid key on the denylist.
    ///
    /// The holder of the hybrid key can also sign with the half alone. The half is therefore not a root of trust, and
    /// does not restore trust in a denied chain.
    #[must_use]
    pub fn is_half_of_a_denied_hybrid(&self, key: &VerifyingKey) -> bool {
        let mut denied = self.denylist.iter().flat_map(TrustEntry::keys);
        denied.any(|denied| is_half_of(key, denied))
    }

    pub(super) fn is_denied(&self, key: &VerifyingKey) -> bool {
        self.lists(TrustList::Deny, key)
    }

    /// Returns the entry of `key` if `key` is a root in force. Other keys cannot restore trust in a denied chain.
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
