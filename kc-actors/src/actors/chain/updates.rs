//! What comes from the management topics.

use kc_core::chain::{
    ChainError, TrustEntry, TrustList, UnverifiedChain, UpdateError, accept_chain,
};
use kc_core::exchange::{Identity, RefusalId};
use kc_core::keys::VerifyingKey;
use kc_core::store::StoreError;
use kc_core::types::ManagementTopic;

use super::state::State;
use crate::events::NodeEvent;
use crate::messages::ManagementRecord;

impl State {
    /// Takes an update, or refuses it. What cannot be stored is in force all the same: management topics are
    /// read from their beginning at each start.
    pub(super) fn take(&mut self, record: &ManagementRecord) {
        match record.topic {
            ManagementTopic::Chains => self.take_chain(&record.kafka_key, &record.value),
            ManagementTopic::Allowlist => self.take_entry(TrustList::Allow, &record.value),
            ManagementTopic::Denylist => self.take_entry(TrustList::Deny, &record.value),
        }
    }

    fn take_entry(&mut self, list: TrustList, message: &[u8]) {
        if self.is_known(list, message) {
            return;
        }
        match list.accept(message, self.trust(), self.now()) {
            Ok(entry) => self.add(list, entry),
            Err(error) => self.refuse(list.name(), (&error).into(), &error),
        }
    }

    /// Whether an update is for a key that the list has: taken before, and read again.
    fn is_known(&self, list: TrustList, message: &[u8]) -> bool {
        let key = UnverifiedChain::parse(message).and_then(|chain| chain.claimed_key());
        key.is_ok_and(|key| self.trust().lists(list, &key))
    }

    fn add(&mut self, list: TrustList, entry: TrustEntry) {
        let valid_before = self.valid_keys();
        tell_unless_stored(self.parts.archive.add_entry(list, &entry));
        let key = entry.key().cloned();
        self.parts.trust.add(list, entry);
        if let Some(key) = key {
            tracing::info!(target: "kc::chain", list = list.name(), key = key.fingerprint(), "key listed");
            self.parts.events.tell(NodeEvent::Listed { list, key });
        }
        for key in valid_before {
            self.tell_if_denied(key);
        }
    }

    fn valid_keys(&self) -> Vec<VerifyingKey> {
        let valid = self.valid_identities().unwrap_or_default();
        valid
            .iter()
            .map(|identity| identity.key().clone())
            .collect()
    }

    /// A node that is denied has to know: all others refuse it from now on.
    fn tell_if_denied(&self, key: VerifyingKey) {
        let mut identities = self.parts.identities.iter();
        let Some(identity) = identities.find(|identity| *identity.key() == key) else {
            return;
        };
        if let Err(ChainError::Denied) = identity.validated(self.trust(), self.now()) {
            let fingerprint = key.fingerprint();
            tracing::error!(target: "kc::chain", key = fingerprint, "this node is on the denylist");
            self.parts.events.tell(NodeEvent::Denied { key });
        }
    }

    fn take_chain(&mut self, kafka_key: &[u8], chain: &[u8]) {
        let mut identities = self.parts.identities.iter().enumerate();
        let own = identities.find(|(_, identity)| identity.key().to_bytes() == kafka_key);
        let Some((index, identity)) = own else {
            // For another node.
            return;
        };
        let (key, in_use) = (identity.key().clone(), identity.chain());
        if in_use == Some(chain) {
            return;
        }
        match accept_chain(&key, in_use, chain, self.trust(), self.now()) {
            Ok(()) => self.adopt(index, key, chain),
            Err(error) => self.refuse("chains", (&error).into(), &error),
        }
    }

    fn adopt(&mut self, index: usize, key: VerifyingKey, chain: &[u8]) {
        tell_unless_stored(self.parts.archive.replace_chain(index, chain));
        let identity = Identity::new(key.clone(), Some(chain.to_vec()));
        let valid = identity.validated(self.trust(), self.now());
        let expires = valid.ok().and_then(|valid| valid.max_age().timestamp());
        if let Some(place) = self.parts.identities.get_mut(index) {
            *place = identity;
        }
        tracing::info!(target: "kc::chain", key = key.fingerprint(), ?expires, "new chain in use");
        self.parts
            .events
            .tell(NodeEvent::ChainAdopted { key, expires });
    }

    fn refuse(&mut self, topic: &str, check: RefusalId, error: &UpdateError) {
        *self.refused.entry(check).or_default() += 1;
        tracing::warn!(target: "kc::chain", topic, %check, %error, "update refused");
        let reason = error.to_string();
        self.parts
            .events
            .tell(NodeEvent::UpdateRefused { check, reason });
    }
}

fn tell_unless_stored(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::error!(target: "kc::chain", %error, "in force until the node is closed, and not stored");
    }
}
