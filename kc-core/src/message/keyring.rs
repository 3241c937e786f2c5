use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Envelope, Opened, Unopened};
use crate::ratchet::{Candidates, Component, OpeningKey, TopicSecret};
use crate::secretbox::{self, TAG_LEN};
use crate::types::{KeyId, RootTopic};

/// How many keys with the same id a root may have. Ids are chosen by producers, so one producer's key
/// never displaces another's; each is tried.
pub const MAX_CANDIDATES: usize = 4;

/// How many key ids a root may have. Only authorised producers add keys; beyond this the oldest goes that never
/// opened anything, so that a flood of keys displaces itself, else the oldest.
pub const MAX_KEYS_PER_ROOT: usize = 16_384;

/// So many of the latest key ids stay, opened or not: their records may be yet to come.
const FRESH_KEYS: usize = 512;

/// The opening keys of a consumer, by root topic and key id. Cloning shares the keys, so that a changed
/// copy can be published while others still read the old one: only the root topics that change are copied.
///
/// Keys have no age: a consumer cannot tell what old records it is yet to read, and producers forget theirs.
#[derive(Clone, Debug, Default)]
pub struct KeyRing {
    roots: HashMap<RootTopic, Arc<RootKeys>>,
}

#[derive(Clone, Debug, Default)]
struct RootKeys {
    known: HashMap<KeyId, Known>,
    /// The ids in order of arrival.
    order: VecDeque<KeyId>,
}

/// The keys that have one id.
#[derive(Clone, Debug)]
struct Known {
    candidates: Candidates,
    /// Whether one of them has opened anything; shared by the copies of a ring.
    opened: Arc<AtomicBool>,
}

/// What adding a key did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The first key with this id.
    New,
    /// Another key with an id that was known.
    Candidate,
    /// This very key was known.
    Known,
    /// [`MAX_CANDIDATES`] keys with this id are known already; the new one is refused.
    Refused,
}

impl KeyRing {
    /// Adds a key.
    pub fn add(&mut self, root: &RootTopic, id: KeyId, secret: TopicSecret) -> Added {
        let keys = self.roots.entry(root.clone()).or_default();
        if let Some(Known { candidates, .. }) = keys.known.get(&id) {
            if candidates.hold(&secret) {
                return Added::Known;
            }
            if candidates.len() >= MAX_CANDIDATES {
                return Added::Refused;
            }
        }
        Arc::make_mut(keys).add(id, secret)
    }

    /// Whether a key of a root with this id is known.
    #[must_use]
    pub fn knows(&self, root: &str, id: &KeyId) -> bool {
        self.known(root, id).is_some()
    }

    /// How many key ids are known, over all roots.
    #[must_use]
    pub fn len(&self) -> usize {
        self.roots.values().map(|keys| keys.order.len()).sum()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Opens a component of a record of this root into a new buffer, its one allocation.
    pub fn open(&self, root: &str, component: Component, bytes: &[u8]) -> Opened {
        let mut plaintext = Vec::new();
        match self.open_into(root, component, bytes, &mut plaintext) {
            Ok(()) => Opened::Plaintext(plaintext),
            Err(why) => Opened::Unopened(why),
        }
    }

    /// Opens a component of a record of this root and puts the plaintext in place of what `plaintext`
    /// holds.
    ///
    /// # Errors
    /// [`Unopened`]; `plaintext` is then empty or as it was.
    pub fn open_into(
        &self,
        root: &str,
        component: Component,
        bytes: &[u8],
        plaintext: &mut Vec<u8>,
    ) -> Result<(), Unopened> {
        let envelope = Envelope::parse(bytes)?;
        let unauthentic = Unopened::Unauthentic(envelope.key_id);
        let (salt, sealed) = envelope.body.ok_or(unauthentic)?;
        let known = self.roots.get(root).map(|keys| &keys.known);
        let known = known.and_then(|known| known.get(&envelope.key_id));
        let known = known.ok_or(Unopened::AwaitingKey(envelope.key_id))?;
        for key in known.candidates.iter() {
            let (tag, ciphertext) = sealed.split_first_chunk::<TAG_LEN>().ok_or(unauthentic)?;
            plaintext.clear();
            plaintext.extend_from_slice(ciphertext);
            let message_key = key.message_key(component, salt);
            let (key, nonce) = message_key.expose();
            if secretbox::open_in_place(plaintext, tag, nonce, key) {
                known.note_opened();
                return Ok(());
            }
            plaintext.clear();
        }
        Err(unauthentic)
    }

    /// The keys of a root that have this id, if there is any.
    #[must_use]
    pub fn known(&self, root: &str, id: &KeyId) -> Option<&Candidates> {
        let known = self.roots.get(root)?.known.get(id)?;
        Some(&known.candidates)
    }
}

impl Known {
    /// Writes once, so that threads which open under the same key do not contend for it.
    fn note_opened(&self) {
        if !self.opened.load(Ordering::Relaxed) {
            self.opened.store(true, Ordering::Relaxed);
        }
    }
}

impl RootKeys {
    fn add(&mut self, id: KeyId, secret: TopicSecret) -> Added {
        if let Some(known) = self.known.get_mut(&id) {
            known.candidates.push(OpeningKey::new(secret));
            return Added::Candidate;
        }
        if self.order.len() >= MAX_KEYS_PER_ROOT
            && let Some(id) = self.order.remove(self.least_useful())
        {
            self.known.remove(&id);
        }
        self.order.push_back(id);
        let known = Known {
            candidates: Candidates::from_iter([secret]),
            opened: Arc::default(),
        };
        self.known.insert(id, known);
        Added::New
    }

    /// Where in the order the id stands that goes first.
    fn least_useful(&self) -> usize {
        let opened = |id| {
            let known: Option<&Known> = self.known.get(id);
            known.is_some_and(|known| known.opened.load(Ordering::Relaxed))
        };
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
        for root in [&changed, &other] {
            ring.add(root, KeyId::Short(1), secret());
        }
        let before = ring.clone();
        let shared = |ring: &KeyRing, root| Arc::ptr_eq(&ring.roots[root], &before.roots[root]);
        ring.add(&changed, KeyId::Short(1), secret());
        assert!(shared(&ring, &changed), "the key was known");
        ring.add(&changed, KeyId::Short(2), secret());
        assert!(!shared(&ring, &changed));
        assert!(shared(&ring, &other));
    }
}
