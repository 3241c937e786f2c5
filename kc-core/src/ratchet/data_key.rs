use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::generator::{Context, derive};
use crate::sabotage::{Rule, broken};
use crate::secret::Secret;
use crate::symmetric::{KEY_LEN, NONCE_LEN};
use crate::types::KeyId;

/// Length of a message's salt, in bytes.
pub const SALT_LEN: usize = 16;

/// The part of a Kafka record that is sealed. Kafka keys and values are sealed with different message keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Component {
    /// The Kafka key.
    Key,
    /// The Kafka value.
    Value,
}

impl Component {
    /// Returns the purpose of the message keys of this component (protocol §3).
    pub(crate) fn context(self) -> &'static [u8; 16] {
        match self {
            Self::Key => &Context::KEY.0,
            Self::Value => &Context::VALUE.0,
        }
    }
}

/// A sealing key has sealed the maximum number of Kafka keys or of Kafka values. The key seals no more of them; the
/// ratchet must turn first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the data key has sealed the maximum number of messages")]
pub struct Exhausted;

/// The secret of one root topic at one step of a ratchet: 32 bytes, which producers send to consumers.
#[derive(Debug, PartialEq, Eq)]
pub struct DataKey(Secret<32>);

/// The key and the nonce of one message.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MessageKey {
    pub(crate) key: [u8; KEY_LEN],
    pub(crate) nonce: [u8; NONCE_LEN],
}

/// Seals the messages of one root topic at one step of the ratchet.
///
/// It is shared, never copied, because it contains the counters that keep (key, nonce) pairs unique. Only
/// [`StepKeys`](super::StepKeys) can create it. The low half of a salt is the counter. The high half is drawn for
/// each sealing key, so that two processes that run from copies of a node's files share no (key, nonce) pair
/// (protocol §3).
#[derive(Debug)]
pub struct SealingKey {
    id: KeyId,
    secret: DataKey,
    /// The high half of every salt.
    instance: [u8; SALT_LEN / 2],
    key_counter: AtomicU64,
    value_counter: AtomicU64,
}

/// Opens messages that were sealed with a data key.
#[derive(Debug)]
pub struct OpeningKey {
    secret: DataKey,
    /// True if the key has opened a record.
    proven: AtomicBool,
}

impl From<Secret<32>> for DataKey {
    fn from(secret: Secret<32>) -> Self {
        Self(secret)
    }
}

impl DataKey {
    /// Returns the 32 secret bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// Copies the secret for a second owner.
    #[must_use]
    pub fn expose_copy(&self) -> Self {
        Self(self.0.expose_copy())
    }

    pub(crate) fn message_key(&self, component: Component, salt: &[u8; SALT_LEN]) -> MessageKey {
        let context = Context(*component.context());
        let mut output = [0; KEY_LEN + NONCE_LEN];
        derive(&mut output, self.expose(), salt, context, &[]);
        let mut message_key = MessageKey {
            key: [0; KEY_LEN],
            nonce: [0; NONCE_LEN],
        };
        let (key, nonce) = output.split_at(KEY_LEN);
        message_key.key.copy_from_slice(key);
        message_key.nonce.copy_from_slice(nonce);
        output.zeroize();
        message_key
    }
}

impl MessageKey {
    /// Returns the key of 32 bytes and the nonce of 24 bytes.
    #[must_use]
    pub fn expose(&self) -> (&[u8; KEY_LEN], &[u8; NONCE_LEN]) {
        (&self.key, &self.nonce)
    }
}

/// The number of salts of a component after which a sealing key returns no more. The rest of the counter is a margin for
/// concurrent callers.
const MAX_SALTS: u64 = u64::MAX - u32::MAX as u64;

impl SealingKey {
    pub(super) fn new(id: KeyId, secret: DataKey, rng: &mut dyn CryptoRng) -> Self {
        let mut instance = [0; SALT_LEN / 2];
        if !broken(Rule::SaltsHaveRandomHalf) {
            rng.fill_bytes(&mut instance);
        }
        Self {
            id,
            secret,
            instance,
            key_counter: AtomicU64::new(0),
            value_counter: AtomicU64::new(0),
        }
    }

    /// Returns the key id. Every message that this key seals contains it.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Returns the secret that consumers need to open the messages.
    #[must_use]
    pub fn data_key(&self) -> &DataKey {
        &self.secret
    }

