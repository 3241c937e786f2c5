use std::sync::Arc;

use kc_core::message::{ToSeal, seal, seal_batch};
use kc_core::ratchet::{Component, Exhausted, SealingKey};
use kc_core::types::RootTopic;
use thiserror::Error;

use super::CryptoTables;
use crate::actors::key_table::{PrepareError, PrepareRoot};
use crate::slot::{Slot, SlotClosed};

/// The reason why a Kafka key or value was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SealError {
    /// The root topic has no data key yet. [`Sealers::prepare`] gets one.
    #[error("the topic is not prepared for sealing")]
    NotPrepared,
    /// The node is closed.
    #[error("the node is closed")]
    Closed,
    /// This process is a fork of the process that created the handle. A fork would seal under the same data keys and
    /// salts as that process. Therefore each process that seals must open the node itself.
    #[error("the process was forked: open the node in the process that seals")]
    Forked,
    /// The last valid chain of this node was denied: other nodes no longer accept its data keys.
    #[error("the chain of this node was denied: other nodes no longer accept its data keys")]
    Denied,
    /// The data key has sealed the maximum number of messages. The next turn of the ratchet brings a new data key.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
}

/// Creates [`Sealer`]s. Works from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sealers {
    keys: Keys,
    prepare: Slot<PrepareRoot>,
}

/// Seals the Kafka keys and values of one root topic. Works with any Kafka client and from any thread. Cheap to
/// clone.
#[derive(Clone, Debug)]
pub struct Sealer {
    keys: Keys,
    root_topic: RootTopic,
}

/// The sealing keys of a node. Only the process that opened the node may use them.
#[derive(Clone, Debug)]
struct Keys {
    tables: Arc<CryptoTables>,
    process: u32,
}

impl Sealers {
    /// Returns a factory of sealers that read `tables`. A key table must update `tables` and answer `prepare`, the
    /// message that gets the data key of a root topic.
    #[must_use]
    pub fn new(tables: Arc<CryptoTables>, prepare: Slot<PrepareRoot>) -> Self {
        let process = std::process::id();
        Self {
            keys: Keys { tables, process },
            prepare,
        }
    }

    /// Returns a sealer for the root topic of `topic`. The data key of the root topic is stored for late consumers
    /// before this method returns.
    ///
    /// Cancel safe: if the future is dropped, the data key may still be prepared, which does no harm.
    ///
    /// # Errors
    /// Returns [`PrepareError`] if the node is closed, or the ratchet gives no data key.
    pub async fn prepare(&self, topic: &str) -> Result<Sealer, PrepareError> {
        let tables = &self.keys.tables;
        if tables.is_closed() {
            return Err(SlotClosed.into());
        }
        let root_topic = tables.scheme.root_of(topic);
        if tables.sealing_key(root_topic.as_str()).is_none() {
            let root_topic = root_topic.clone();
            self.prepare.send(PrepareRoot { root_topic }).await??;
        }
        Ok(Sealer {
            keys: self.keys.clone(),
            root_topic,
        })
    }

    /// Seals a Kafka key or value of a topic whose root topic was prepared. Appends the result to `sealed`.
    pub(crate) fn seal(
        &self,
        topic: &str,
        component: Component,
        plaintext: &[u8],
        sealed: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let root_topic = self.keys.tables.scheme.root_str(topic);
        let seal = |key: &SealingKey| seal(key, component, plaintext, sealed);
        self.keys.with_key(&root_topic, seal)
    }

    /// Seals Kafka keys or values of a topic whose root topic was prepared, as [`Sealer::seal_batch`] does.
    pub(crate) fn seal_batch(
        &self,
        topic: &str,
        component: Component,
        messages: &mut [ToSeal<'_>],
    ) -> Result<(), SealError> {
        let root_topic = self.keys.tables.scheme.root_str(topic);
        let seal = |key: &SealingKey| seal_batch(key, component, messages);
        self.keys.with_key(&root_topic, seal)
    }

    /// Returns a sealer as [`prepare`](Self::prepare) does, for callers without a runtime.
    ///
    /// # Errors
    /// Returns the errors of [`prepare`](Self::prepare).
    pub fn prepare_blocking(&self, topic: &str) -> Result<Sealer, PrepareError> {
        pollster::block_on(self.prepare(topic))
    }
}

impl Sealer {
    /// Returns the root topic for which this sealer seals.
    #[must_use]
    pub fn root_topic(&self) -> &RootTopic {
        &self.root_topic
    }

    /// Seals a Kafka value. Never waits.
    ///
    /// # Errors
    /// Returns [`SealError`] if the node is closed, the last valid chain of the node was denied, this process is a
    /// fork, or the data key has sealed the maximum number of messages.
    pub fn seal_value(&self, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut sealed = Vec::new();
        self.seal(Component::Value, plaintext, &mut sealed)?;
        Ok(sealed)
    }

    /// Seals a Kafka key. Never waits. Sealing equal keys gives different bytes.
    ///
    /// # Errors
    /// Returns the errors of [`seal_value`](Self::seal_value).
    pub fn seal_key(&self, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut sealed = Vec::new();
        self.seal(Component::Key, plaintext, &mut sealed)?;
        Ok(sealed)
    }

    /// Seals a Kafka key or value, and appends the result to `sealed`. Never waits. Allocates only if the free
    /// capacity of `sealed` is too small.
    ///
    /// # Errors
    /// Returns the errors of [`seal_value`](Self::seal_value). After an error, `sealed` is unchanged.
    pub fn seal(
        &self,
        component: Component,
        plaintext: &[u8],
        sealed: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let root_topic = self.root_topic.as_str();
        let seal = |key: &SealingKey| seal(key, component, plaintext, sealed);
        self.keys.with_key(root_topic, seal)
    }

    /// Seals Kafka keys or values, in less time than one by one. Appends each result to its buffer. Never waits. Allocates
    /// only if the free capacity of a buffer is too small, as [`seal`](Self::seal) does.
    ///
    /// # Errors
    /// Returns the errors of [`seal_value`](Self::seal_value). After an error, no buffer is changed.
    pub fn seal_batch(
        &self,
        component: Component,
        messages: &mut [ToSeal<'_>],
    ) -> Result<(), SealError> {
        let seal = |key: &SealingKey| seal_batch(key, component, messages);
        self.keys.with_key(self.root_topic.as_str(), seal)
    }
}

impl Keys {
    fn with_key(
        &self,
        root_topic: &str,
        seal: impl FnOnce(&SealingKey) -> Result<(), Exhausted>,
    ) -> Result<(), SealError> {
        if self.tables.is_closed() {
            return Err(SealError::Closed);
        }
        if self.tables.is_denied() {
            return Err(SealError::Denied);
        }
        if std::process::id() != self.process {
            return Err(SealError::Forked);
        }
        let outcome = self.tables.with_sealing_key(root_topic, seal);
        Ok(outcome.ok_or(SealError::NotPrepared)??)
    }
}

#[cfg(test)]
mod tests {
    use kc_core::types::TopicScheme;

    use super::*;

    #[test]
    fn a_handle_that_was_made_in_another_process_seals_nothing() {
        let (tables, _signals) = CryptoTables::new(TopicScheme::default());
        let process = std::process::id();
        let mut sealer = Sealer {
            keys: Keys { tables, process },
            root_topic: "t".into(),
        };
        assert_eq!(sealer.seal_value(b"m"), Err(SealError::NotPrepared));
        // As in a fork of this process.
        sealer.keys.process = 0;
        assert_eq!(sealer.seal_value(b"m"), Err(SealError::Forked));
    }
}
