use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::expiry::Expiry;
use super::revocations::Revocations;
use super::update::{accept_self_revocation, judge_self_revocation};
use super::validate::VerifiedLinks;
use super::{
    ChainError, Check, Demand, Identity, SelfRevocation, TrustEntry, TrustList, TrustStore,
    UnverifiedChain, UpdateCheck, UpdateError, Usage, ValidIdentity, ValidatedChain, accept_chain,
};
use crate::failure_log::{FailureLog, REFUSAL_INTERVAL};
use crate::keys::VerifyingKey;
use crate::sabotage::{Rule, broken};
use crate::types::{ManagementTopic, Now, RootTopic, Timestamp};

/// The maximum number of keys that a node remembers as keys in use. Further keys are not remembered.
/// Test: `keys_seen_in_use_are_bounded`.
pub const MAX_SEEN_KEYS: usize = 65_536;
/// The interval at which the node checks when its own chains expire. The check repeats because the system's clock may
/// have been changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(3600);

/// A version of the lists. A chain that was validated under an older version must be validated again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

/// The trust of a node: its lists, and its own chains. The machine validates chains and processes updates. Its effects
/// ([`TrustEffect`]) are the actions that the caller must perform.
///
/// ```text
/// handle(update, now) ─► poll_effect(now) ─► store an entry, verify a revocation, report an event
/// validate(chain, demand) ─► ValidatedChain
/// ```
#[derive(Clone, Debug)]
pub struct Trust {
    store: TrustStore,
    identities: Vec<Identity>,
    epoch: Epoch,
    verified: VerifiedLinks,
    /// Hashes of the keys in use: this node's own keys, the roots of trust, and the signers and denied keys in received
    /// chains. The limit on remembered self-revocations does not apply to these keys.
    seen: HashSet<[u8; 16]>,
    revocations: Revocations,
    expiry: Expiry,
    /// The time of the last check of the node's own chains.
    expiry_seen: Option<Duration>,
    refusals: FailureLog<ManagementTopic, RefusedBy>,
    effects: VecDeque<TrustEffect>,
}

/// An input of a [`Trust`].
#[derive(Clone, Copy, Debug)]
pub enum TrustInput<'a> {
    /// A record of a management topic.
    Record {
        /// The topic of the record.
        topic: ManagementTopic,
        /// The Kafka key; empty if the record has no key.
        kafka_key: &'a [u8],
        /// The Kafka value.
        value: &'a [u8],
    },
    /// The result of [`TrustEffect::Verify`].
    Verified(&'a Result<TrustEntry, UpdateError>),
}

/// An action for the caller. The caller must perform the actions in the order in which it gets them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TrustEffect {
    /// Store an entry of a list. The entry is already in force.
    StoreEntry(TrustList, TrustEntry),
    /// Store the chain of the signing key with this index, from 0. The chain is already in use.
    StoreChain(usize, Vec<u8>),
    /// Verify a self-revocation with [`Trust::verify`] and pass the result as an input. At most one verification is
    /// outstanding.
    Verify(Vec<u8>),
    /// Report an event to operators or to other machines.
    Report(TrustEvent),
}

/// An event that concerns trust.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TrustEvent {
    /// A key was added to a list.
    Listed {
        /// The list.
        list: TrustList,
        /// The key.
        key: VerifyingKey,
        /// True if the key was known to be in use before: it is a key of this node, a root of trust, or a key in a chain
        /// of this node or in a chain that this node has received.
        in_use: bool,
    },
    /// A new chain of this node is in use.
    ChainAdopted {
        /// The key that the chain certifies.
        key: VerifyingKey,
        /// The end of the chain's validity, or `None` if the chain has no end.
        expires: Option<Timestamp>,
    },
    /// A chain of this node was denied: its key or another key in the chain is now on the denylist. Other nodes refuse
    /// the chain from now on.
    Denied {
        /// The key of this node that the chain certifies.
        key: VerifyingKey,
        /// True if the node has another key with a valid chain.
        others_left: bool,
    },
    /// A chain of this node is about to end.
    ChainExpires {
        /// The key that the chain certifies.
        key: VerifyingKey,
        /// The time at which the chain ends.
        expires: Timestamp,
    },
    /// An update was refused.
    Refused {
        /// The topic of the update.
        topic: ManagementTopic,
        /// The key that the update claims to concern, if it is known. The claim has not been verified.
        claimed: Option<VerifyingKey>,
        /// The reason.
        error: UpdateError,
        /// The number of updates on this topic that the same check has refused since the last report, or `None` if no
        /// report is due now.
        report: Option<u64>,
    },
}

