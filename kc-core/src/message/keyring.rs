use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use foldhash::SharedSeed;
use foldhash::quality::{FoldHasher, SeedableRandomState};
use kc_kernels::Engine;

use super::{Envelope, Opened, Unopened};
use crate::ratchet::{Candidates, Component, DataKey, Giver, OpeningKey, SALT_LEN};
use crate::symmetric::{self, TAG_LEN};
use crate::types::{KeyId, RootTopic};

/// The maximum number of keys of one root topic that have the same id. Producers choose the ids, so several producers
/// may use the same id; to open a record, all keys with its id are tried. Test: `the_ring_is_bounded`.
pub const MAX_CANDIDATES: usize = 4;

/// The maximum number of key ids of one root topic.
///
/// Only keys of authorised producers are added. When the limit is reached, the oldest id whose keys have never opened a
/// record is dropped for each new id. A producer of many keys that open nothing thus displaces only such keys. The
/// newest ids (`FRESH_KEYS`) are exempt. If the keys of all other ids have opened records, the oldest id is dropped.
/// Tests: `the_ring_is_bounded`, `a_flood_of_keys_that_open_nothing_displaces_itself`.
pub const MAX_KEYS_PER_ROOT: usize = 16_384;

/// The number of newest key ids that are kept even if their keys have not opened a record, because records that
/// were sealed with these keys may still arrive.
const FRESH_KEYS: usize = 512;

/// The opening keys of a consumer, by root topic and key id.
///
/// A clone shares the keys. A writer can change a clone and publish it while readers still use the old key ring. Only
/// the keys of the root topics that change are copied.
///
/// Keys do not expire, because a consumer cannot know which old records it will read, and producers do not keep their
/// old keys for ever.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    roots: HashMap<RootTopic, Arc<RootKeys>, KeyedHash>,
}

/// A hash of a few nanoseconds for the look-ups of each message. Its key is random, because producers choose key ids, and
/// could otherwise choose ids that collide.
#[derive(Clone, Debug)]
struct KeyedHash(SeedableRandomState);

impl Default for KeyedHash {
    fn default() -> Self {
        let key = RandomState::new().hash_one(0);
        Self(SeedableRandomState::with_seed(
            key,
            SharedSeed::global_random(),
        ))
    }
}

impl BuildHasher for KeyedHash {
    type Hasher = FoldHasher<'static>;

    fn build_hasher(&self) -> Self::Hasher {
        self.0.build_hasher()
    }
}

#[derive(Clone, Debug, Default)]
struct RootKeys {
    known: HashMap<KeyId, Candidates, KeyedHash>,
    /// The ids in the order of their arrival.
    order: VecDeque<KeyId>,
    /// The ids whose keys were all dropped because only denied nodes had given these keys, in the order in which the
    /// keys were dropped.
    denied: VecDeque<KeyId>,
}

/// The maximum number of ids of denied keys that are remembered for one root topic. At this number, the oldest id is
/// forgotten for each new one. Test: `ids_of_denied_keys_are_bounded`.
const MAX_DENIED_IDS: usize = 1024;

/// The result of adding a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The key is the first with this id.
    New,
    /// The key is new, but another key with this id was already known.
    Candidate,
    /// The same key was already known.
    Known,
    /// The new key is refused, because there are [`MAX_CANDIDATES`] keys with this id, and each of them has already
    /// opened a record or is this node's own.
    Refused,
}

impl KeyRing {
    /// Adds a key. `giver` is the node that sent the key, or `None` if the key is this node's own.
    ///
    /// A key of another node is unproven until it has opened a record. A new key replaces an unproven key with the same
    /// id that was sent only by the giver of the new key. If there are already [`MAX_CANDIDATES`] keys, the new key
    /// replaces the oldest unproven key. If all of them are proven, the new key is refused.
    pub fn add(
        &mut self,
        root_topic: &RootTopic,
        id: KeyId,
        secret: DataKey,
        giver: Option<Giver>,
    ) -> Added {
        let keys = self.roots.entry(root_topic.clone()).or_default();
        let known = keys.known.get(&id);
        if known.is_some_and(|known| {
            let is_news = giver
                .as_ref()
                .is_some_and(|giver| !known.givers().any(|of| of == giver));
            known.hold(&secret) && !is_news
        }) {
            return Added::Known;
        }
        Arc::make_mut(keys).add(id, secret, giver)
    }

