//! Trust that changes at run time (protocol §8): entries for the lists, and new chains for a node's keys.

use std::fmt;

use thiserror::Error;

use super::{
    ANYTHING, Certificate, ChainError, Constraints, Demand, SelfRevocation, TrustEntry, TrustStore,
    UnverifiedChain, Usage, ValidatedChain, intersect,
};
use crate::keys::{KeyType, VerifyingKey};
use crate::types::{ManagementTopic, Timestamp};
use crate::wire::{Reader, Value};

/// Which of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrustList {
    /// The allowlist: roots of trust.
    Allow,
    /// The denylist: revoked keys.
    Deny,
}

/// Why an update is not taken. Always the fault of its sender.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The sender's chain does not prove what the update needs.
    #[error("sender's chain: {0}")]
    Chain(#[from] ChainError),
    /// What should be a list entry is none.
    #[error("malformed entry: {0}")]
    Entry(&'static str),
    /// The entry is for another key than the chain.
    #[error("the entry is for another key than its chain")]
    EntryKey,
    /// The list has an entry for the key.
    #[error("the list has an entry for this key")]
    Present,
    /// The denylist has no room for keys that deny themselves; those that a root denies still come in.
    #[error("no room for more keys that deny themselves")]
    Full,
    /// A hybrid root would put a classical one out of force, and is not certified by it.
    #[error("a hybrid root that its classical half did not certify")]
    OtherHalf,
    /// The chain certifies another key than this node's.
    #[error("a chain for another key")]
    OtherKey,
    /// The chain ends before the one in use.
    #[error("the chain ends before the one in use")]
    EndsEarlier,
}

/// The number of a step that looks at an update, beside those of chain validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum UpdateCheck {
    /// M01: the chain's last certificate carries an entry.
    Entry,
    /// M02: entry and chain are for the same key.
    EntryKey,
    /// M03: the list has no entry for the key yet.
    Present,
    /// M04: the chain is for this node's key.
    OtherKey,
    /// M05: the chain ends no earlier than the one in use.
    EndsEarlier,
    /// M06: the denylist has room for keys that deny themselves.
    Full,
    /// M07: a hybrid root that replaces a classical one is certified by it.
    OtherHalf,
}

/// No entry of a list that arrives is longer, in bytes.
pub const MAX_ENTRY_LEN: usize = 4096;

impl TrustList {
    /// What a chain must be granted to extend the list.
    #[must_use]
    pub fn usage(self) -> Usage {
        match self {
            Self::Allow => Usage::Allowlist,
            Self::Deny => Usage::Denylist,
        }
    }

    /// The list's topic.
    #[must_use]
    pub fn topic(self) -> ManagementTopic {
        match self {
            Self::Allow => ManagementTopic::Allowlist,
            Self::Deny => ManagementTopic::Denylist,
        }
    }

    /// The list's name: that of its topic by default, and of its section.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allowlist",
            Self::Deny => "denylist",
        }
    }

    /// Judges a message from the list's topic: a chain that is granted the list's usage by a root of trust, whose last
    /// certificate carries an unsigned certificate for the same key as its fourth element.
    ///
    /// What comes into the allowlist is limited to the topics of the chain that brought it, and to the exchange
    /// of keys if these are not all. Keys that deny themselves are not taken here: see [`Self::judge`].
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn accept(
        self,
        message: &[u8],
        trust: &TrustStore,
        now: Timestamp,
    ) -> Result<TrustEntry, UpdateError> {
        let demand = Demand::at(now).usage(self.usage());
        let chain = UnverifiedChain::parse(message)?.validate(trust, &demand)?;
        let entry = carried_entry(&chain)?;
        let entry =
            TrustEntry::parse(entry).map_err(|_| UpdateError::Entry("not a certificate"))?;
        let key = entry.key().ok_or(UpdateError::EntryKey)?;
        if chain.keys().signer() != Some(key) {
            return Err(UpdateError::EntryKey);
        }
        if trust.lists(self, key) {
            return Err(UpdateError::Present);
        }
        match self {
            Self::Allow if !may_replace_half(chain.root(), key, trust) => {
                Err(UpdateError::OtherHalf)
            }
            Self::Allow => Ok(within_topics(entry, chain.constraints())?),
            Self::Deny => Ok(entry),
        }
    }

    /// As [`accept`](Self::accept), of a key that denies itself as well: costs one more signature, by a key that
    /// nobody certified. For messages that a person has at hand; a node gives what comes from a topic a small part
    /// of its time.
    ///
    /// # Errors
    /// [`UpdateError`].
    pub fn judge(
        self,
        message: &[u8],
        trust: &TrustStore,
        now: Timestamp,
    ) -> Result<TrustEntry, UpdateError> {
        let refusal = match self.accept(message, trust, now) {
            Err(refusal @ UpdateError::Chain(ChainError::UnknownRoot)) if self == Self::Deny => {
                refusal
            }
            judged => return judged,
        };
        match UnverifiedChain::parse(message)?.self_revocation() {
            Some(revocation) => accept_self_revocation(&revocation, trust),
            None => Err(refusal),
        }
    }
}

