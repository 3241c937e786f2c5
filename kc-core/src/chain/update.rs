//! Changes of trust at run time (protocol §8): entries for the lists, and new chains for a node's keys.

use std::fmt;

use thiserror::Error;

use super::{
    ANYTHING, Certificate, ChainError, Constraints, Demand, SelfRevocation, TrustEntry, TrustStore,
    UnverifiedChain, Usage, ValidatedChain, intersect,
};
use crate::keys::{KeyType, VerifyingKey};
use crate::types::{ManagementTopic, Timestamp};
use crate::wire::{Reader, Value};

/// One of the two lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrustList {
    /// The allowlist: roots of trust.
    Allow,
    /// The denylist: revoked keys.
    Deny,
}

/// A reason why an update is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The chain of the update is not valid, or does not grant a right that the update requires. If the update is a new
    /// chain of this node, its chain is the new chain itself.
    #[error("the chain of the update was refused: {0}{hint}", hint = .0.clock_hint())]
    Chain(#[from] ChainError),
    /// The entry for the list is missing or malformed.
    #[error("malformed entry: {0}")]
    Entry(&'static str),
    /// The entry is for another key than the chain, or one of the two is not for a single signing key.
    #[error("the entry and its chain are not for the same single key")]
    EntryKey,
    /// The list already has an entry for the key.
    #[error("the list already has an entry for this key")]
    Present,
    /// The denylist has no room for more keys that deny themselves. A root of trust can still deny keys.
    #[error("the denylist has no room for more keys that deny themselves")]
    Full,
    /// The entry is for a hybrid root that would replace its classical half as a root of trust, but the chain does not
    /// begin with the classical half.
    #[error(
        "the hybrid root would replace its classical half, but that half is not the root of the chain"
    )]
    OtherHalf,
    /// The chain is meant for a key of this node, but certifies another key.
    #[error("the chain is meant for one key of this node, but certifies another key")]
    OtherKey,
    /// The new chain expires earlier than the chain in use.
    #[error("the new chain ends at {new}, but the chain in use {}", shown_end(*.in_use))]
    EndsEarlier {
        /// The end of the new chain.
        new: Timestamp,
        /// The end of the chain in use, or `None` if it has no end.
        in_use: Option<Timestamp>,
    },
}

/// The number of a check of an update, in addition to those of chain validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum UpdateCheck {
    /// M01: the chain's last certificate carries an entry.
    Entry,
    /// M02: the entry and the chain are for the same single signing key.
    EntryKey,
    /// M03: the list has no entry for the key.
    Present,
    /// M04: the chain is for this node's key.
    OtherKey,
    /// M05: the new chain ends no earlier than the chain in use.
    EndsEarlier,
    /// M06: the denylist has room for keys that deny themselves.
    Full,
    /// M07: a hybrid root that replaces its classical half is certified by a chain with this half as its root.
    OtherHalf,
}

/// The maximum length of a received list entry, in bytes. Test: `an_entry_that_is_too_long_is_refused`.
pub const MAX_ENTRY_LEN: usize = 4096;

impl TrustList {
    /// Returns the usage that a chain must grant to extend the list.
    #[must_use]
    pub fn usage(self) -> Usage {
        match self {
            Self::Allow => Usage::Allowlist,
            Self::Deny => Usage::Denylist,
        }
    }

    /// Returns the list's topic.
    #[must_use]
    pub fn topic(self) -> ManagementTopic {
        match self {
            Self::Allow => ManagementTopic::Allowlist,
            Self::Deny => ManagementTopic::Denylist,
        }
    }