/// The check that refused an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum RefusedBy {
    Chain(Check),
    Update(UpdateCheck),
}

impl From<&UpdateError> for RefusedBy {
    fn from(error: &UpdateError) -> Self {
        match error {
            UpdateError::Chain(error) => Self::Chain(error.check()),
            other => Self::Update(other.check().unwrap_or(UpdateCheck::Entry)),
        }
    }
}

impl Trust {
    /// Creates the machine from the lists and the node's signing keys in their order, each with its chain if it has
    /// one.
    #[must_use]
    pub fn new(store: TrustStore, identities: Vec<Identity>) -> Self {
        let own = identities.iter().map(|own| own.key().short_hash());
        let roots = store.roots().map(|(root, _)| root.short_hash());
        Self {
            seen: own.chain(roots).collect(),
            store,
            identities,
            epoch: Epoch::default(),
            verified: VerifiedLinks::default(),
            revocations: Revocations::default(),
            expiry: Expiry::default(),
            expiry_seen: None,
            refusals: FailureLog::new(REFUSAL_INTERVAL),
            effects: VecDeque::new(),
        }
    }

    /// Returns the lists.
    #[must_use]
    pub fn lists(&self) -> &TrustStore {
        &self.store
    }

    /// Returns the node's signing keys in their order, each with its chain.
    #[must_use]
    pub fn identities(&self) -> &[Identity] {
        &self.identities
    }

    /// Returns the version of the lists. It changes with each entry that may change the result of an earlier
    /// validation.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the number of self-revocations that were dropped because they were too long, a queue was full, or too
    /// many messages of the same key waited.
    #[must_use]
    pub fn dropped_revocations(&self) -> u64 {
        self.revocations.dropped()
    }

    /// Validates a received chain.
    ///
    /// Until the signature of a root verifies, this costs one Ed25519 verification for each root. If the signature of
    /// a certificate before the last was verified earlier, it is not verified again.
    ///
    /// # Errors
    /// Returns the [`ChainError`] of the check that refused the chain.
    pub fn validate(
        &mut self,
        chain: &[u8],
        demand: &Demand<'_>,
    ) -> Result<ValidatedChain, ChainError> {
        let chain = UnverifiedChain::parse(chain)?;
        let verified = &mut self.verified;
        let leaf = chain.links().len() - 1;
        let mut denied = None;
        let validated = chain.validate_by(
            &self.store,
            demand,
            // The last certificate is a message, which normally does not arrive twice.
            &mut |key, link, index| match index == leaf {
                true => key.verify(link),
                false => verified.verify(key, link),
            },
            &mut denied,
        );
        match &validated {
            Ok(chain) => self.see(chain.signers()),
            Err(ChainError::Denied) => {
                denied.into_iter().for_each(|key| self.see_denied(key));
            }
            Err(_) => {}
        }
        validated
    }

    /// Returns whether the lists deny the last key of a validated path.
    #[must_use]
    pub fn denies(&self, path: &[VerifyingKey]) -> bool {
        self.store.denies(path)
    }

    /// Checks that one of the node's chains grants one of `usages` for a root topic.
    ///
    /// # Errors
    /// Returns the [`ChainError`] of the check that refused the last chain that was tried, or [`ChainError::NoChain`]
    /// if the node has no chain.
    pub fn grants(
        &mut self,
        root: &RootTopic,
        usages: &[Usage],
        now: Timestamp,
    ) -> Result<(), ChainError> {
        let mut refusal = ChainError::NoChain;
        for index in 0..self.identities.len() {
            for usage in usages {
                let demand = Demand::at(now).topic(root.as_str()).usage(*usage);
                match self.own(index, &demand) {
                    Ok(_) => return Ok(()),
                    Err(error) => refusal = error,
                }
            }
        }
        Err(refusal)
    }

