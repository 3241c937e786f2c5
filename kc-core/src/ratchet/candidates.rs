use std::sync::Arc;

use super::{DataKey, OpeningKey};
use crate::keys::VerifyingKey;
use crate::sabotage::{Rule, broken};

/// The giver of a data key: the public keys in the chain of the reply that brought the data key. The root of trust is
/// the first, and the signer of the reply is the last.
pub type Giver = Arc<[VerifyingKey]>;

/// The maximum number of givers of one key that are remembered; further givers are ignored. Test:
/// `givers_of_a_key_are_bounded`.
const MAX_GIVERS: usize = 4;

/// The data keys of one root topic that have the same id.
///
/// Producers choose the ids, so several producers may use the same id. A key that has opened a record is never
/// displaced by another one. Cloning only increments a reference count.
#[derive(Clone, Debug, Default)]
pub struct Candidates(Arc<Vec<Candidate>>);

/// A key and its givers. A key of this node's own has no giver.
#[derive(Clone, Debug)]
struct Candidate {
    key: Arc<OpeningKey>,
    givers: Vec<Giver>,
}

impl Candidates {
    /// Returns the keys in the order of their arrival.
    pub fn iter(&self) -> impl Iterator<Item = &OpeningKey> {
        self.0.iter().map(|candidate| &*candidate.key)
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether one of the keys has this secret.
    #[must_use]
    pub fn hold(&self, secret: &DataKey) -> bool {
        self.iter().any(|key| key.data_key() == secret)
    }

    /// Returns the givers of all keys.
    pub fn givers(&self) -> impl Iterator<Item = &Giver> {
        self.0.iter().flat_map(|candidate| &candidate.givers)
    }

    /// Returns whether one of the keys has opened a record.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.iter().any(OpeningKey::is_proven)
    }

    /// Adds a key, or another giver of a known key. Returns whether the key is now among the candidates.
    ///
    /// A key of another node is unproven until it has opened a record. A new key replaces an unproven key that was sent
    /// only by the giver of the new key. If there are already `max` keys, the new key replaces the oldest unproven key.
    /// If all `max` keys are proven, the new key is refused.
    pub(crate) fn add(&mut self, secret: DataKey, giver: Option<Giver>, max: usize) -> bool {
        let candidates = Arc::make_mut(&mut self.0);
        let same = |candidate: &&mut Candidate| candidate.key.data_key() == &secret;
        if let Some(known) = candidates.iter_mut().find(same) {
            known.add_giver(giver);
            return true;
        }
        let is_full = |candidates: &[Candidate]| candidates.len() >= max;
        if broken(Rule::UnprovenMakeRoom) && is_full(candidates) {
            return false;
        }
        if let Some(giver) = &giver
            && !broken(Rule::UnprovenMakeRoom)
        {
            candidates.retain(|candidate| candidate.is_proven() || !candidate.is_only_of(giver));
        }
        if is_full(candidates) {
            let unproven = candidates
                .iter()
                .position(|candidate| !candidate.is_proven());
            let Some(place) = unproven else {
                return false;
            };
            candidates.remove(place);
        }
        candidates.push(Candidate {
            key: Arc::new(OpeningKey::new(secret)),
            givers: giver.into_iter().collect(),
        });
        true
    }

    /// Drops each key if `is_denied` is true for all its givers. Keeps this node's own keys, which have no giver.
    /// Returns whether any key was dropped.
    pub(crate) fn revise(&mut self, is_denied: impl Fn(&Giver) -> bool) -> bool {
        if !self.givers().any(&is_denied) {
            return false;
        }
        let candidates = Arc::make_mut(&mut self.0);
        let before = candidates.len();
        candidates.retain_mut(|candidate| {
            let had_givers = !candidate.givers.is_empty();
            candidate.givers.retain(|giver| !is_denied(giver));
            !had_givers || !candidate.givers.is_empty()
        });
        candidates.len() < before
    }
}

impl Candidate {
    /// Returns whether the key has opened a record or is this node's own, which needs no proof.
    fn is_proven(&self) -> bool {
        self.givers.is_empty() || self.key.is_proven()
    }

    fn is_only_of(&self, giver: &Giver) -> bool {
        self.givers.iter().all(|known| known.last() == giver.last())
    }

    fn add_giver(&mut self, giver: Option<Giver>) {
        match giver {
            // The key is this node's own.
            None => self.givers.clear(),
            Some(giver) if !self.givers.is_empty() => {
                if !self.givers.contains(&giver) && self.givers.len() < MAX_GIVERS {
                    self.givers.push(giver);
                }
            }
            Some(_) => {}
        }
    }
}