/// Verifies that a key denies itself. The entry is the canonical one for the key, whatever the message carries beside
/// the key.
///
/// # Errors
/// [`UpdateError`]; `Present` if the key is on the denylist.
pub fn accept_self_revocation(
    revocation: &SelfRevocation<'_>,
    trust: &TrustStore,
) -> Result<TrustEntry, UpdateError> {
    if trust.lists(TrustList::Deny, revocation.key()) {
        return Err(UpdateError::Present);
    }
    judge_self_revocation(revocation, &revocation.verify()?)
}

/// Judges what a verified self-revocation carries.
pub(super) fn judge_self_revocation(
    revocation: &SelfRevocation<'_>,
    chain: &ValidatedChain,
) -> Result<TrustEntry, UpdateError> {
    let named = Certificate::parse(carried_entry(chain)?);
    let named = named.map_err(|_| UpdateError::Entry("not a certificate"))?;
    if named.keys.signer() != Some(revocation.key()) {
        return Err(UpdateError::EntryKey);
    }
    Ok(TrustEntry::unrestricted(revocation.key()))
}

/// The fourth element of the last certificate: the bytes of an entry.
fn carried_entry(chain: &ValidatedChain) -> Result<&[u8], UpdateError> {
    match Reader::new(chain.extra_bytes()).value() {
        Ok(Value::Bytes(entry) | Value::Raw(entry)) if entry.len() > MAX_ENTRY_LEN => {
            Err(UpdateError::Entry("too long"))
        }
        Ok(Value::Bytes(entry) | Value::Raw(entry)) => Ok(entry),
        Ok(_) => Err(UpdateError::Entry("not a byte string")),
        Err(_) => Err(UpdateError::Entry("there is none")),
    }
}

/// Looks at a new chain for a node's own key: it must be valid, certify this key, and end no earlier than
/// the chain in use, if that is valid.
///
/// # Errors
/// [`UpdateError`].
pub fn accept_chain(
    key: &VerifyingKey,
    in_use: Option<&[u8]>,
    chain: &[u8],
    trust: &TrustStore,
    now: Timestamp,
) -> Result<(), UpdateError> {
    let validate = |chain| UnverifiedChain::parse(chain)?.validate(trust, &Demand::at(now));
    let new = validate(chain)?;
    if new.keys().signer() != Some(key) {
        return Err(UpdateError::OtherKey);
    }
    // Whatever a node signs is one more certificate. So a node's own certificate cannot certify others either.
    if new.constraints().path_length.is_some_and(|left| left < 1) {
        return Err(ChainError::PathLength.into());
    }
    let old = in_use.and_then(|chain| validate(chain).ok());
    let old = old.filter(|old| old.keys().signer() == Some(key));
    match old.filter(|old| new.max_age().is_before(old.max_age())) {
        Some(_) => Err(UpdateError::EndsEarlier),
        None => Ok(()),
    }
}

/// Whether a key may come onto the allowlist although that puts its classical half out of force as a root.
fn may_replace_half(by: Option<&VerifyingKey>, key: &VerifyingKey, trust: &TrustStore) -> bool {
    let half = VerifyingKey::Ed25519(*key.ed25519());
    key.key_type() == KeyType::Ed25519 || !trust.lists(TrustList::Allow, &half) || by == Some(&half)
}

fn within_topics(entry: TrustEntry, chain: &Constraints) -> Result<TrustEntry, ChainError> {
    let unlimited = |topics: &Vec<String>| topics.iter().any(|topic| topic == ANYTHING);
    match &chain.topics {
        Some(topics) if !unlimited(topics) => {
            let own = entry.constraints().topics.clone();
            let topics = intersect(Some(topics.clone()), own)?;
            entry.within(topics)
        }
        _ => Ok(entry),
    }
}

impl UpdateError {
    /// The check that refused; `None` for one of chain validation.
    #[must_use]
    pub fn check(&self) -> Option<UpdateCheck> {
        Some(match self {
            Self::Chain(_) => return None,
            Self::Entry(_) => UpdateCheck::Entry,
            Self::EntryKey => UpdateCheck::EntryKey,
            Self::Present => UpdateCheck::Present,
            Self::OtherKey => UpdateCheck::OtherKey,
            Self::EndsEarlier => UpdateCheck::EndsEarlier,
            Self::Full => UpdateCheck::Full,
            Self::OtherHalf => UpdateCheck::OtherHalf,
        })
    }
}

impl UpdateCheck {
    /// All checks, in the order of their numbers.
    pub const ALL: [Self; 7] = [
        Self::Entry,
        Self::EntryKey,
        Self::Present,
        Self::OtherKey,
        Self::EndsEarlier,
        Self::Full,
        Self::OtherHalf,
    ];
}

impl fmt::Display for UpdateCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "M{:02}", *self as u8 + 1)
    }
}