    /// Returns the identities with valid chains.
    ///
    /// # Errors
    /// If no chain is valid, returns the [`ChainError`] of the check that refused the last chain, or
    /// [`ChainError::NoChain`] if the node has no signing key.
    pub fn valid_identities(&mut self, now: Timestamp) -> Result<Vec<ValidIdentity>, ChainError> {
        let mut refusal = ChainError::NoChain;
        let mut valid = Vec::new();
        for index in 0..self.identities.len() {
            match self.identity(index, now) {
                Ok(identity) => valid.push(identity),
                Err(error) => refusal = error,
            }
        }
        if valid.is_empty() {
            Err(refusal)
        } else {
            Ok(valid)
        }
    }

    /// Returns the identity with this index, if its chain is valid.
    ///
    /// # Errors
    /// Returns the [`ChainError`] of the check that refused the chain, or [`ChainError::NoChain`] if the node has no
    /// identity with this index.
    pub fn identity(&mut self, index: usize, now: Timestamp) -> Result<ValidIdentity, ChainError> {
        let proven = self.own(index, &Demand::at(now))?;
        let identity = self.identities.get(index).ok_or(ChainError::NoChain)?;
        Ok(identity.proven_by(&proven))
    }

    /// Validates the chain of the identity with this index.
    fn own(&mut self, index: usize, demand: &Demand<'_>) -> Result<ValidatedChain, ChainError> {
        let identity = self.identities.get(index).ok_or(ChainError::NoChain)?;
        let verified = &mut self.verified;
        let proven = identity.prove_by(&self.store, demand, &mut |key, link, _| {
            verified.verify(key, link)
        })?;
        self.see(proven.signers());
        Ok(proven)
    }

    /// Takes an input. [`poll_effect`](Self::poll_effect) returns the resulting actions.
    pub fn handle(&mut self, input: TrustInput<'_>, now: Now) {
        match input {
            TrustInput::Record {
                topic: ManagementTopic::Chains,
                kafka_key,
                value,
            } => self.take_chain(kafka_key, value, now),
            TrustInput::Record {
                topic: ManagementTopic::Allowlist,
                value,
                ..
            } => self.take_entry(TrustList::Allow, value, now),
            TrustInput::Record {
                topic: ManagementTopic::Denylist,
                value,
                ..
            } => self.take_entry(TrustList::Deny, value, now),
            TrustInput::Verified(result) => {
                self.revocations.end(now.mono);
                match result {
                    Ok(entry) => self.deny_self(entry.clone(), now),
                    Err(error) => {
                        self.refuse(ManagementTopic::Denylist, None, error.clone(), now);
                    }
                }
            }
        }
    }