    /// Returns the list's name. The list's section in the node's configuration has the same name. By default, the
    /// list's topic also has this name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Allow => "allowlist",
            Self::Deny => "denylist",
        }
    }

    /// Validates a message from the list's topic and returns its entry.
    ///
    /// The message is a chain to which a root of trust grants the list's usage. The fourth element of its last
    /// certificate is the entry: an unsigned certificate for the same key. If the chain lists topics without
    /// [`ANYTHING`], an entry for the allowlist is restricted to these topics and to the usages of the key exchange.
    /// Self-revocations are not accepted here; see [`judge`](Self::judge).
    ///
    /// # Errors
    /// Returns [`UpdateError::Chain`] if the chain is not valid or does not grant the usage, [`UpdateError::Entry`] if
    /// the entry is missing or malformed, [`UpdateError::EntryKey`] if the entry and the chain are not for the same
    /// single signing key, and [`UpdateError::Present`] if the list already has an entry for the key. Returns
    /// [`UpdateError::OtherHalf`] if a hybrid key may not replace its classical half on the allowlist.
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

    /// Validates like [`accept`](Self::accept), but also accepts a self-revocation if this is the denylist.
    ///
    /// A self-revocation costs the verification of one more signature, and any key can make one, even a key that no
    /// root of trust has certified. Use this method for messages that an operator provides. For messages from a topic,
    /// use [`Trust`](super::Trust), which limits the time for these verifications.
    ///
    /// # Errors
    /// Returns an [`UpdateError`] like [`accept`](Self::accept).
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

/// Verifies a self-revocation and returns the canonical entry of its key. This entry has no end and no constraints,
/// even if the entry in the message has some.
///
/// # Errors
/// Returns [`UpdateError::Present`] if the key is already on the denylist, [`UpdateError::Chain`] if the signature does
/// not verify or a certificate is invalid, [`UpdateError::Entry`] if the entry is missing or malformed, and
/// [`UpdateError::EntryKey`] if the entry is for another key.
pub(super) fn accept_self_revocation(
    revocation: &SelfRevocation<'_>,
    trust: &TrustStore,
) -> Result<TrustEntry, UpdateError> {
    if trust.lists(TrustList::Deny, revocation.key()) {
        return Err(UpdateError::Present);
    }
    judge_self_revocation(revocation, &revocation.verify()?)
}

/// Checks the entry in a self-revocation, whose signature the caller has verified. Returns the canonical entry of the
/// key that signed.
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

/// Returns the fourth element of the last certificate: the bytes of an entry.
fn carried_entry(chain: &ValidatedChain) -> Result<&[u8], UpdateError> {
    match Reader::new(chain.extra_bytes()).value() {
        Ok(Value::Bytes(entry) | Value::Raw(entry)) if entry.len() > MAX_ENTRY_LEN => {
            Err(UpdateError::Entry("too long"))
        }
        Ok(Value::Bytes(entry) | Value::Raw(entry)) => Ok(entry),
        Ok(_) => Err(UpdateError::Entry("not a byte string")),
        Err(_) => Err(UpdateError::Entry("the last certificate carries no entry")),
    }
}

/// Checks a new chain for a node's own key: it must be valid, certify this key, and leave room for one more
/// certificate. If the chain in use is valid, the new chain must not end earlier.
///
/// # Errors
/// Returns the [`UpdateError`] of the check that refused the chain.
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
    // Each message that a node signs is one more certificate. A node's own certificate therefore leaves no room for
    // certifying others.
    if new.constraints().path_length.is_some_and(|left| left < 1) {
        return Err(ChainError::PathLength.into());
    }
    let old = in_use.and_then(|chain| validate(chain).ok());
    let old = old.filter(|old| old.keys().signer() == Some(key));
    match (new.max_age().timestamp(), old) {
        (Some(end), Some(old)) if new.max_age().is_before(old.max_age()) => {
            Err(UpdateError::EndsEarlier {
                new: end,
                in_use: old.max_age().timestamp(),
            })
        }
        _ => Ok(()),
    }
}

fn shown_end(end: Option<Timestamp>) -> String {
    end.map_or_else(|| "has no end".to_owned(), |end| format!("ends at {end}"))
}

/// Returns whether a chain with the root `by` may add `key` to the allowlist. A hybrid key on the allowlist can put its
/// classical half out of force as a root. If this half is on the allowlist, only a chain with this half as its root may
/// therefore add the hybrid key.
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
    /// Returns the check that refused the update, or `None` if it was a check of chain validation.
    #[must_use]
    pub fn check(&self) -> Option<UpdateCheck> {
        Some(match self {
            Self::Chain(_) => return None,
            Self::Entry(_) => UpdateCheck::Entry,
            Self::EntryKey => UpdateCheck::EntryKey,
            Self::Present => UpdateCheck::Present,
            Self::OtherKey => UpdateCheck::OtherKey,
            Self::EndsEarlier { .. } => UpdateCheck::EndsEarlier,
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