    /// Returns all givers of keys, each once.
    #[must_use]
    pub fn givers(&self) -> HashSet<Giver> {
        let known = self.roots.values().flat_map(|keys| keys.known.values());
        known.flat_map(Candidates::givers).cloned().collect()
    }

    /// Drops each key if `is_denied` is true for all its givers. Keeps this node's own keys, which have no
    /// giver. Returns the number of ids that have no key any more.
    pub fn revise(&mut self, is_denied: impl Fn(&Giver) -> bool) -> usize {
        let mut dropped = 0;
        for keys in self.roots.values_mut() {
            let known = keys.known.values();
            if known.flat_map(Candidates::givers).any(&is_denied) {
                dropped += Arc::make_mut(keys).revise(&is_denied);
            }
        }
        dropped
    }

    /// Returns whether all keys with this id were dropped because only denied nodes gave them, and no key with this
    /// id has been added since.
    #[must_use]
    pub fn is_denied(&self, root_topic: &str, id: &KeyId) -> bool {
        let keys = self.roots.get(root_topic);
        keys.is_some_and(|keys| !keys.denied.is_empty() && keys.denied.contains(id))
    }

    /// Returns whether a key of a root topic with this id is known.
    #[must_use]
    pub fn knows(&self, root_topic: &str, id: &KeyId) -> bool {
        self.known(root_topic, id).is_some()
    }

    /// Returns the number of known key ids of all root topics.
    #[must_use]
    pub fn len(&self) -> usize {
        self.roots.values().map(|keys| keys.order.len()).sum()
    }

    /// Returns whether no key is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Opens a component of a record of a root topic into a new buffer. Allocates only this buffer.
    pub fn open(&self, root_topic: &str, component: Component, bytes: &[u8]) -> Opened {
        let mut plaintext = Vec::new();
        match self.open_into(root_topic, component, bytes, &mut plaintext) {
            Ok(()) => Opened::Plaintext(plaintext),
            Err(why) => Opened::Unopened(why),
        }
    }

    /// Opens a component of a record of a root topic. Replaces the content of `plaintext` by the plaintext.
    ///
    /// # Errors
    /// Returns an [`Unopened`] if no known key opens the component; `plaintext` is then empty or unchanged.
    pub fn open_into(
        &self,
        root_topic: &str,
        component: Component,
        bytes: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<(), Unopened> {
        let found = self.find(root_topic, bytes, &mut None)?;
        plaintext.clear();
        plaintext.extend_from_slice(found.ciphertext);
        if found.open_in_place(Engine::detect(), component, plaintext) {
            return Ok(());
        }
        plaintext.clear();
        Err(Unopened::Unauthentic(found.id))
    }

    /// Parses a component, and looks up the keys with its id. `last` is where the keys of the component before were found:
    /// many components in a row have the same key.
    pub(super) fn find<'a>(
        &'a self,
        root_topic: &str,
        bytes: &'a [u8],
        last: &mut Option<(KeyId, &'a Candidates)>,
    ) -> Result<Found<'a>, Unopened> {
        let Envelope { key_id: id, body } = Envelope::parse(bytes)?;
        let (salt, sealed) = body.ok_or(Unopened::Unauthentic(id))?;
        let keys = match *last {
            Some((known, keys)) if known == id => keys,
            _ => self
                .known(root_topic, &id)
                .ok_or(Unopened::AwaitingKey(id))?,
        };
        *last = Some((id, keys));
        let (tag, ciphertext) = sealed
            .split_first_chunk()
            .ok_or(Unopened::Unauthentic(id))?;
        Ok(Found {
            id,
            keys,
            salt,
            sealed,
            tag,
            ciphertext,
        })
    }

    /// Returns the keys of a root topic with this id, if there are any.
    #[must_use]
    pub fn known(&self, root_topic: &str, id: &KeyId) -> Option<&Candidates> {
        self.roots.get(root_topic)?.known.get(id)
    }
}

/// A sealed component, and the keys with its id.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) id: KeyId,
    keys: &'a Candidates,
    pub(super) salt: &'a [u8; SALT_LEN],
    /// The tag and the ciphertext.
    pub(super) sealed: &'a [u8],
    tag: &'a [u8; TAG_LEN],
    pub(super) ciphertext: &'a [u8],
}