    /// Returns the next action, or `None` if there is none left. After each input, and when the time that
    /// [`next_timeout`](Self::next_timeout) returned has passed, the caller repeats the call until the result is
    /// `None`.
    pub fn poll_effect(&mut self, now: Now) -> Option<TrustEffect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        if let Some(message) = self.revocations.begin(now.mono) {
            return Some(TrustEffect::Verify(message));
        }
        if self
            .expiry_seen
            .is_none_or(|seen| now.mono.saturating_sub(seen) >= LOOK_INTERVAL)
        {
            self.expiry_seen = Some(now.mono);
            self.see_expiry(now.wall);
        }
        let (key, expires) = self.expiry.due(now.wall)?;
        Some(TrustEffect::Report(TrustEvent::ChainExpires {
            key,
            expires,
        }))
    }

    /// Returns the time from now after which [`poll_effect`](Self::poll_effect) must be called if there is no input. At
    /// that time, the next self-revocation can be verified, the next warning of a chain that ends is due, or the node
    /// must check its own chains again.
    #[must_use]
    pub fn next_timeout(&self, now: Now) -> Duration {
        let warning = self.expiry.next_warning();
        let warning = warning.map(|at| at.since(now.wall));
        let waits = [self.revocations.next_timeout(), warning];
        waits
            .into_iter()
            .flatten()
            .fold(LOOK_INTERVAL, Duration::min)
    }

    /// Performs [`TrustEffect::Verify`]: verifies the signature of a self-revocation and returns the entry for the
    /// denylist.
    ///
    /// # Errors
    /// Returns an [`UpdateError`] if the message is not a self-revocation, its signature does not verify, one of its
    /// certificates is invalid, its entry is missing, malformed or for another key, or the key is already on the
    /// denylist.
    pub fn verify(&self, message: &[u8]) -> Result<TrustEntry, UpdateError> {
        let chain = UnverifiedChain::parse(message)?;
        let revocation = chain.self_revocation().ok_or(ChainError::UnknownRoot)?;
        accept_self_revocation(&revocation, &self.store)
    }

    fn take_entry(&mut self, list: TrustList, message: &[u8], now: Now) {
        let topic = list.topic();
        let chain = match UnverifiedChain::parse(message) {
            Ok(chain) => chain,
            Err(error) => return self.refuse(topic, None, error.into(), now),
        };
        let claimed = chain.peek_key();
        // The entry was accepted before; its record has been read again.
        if claimed
            .as_ref()
            .is_some_and(|key| self.store.lists(list, key))
        {
            return;
        }
        match list.accept(message, &self.store, now.wall) {
            Ok(entry) => self.add(list, entry, now),
            Err(error @ UpdateError::Chain(ChainError::UnknownRoot)) if list == TrustList::Deny => {
                match chain.self_revocation() {
                    Some(revocation) => self.take_self_revocation(&revocation, message, now),
                    None => self.refuse(topic, claimed, error, now),
                }
            }
            Err(error) => self.refuse(topic, claimed, error, now),
        }
    }

    /// Queues a self-revocation. If the message claims to revoke a key in use, its Ed25519 signature is verified first,
    /// so that forged messages cannot take the place of the real one.
    fn take_self_revocation(&mut self, revocation: &SelfRevocation<'_>, message: &[u8], now: Now) {
        let key = revocation.key();
        let is_seen = self.has_seen(key);
        if is_seen && !broken(Rule::SeenRevocationsWaitApart) {
            let chain = revocation.verify_ed25519().map_err(UpdateError::from);
            let judged = chain.and_then(|chain| judge_self_revocation(revocation, &chain));
            if let Err(error) = judged {
                return self.refuse(ManagementTopic::Denylist, Some(key.clone()), error, now);
            }
        }
        self.revocations.push(key, is_seen, message);
    }

    /// Adds an entry to a list, and asks the caller to store it.
    fn add(&mut self, list: TrustList, entry: TrustEntry, now: Now) {
        let valid_before = self.valid_keys(now.wall);
        self.effects
            .push_back(TrustEffect::StoreEntry(list, entry.clone()));
        let key = entry.key().cloned();
        let in_use = key.as_ref().is_some_and(|key| self.has_seen(key));
        if let (TrustList::Allow, Some(root)) = (list, &key) {
            self.see(std::slice::from_ref(root));
        }
        self.store.add(list, entry);
        self.epoch.0 += 1;
        self.see_expiry(now.wall);
        // A denied node must stop sealing before it reacts to the change of the list.
        self.report_denied(&valid_before, now.wall);
        if let Some(key) = key {
            self.report(TrustEvent::Listed { list, key, in_use });
        }
    }

    /// Applies the self-revocation of a key. If the key is in use, it is added to the denylist as an entry. Otherwise
    /// only a hash of the key is remembered.
    fn deny_self(&mut self, entry: TrustEntry, now: Now) {
        let Some(key) = entry.key().cloned() else {
            return;
        };
        if self.store.lists(TrustList::Deny, &key) {
            return;
        }
        if self.has_seen(&key) {
            return self.add(TrustList::Deny, entry, now);
        }
        if self.store.deny_self(&key) {
            self.report(TrustEvent::Listed {
                list: TrustList::Deny,
                key,
                in_use: false,
            });
        } else {
            let topic = ManagementTopic::Denylist;
            self.refuse(topic, Some(key), UpdateError::Full, now);
        }
    }

    fn take_chain(&mut self, kafka_key: &[u8], chain: &[u8], now: Now) {
        let mut identities = self.identities.iter().enumerate();
        let own = identities.find(|(_, identity)| identity.key().to_bytes() == kafka_key);
        let Some((index, identity)) = own else {
            // The chain belongs to another node.
            return;
        };
        let (key, in_use) = (identity.key().clone(), identity.chain());
        if in_use == Some(chain) {
            return;
        }
        match accept_chain(&key, in_use, chain, &self.store, now.wall) {
            Ok(()) => self.adopt(index, key, chain, now),
            Err(error) => self.refuse(ManagementTopic::Chains, Some(key), error, now),
        }
    }

    fn adopt(&mut self, index: usize, key: VerifyingKey, chain: &[u8], now: Now) {
        if let Some(place) = self.identities.get_mut(index) {
            *place = Identity::new(key.clone(), Some(chain.to_vec()));
        }
        self.effects
            .push_back(TrustEffect::StoreChain(index, chain.to_vec()));
        let valid = self.identity(index, now.wall);
        let expires = valid.ok().and_then(|valid| valid.max_age().timestamp());
        self.see_expiry(now.wall);
        self.report(TrustEvent::ChainAdopted { key, expires });
    }

    fn valid_keys(&mut self, now: Timestamp) -> Vec<VerifyingKey> {
        let valid = self.valid_identities(now).unwrap_or_default();
        valid
            .iter()
            .map(|identity| identity.key().clone())
            .collect()
    }

    /// Reports each chain of this node that was valid before the last change and is denied now. Other nodes refuse such
    /// a chain from now on.
    fn report_denied(&mut self, valid_before: &[VerifyingKey], now: Timestamp) {
        let valid = self.valid_keys(now);
        for key in valid_before {
            let own = self.identities.iter().position(|own| own.key() == key);
            let Some(own) = own else { continue };
            if self.identity(own, now) == Err(ChainError::Denied) {
                self.report(TrustEvent::Denied {
                    key: key.clone(),
                    others_left: !valid.is_empty(),
                });
            }
        }
    }

    fn see_expiry(&mut self, now: Timestamp) {
        for index in 0..self.identities.len() {
            if let Ok(valid) = self.identity(index, now)
                && let Some(end) = valid.max_age().timestamp()
            {
                self.expiry.see(valid.key(), end, now);
            }
        }
    }

    fn see(&mut self, path: &[VerifyingKey]) {
        for key in path {
            if self.seen.len() < MAX_SEEN_KEYS {
                self.seen.insert(key.short_hash());
            }
        }
    }

    /// Records that a denied key is in use. If the key denied itself, its entry is now stored on the denylist.
    fn see_denied(&mut self, key: VerifyingKey) {
        self.see(std::slice::from_ref(&key));
        if self.store.denied_itself(&key) && !self.store.has_entry(TrustList::Deny, &key) {
            let entry = TrustEntry::unrestricted(&key);
            self.store.add(TrustList::Deny, entry.clone());
            self.epoch.0 += 1;
            self.effects
                .push_back(TrustEffect::StoreEntry(TrustList::Deny, entry));
        }
    }

    fn has_seen(&self, key: &VerifyingKey) -> bool {
        self.seen.contains(&key.short_hash())
    }

    fn refuse(
        &mut self,
        topic: ManagementTopic,
        claimed: Option<VerifyingKey>,
        error: UpdateError,
        now: Now,
    ) {
        let report = self.refusals.fail(topic, (&error).into(), now.mono);
        self.report(TrustEvent::Refused {
            topic,
            claimed,
            error,
            report,
        });
    }

    fn report(&mut self, event: TrustEvent) {
        self.effects.push_back(TrustEffect::Report(event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_seen_in_use_are_bounded() {
        let mut trust = Trust::new(TrustStore::default(), vec![]);
        let key = |number: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            VerifyingKey::Ed25519(bytes)
        };
        let path: Vec<_> = (0..MAX_SEEN_KEYS + 10).map(key).collect();
        trust.see(&path);
        assert_eq!(trust.seen.len(), MAX_SEEN_KEYS);
        assert!(trust.has_seen(&key(0)) && !trust.has_seen(&key(MAX_SEEN_KEYS)));
    }
}
