use std::sync::Arc;

use kc_core::message::{seal, sealed_len};
use kc_core::ratchet::{Component, Exhausted, SealingKey};
use kc_core::types::RootTopic;
use thiserror::Error;

use super::CryptoTables;
use crate::actors::key_table::{PrepareError, PrepareRoot};
use crate::slot::{Slot, SlotClosed};

/// Why a component was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SealError {
    /// The root topic has no key yet: [`prepare`](Sealers::prepare) it.
    #[error("the topic is not prepared")]
    NotPrepared,
    /// The node is closed.
    #[error("the node is closed")]
    Closed,
    /// This process is a fork of the one that made the handle, and would seal under the same keys and salts: open the
    /// node in the process that uses it.
    #[error("the process was forked: open the node in the process that seals")]
    Forked,
    /// This node is on the denylist: other nodes take its keys no more.
    #[error("this node is on the denylist")]
    Denied,
    /// The key has sealed all the messages it may; the ratchet will turn.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
}

/// Makes [`Sealer`]s. Cheap to clone, and to use from any thread.
#[derive(Clone, Debug)]
pub struct Sealers {
    tables: Arc<CryptoTables>,
    prepare: Slot<PrepareRoot>,
    /// The process that it was made in.
    process: u32,
}

/// Seals the Kafka keys and values of one root topic, beside any Kafka client. Cheap to clone, and to use from any
/// thread.
#[derive(Clone, Debug)]
pub struct Sealer {
    tables: Arc<CryptoTables>,
    root_topic: RootTopic,
    process: u32,
}

impl Sealers {
    /// Makes them over the tables that a key table keeps; `prepare` asks it for a root topic's key.
    #[must_use]
    pub fn new(tables: Arc<CryptoTables>, prepare: Slot<PrepareRoot>) -> Self {
        Self {
            tables,
            prepare,
            process: std::process::id(),
        }
    }

    /// Prepares a sealer for the root topic of `topic`: when it returns, the key is stored for late consumers.
    /// Cancel safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub async fn prepare(&self, topic: &str) -> Result<Sealer, PrepareError> {
        if self.tables.is_closed() {
            return Err(SlotClosed.into());
        }
        let root_topic = self.tables.scheme.root_of(topic);
        if self.tables.sealing_key(root_topic.as_str()).is_none() {
            let root_topic = root_topic.clone();
            self.prepare.send(PrepareRoot { root_topic }).await??;
        }
        Ok(Sealer {
            tables: Arc::clone(&self.tables),
            root_topic,
            process: self.process,
        })
    }

    /// Seals for a topic whose root topic was prepared, and appends it to `sealed`.
    pub(crate) fn seal(
        &self,
        topic: &str,
        component: Component,
        plaintext: &[u8],
        sealed: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let root_topic = self.tables.scheme.root_str(topic);
        seal_for(
            &self.tables,
            self.process,
            root_topic,
            component,
            plaintext,
            sealed,
        )
    }

    /// Prepares a sealer as [`prepare`](Self::prepare) does, for callers without a runtime.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub fn prepare_blocking(&self, topic: &str) -> Result<Sealer, PrepareError> {
        pollster::block_on(self.prepare(topic))
    }
}

impl Sealer {
    /// Returns the root topic whose keys it seals with.
    #[must_use]
    pub fn root_topic(&self) -> &RootTopic {
        &self.root_topic
    }

    /// Seals a Kafka value. Never waits.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal_value(&self, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut sealed = Vec::with_capacity(sealed_len(plaintext.len()));
        self.seal(Component::Value, plaintext, &mut sealed)?;
        Ok(sealed)
    }

    /// Seals a Kafka key. Never waits. No two sealed keys are equal.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal_key(&self, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut sealed = Vec::with_capacity(sealed_len(plaintext.len()));
        self.seal(Component::Key, plaintext, &mut sealed)?;
        Ok(sealed)
    }

    /// Seals a Kafka key or value, and appends it to `sealed`. Never waits; allocates only if `sealed` has less room
    /// than [`sealed_len`] says.
    ///
    /// # Errors
    /// [`SealError`]; `sealed` is then as it was.
    pub fn seal(
        &self,
        component: Component,
        plaintext: &[u8],
        sealed: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        let root_topic = self.root_topic.as_str();
        seal_for(
            &self.tables,
            self.process,
            root_topic,
            component,
            plaintext,
            sealed,
        )
    }
}

fn seal_for(
    tables: &CryptoTables,
    process: u32,
    root_topic: &str,
    component: Component,
    plaintext: &[u8],
    sealed: &mut Vec<u8>,
) -> Result<(), SealError> {
    if tables.is_closed() {
        return Err(SealError::Closed);
    }
    if tables.is_denied() {
        return Err(SealError::Denied);
    }
    if std::process::id() != process {
        return Err(SealError::Forked);
    }
    let seal = |key: &SealingKey| seal(key, component, plaintext, sealed);
    let outcome = tables.with_sealing_key(root_topic, seal);
    Ok(outcome.ok_or(SealError::NotPrepared)??)
}

#[cfg(test)]
mod tests {
    use kc_core::types::TopicScheme;

    use super::*;

    #[test]
    fn a_handle_that_was_made_in_another_process_seals_nothing() {
        let (tables, _signals) = CryptoTables::new(TopicScheme::default());
        let mut sealer = Sealer {
            tables,
            root_topic: "t".into(),
            process: std::process::id(),
        };
        assert_eq!(sealer.seal_value(b"m"), Err(SealError::NotPrepared));
        // As in a fork of this process.
        sealer.process = 0;
        assert_eq!(sealer.seal_value(b"m"), Err(SealError::Forked));
    }
}