    /// Returns whether this key has sealed a message.
    #[must_use]
    pub fn has_sealed(&self) -> bool {
        let counters = [&self.key_counter, &self.value_counter];
        counters
            .iter()
            .any(|counter| counter.load(Ordering::Relaxed) > 0)
    }

    /// Returns the next salt with its key and nonce. For each component, a salt is returned only once.
    ///
    /// # Errors
    /// Returns [`Exhausted`] after 2^64 - 2^32 salts for this component. The remaining counter values are a margin for
    /// concurrent callers.
    pub fn next(&self, component: Component) -> Result<([u8; SALT_LEN], MessageKey), Exhausted> {
        let salt = self.salts(component, 1)?.next().unwrap_or_default();
        Ok((salt, self.secret.message_key(component, &salt)))
    }

    /// Returns the next `count` salts. For each component, a salt is returned only once.
    ///
    /// # Errors
    /// Returns [`Exhausted`] if less than `count` salts are left for this component.
    pub(crate) fn salts(
        &self,
        component: Component,
        count: usize,
    ) -> Result<impl Iterator<Item = [u8; SALT_LEN]>, Exhausted> {
        let counter = match component {
            Component::Key => &self.key_counter,
            Component::Value => &self.value_counter,
        };
        let count = u32::try_from(count).map_err(|_| Exhausted)?;
        if counter.load(Ordering::Relaxed) > MAX_SALTS - u64::from(count) {
            return Err(Exhausted);
        }
        let first = counter.fetch_add(count.into(), Ordering::Relaxed);
        Ok((0..count).map(move |number| {
            let mut salt = [0; SALT_LEN];
            let (low, high) = salt.split_at_mut(SALT_LEN / 2);
            low.copy_from_slice(&(first + u64::from(number)).to_le_bytes());
            high.copy_from_slice(&self.instance);
            salt
        }))
    }
}

impl OpeningKey {
    /// Creates the key that opens messages sealed with `secret`.
    #[must_use]
    pub fn new(secret: DataKey) -> Self {
        Self {
            secret,
            proven: AtomicBool::new(false),
        }
    }

    /// Returns whether the key has opened a record, which proves that it belongs to its id.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// Marks the key as one that has opened a record. Writes to memory only once, so that threads that use the same key
    /// do not slow each other down.
    pub(crate) fn prove(&self) {
        if !self.is_proven() {
            self.proven.store(true, Ordering::Relaxed);
        }
    }

    /// Returns the data key.
    #[must_use]
    pub fn data_key(&self) -> &DataKey {
        &self.secret
    }

    /// Returns the key and the nonce of the message with this salt.
    #[must_use]
    pub fn message_key(&self, component: Component, salt: &[u8; SALT_LEN]) -> MessageKey {
        self.secret.message_key(component, salt)
    }
}

#[cfg(test)]
impl SealingKey {
    pub(super) fn exhaust(&self) {
        self.value_counter
            .store(u64::MAX - u64::from(u32::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::ratchet::{KeyIdForm, Seed, StepKeys};

    #[test]
    fn a_key_ends_before_its_counter_does() {
        let mut rng = StdRng::seed_from_u64(1);
        let (step, _) = Seed::generate(&mut rng).advance().unwrap().stored();
        let key = StepKeys::new(step, &KeyIdForm::Short).sealing_key(&"t".into(), &mut rng);
        key.value_counter
            .store(u64::MAX - (1 << 32), Ordering::Relaxed);
        assert!(key.next(Component::Value).is_ok());
        assert!(key.next(Component::Value).is_err());
        assert!(key.next(Component::Key).is_ok());
        key.value_counter.store(MAX_SALTS - 1, Ordering::Relaxed);
        assert!(key.salts(Component::Value, 2).is_err());
        assert!(key.salts(Component::Value, 1).is_ok());
        assert!(key.salts(Component::Value, 1).is_err());
    }

    #[test]
    fn a_key_knows_whether_it_has_sealed() {
        let mut rng = StdRng::seed_from_u64(2);
        let (step, _) = Seed::generate(&mut rng).advance().unwrap().stored();
        let mut keys = StepKeys::new(step, &KeyIdForm::Short);
        for (root, component) in [("a", Component::Key), ("b", Component::Value)] {
            let key = keys.sealing_key(&root.into(), &mut rng);
            assert!(!key.has_sealed());
            key.next(component).unwrap();
            assert!(key.has_sealed());
        }
    }
}