impl FromIterator<DataKey> for Candidates {
    fn from_iter<I: IntoIterator<Item = DataKey>>(secrets: I) -> Self {
        let candidate = |secret| Candidate {
            key: Arc::new(OpeningKey::new(secret)),
            givers: Vec::new(),
        };
        Self(Arc::new(secrets.into_iter().map(candidate).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn secret(number: u8) -> DataKey {
        DataKey::from(Secret::fill_with(|secret| secret.fill(number)))
    }

    /// A giver with its own root of trust.
    fn giver(number: u8) -> Giver {
        [VerifyingKey::Ed25519([number; 32])].into()
    }

    fn prove(candidates: &Candidates, number: u8) {
        let mut keys = candidates.iter();
        let key = keys.find(|key| key.data_key() == &secret(number)).unwrap();
        assert!(!key.is_proven());
        key.prove();
        assert!(key.is_proven());
    }

    fn held(candidates: &Candidates) -> Vec<u8> {
        let numbers = 0..=u8::MAX;
        numbers
            .filter(|number| candidates.hold(&secret(*number)))
            .collect()
    }

    #[test]
    fn an_unproven_key_makes_room_and_a_proven_one_does_not() {
        let mut candidates = Candidates::default();
        assert!(candidates.is_empty() && !candidates.is_proven());
        for number in [1, 2] {
            assert!(candidates.add(secret(number), Some(giver(number)), 2));
        }
        assert_eq!((candidates.len(), candidates.is_empty()), (2, false));
        assert!(!candidates.is_proven());
        prove(&candidates, 1);
        assert!(candidates.is_proven());
        assert!(candidates.add(secret(3), Some(giver(3)), 2));
        assert_eq!(held(&candidates), [1, 3], "the oldest unproven key is gone");
        prove(&candidates, 3);
        assert!(!candidates.add(secret(4), Some(giver(4)), 2));
        assert_eq!(held(&candidates), [1, 3]);
        // A known key is not added twice.
        assert!(candidates.add(secret(1), Some(giver(5)), 2));
        assert_eq!((candidates.len(), candidates.iter().count()), (2, 2));
    }

    #[test]
    fn a_giver_replaces_only_what_it_alone_sent_and_never_proved() {
        let mut candidates = Candidates::default();
        for (number, by) in [(1, 7), (2, 7), (2, 8), (3, 8)] {
            candidates.add(secret(number), Some(giver(by)), 9);
        }
        assert_eq!(held(&candidates), [2, 3], "key 2 replaced key 1");
        candidates.add(secret(4), Some(giver(8)), 9);
        assert_eq!(held(&candidates), [2, 4], "key 4 replaced key 3");
        prove(&candidates, 4);
        candidates.add(secret(5), Some(giver(8)), 9);
        assert_eq!(held(&candidates), [2, 4, 5]);
    }

    #[test]
    fn own_keys_are_proven_and_outlive_denials() {
        let mut candidates = Candidates::default();
        candidates.add(secret(1), None, 2);
        candidates.add(secret(2), Some(giver(2)), 2);
        // The key of this node's own needs no giver, and gets none.
        candidates.add(secret(1), Some(giver(2)), 2);
        assert_eq!(candidates.givers().count(), 1);
        assert!(!candidates.revise(|by| *by == giver(3)));
        assert!(candidates.revise(|by| *by == giver(2)));
        assert_eq!(held(&candidates), [1]);
        // A key that turns out to be this node's own forgets its givers.
        candidates.add(secret(3), Some(giver(3)), 2);
        candidates.add(secret(3), None, 2);
        assert!(!candidates.revise(|by| *by == giver(3)));
        assert_eq!(held(&candidates), [1, 3]);
    }

    #[test]
    fn a_denied_giver_leaves_a_key_that_another_sent_too() {
        let mut candidates = Candidates::default();
        candidates.add(secret(1), Some(giver(1)), 2);
        candidates.add(secret(1), Some(giver(2)), 2);
        assert!(
            !candidates.revise(|by| *by == giver(1)),
            "no key was dropped"
        );
        assert_eq!(candidates.givers().count(), 1);
        assert!(candidates.revise(|by| *by == giver(2)));
        assert!(candidates.is_empty());
    }

    #[test]
    fn givers_of_a_key_are_bounded() {
        let mut candidates = Candidates::default();
        for number in 0..MAX_GIVERS as u8 + 10 {
            let giver: Giver = [VerifyingKey::Ed25519([number; 32])].into();
            let secret = DataKey::from(Secret::fill_with(|_| {}));
            assert!(candidates.add(secret, Some(giver), 1));
        }
        assert_eq!(candidates.givers().count(), MAX_GIVERS);
    }
}