impl<'a> Found<'a> {
    /// Returns the key, if no other key has the same id.
    pub(super) fn only_key(&self) -> Option<&'a OpeningKey> {
        self.keys.iter().next().filter(|_| self.keys.len() == 1)
    }

    /// Marks the only key as one that has opened a record.
    pub(super) fn prove(&self) {
        if let Some(key) = self.only_key() {
            key.prove();
        }
    }

    /// Opens the component in `text`, which contains the ciphertext. Returns whether one of the keys opens it; if none does,
    /// `text` is unchanged.
    pub(super) fn open_in_place(
        &self,
        engine: Option<Engine>,
        component: Component,
        text: &mut [u8],
    ) -> bool {
        self.keys.iter().any(|key| {
            let message_key = key.message_key(component, self.salt);
            let (message_key, nonce) = message_key.expose();
            let opens = symmetric::open_in_place(engine, text, self.tag, nonce, message_key);
            if opens {
                key.prove();
            }
            opens
        })
    }
}

impl RootKeys {
    fn add(&mut self, id: KeyId, secret: DataKey, giver: Option<Giver>) -> Added {
        self.denied.retain(|denied| *denied != id);
        if let Some(known) = self.known.get_mut(&id) {
            let before = known.hold(&secret);
            return match known.add(secret, giver, MAX_CANDIDATES) {
                true if before => Added::Known,
                true => Added::Candidate,
                false => Added::Refused,
            };
        }
        if self.order.len() >= MAX_KEYS_PER_ROOT
            && let Some(id) = self.order.remove(self.least_useful())
        {
            self.known.remove(&id);
        }
        self.order.push_back(id);
        let known = self.known.entry(id).or_default();
        known.add(secret, giver, MAX_CANDIDATES);
        Added::New
    }

    fn revise(&mut self, is_denied: impl Fn(&Giver) -> bool) -> usize {
        let mut emptied = Vec::new();
        for (id, candidates) in &mut self.known {
            if candidates.revise(&is_denied) && candidates.is_empty() {
                emptied.push(*id);
            }
        }
        for id in &emptied {
            self.known.remove(id);
            self.order.retain(|known| known != id);
            if self.denied.len() >= MAX_DENIED_IDS {
                self.denied.pop_front();
            }
            self.denied.push_back(*id);
        }
        emptied.len()
    }

    /// Returns the index in `order` of the id that is dropped next.
    fn least_useful(&self) -> usize {
        let opened = |id| self.known.get(id).is_some_and(Candidates::is_proven);
        let settled = self.order.len().saturating_sub(FRESH_KEYS);
        let mut settled = self.order.iter().take(settled);
        settled.position(|id| !opened(id)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn a_changed_copy_shares_the_root_topics_that_did_not_change() {
        let secret = || Secret::fill_with(|secret| secret.fill(1)).into();
        let (changed, other) = (RootTopic::from("changed"), RootTopic::from("other"));
        let mut ring = KeyRing::default();
        for root_topic in [&changed, &other] {
            ring.add(root_topic, KeyId::Short(1), secret(), None);
        }
        let before = ring.clone();
        let shared = |ring: &KeyRing, root_topic| {
            Arc::ptr_eq(&ring.roots[root_topic], &before.roots[root_topic])
        };
        ring.add(&changed, KeyId::Short(1), secret(), None);
        assert!(shared(&ring, &changed), "the key was known");
        ring.add(&changed, KeyId::Short(2), secret(), None);
        assert!(!shared(&ring, &changed));
        assert!(shared(&ring, &other));
    }

    #[test]
    fn ids_of_denied_keys_are_bounded() {
        let mut ring = KeyRing::default();
        let giver: Giver = [crate::keys::VerifyingKey::Ed25519([1; 32])].into();
        for index in 0..MAX_DENIED_IDS as u64 + 10 {
            let secret = Secret::fill_with(|_| {}).into();
            ring.add(
                &"t".into(),
                KeyId::Short(index),
                secret,
                Some(giver.clone()),
            );
        }
        assert_eq!(ring.revise(|_| true), MAX_DENIED_IDS + 10);
        assert_eq!(ring.roots["t"].denied.len(), MAX_DENIED_IDS);
    }
}
