use std::sync::Arc;

use kc_core::message::seal;
use kc_core::ratchet::{Component, Exhausted};
use thiserror::Error;

use super::CryptoTables;
use crate::actors::key_table::{PrepareError, PrepareRoot};
use crate::slot::{Slot, SlotClosed};

/// Why a component was not sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SealError {
    /// The topic's root has no key yet: [`prepare`](Serializer::prepare) it.
    #[error("the topic is not prepared")]
    NotPrepared,
    /// The node is closed.
    #[error("the node is closed")]
    Closed,
    /// This process is a fork of the one that made the handle, and would seal under the same keys and salts: open the
    /// node in the process that uses it.
    #[error("the process was forked: open the node in the process that seals")]
    Forked,
    /// This node is on the denylist: nobody takes its keys any more.
    #[error("this node is on the denylist")]
    Denied,
    /// The key has sealed all the messages it may; the ratchet will turn.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
}

/// Seals Kafka keys and values. Cheap to clone, and to use from any thread.
#[derive(Clone, Debug)]
pub struct Serializer {
    tables: Arc<CryptoTables>,
    prepare: Slot<PrepareRoot>,
    /// The process that it was made in.
    process: u32,
}

impl Serializer {
    /// Over the tables that a key table keeps, and where to ask it for a topic's key.
    #[must_use]
    pub fn new(tables: Arc<CryptoTables>, prepare: Slot<PrepareRoot>) -> Self {
        Self {
            tables,
            prepare,
            process: std::process::id(),
        }
    }

    /// Makes a topic's key ready, and stored for late consumers. Until then nothing is sealed under it.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub async fn prepare(&self, topic: &str) -> Result<(), PrepareError> {
        if self.tables.is_closed() {
            return Err(SlotClosed.into());
        }
        let root_topic = self.tables.scheme.root_of(topic);
        if self.tables.sealing_key(root_topic.as_str()).is_some() {
            return Ok(());
        }
        self.prepare.send(PrepareRoot { root_topic }).await?
    }

    /// As [`prepare`](Self::prepare), for callers without a runtime.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub fn prepare_blocking(&self, topic: &str) -> Result<(), PrepareError> {
        pollster::block_on(self.prepare(topic))
    }

    /// Appends the sealed Kafka key to `out`. Never waits; allocates only if `out` has less room than
    /// [`sealed_len`](kc_core::message::sealed_len) says.
    ///
    /// # Errors
    /// [`SealError`]; `out` is then as it was.
    pub fn seal_key(
        &self,
        topic: &str,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        self.seal(topic, Component::Key, plaintext, out)
    }

    /// Appends the sealed Kafka value to `out`, as [`seal_key`](Self::seal_key) does.
    ///
    /// # Errors
    /// [`SealError`]; `out` is then as it was.
    pub fn seal_value(
        &self,
        topic: &str,
        plaintext: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), SealError> {
        self.seal(topic, Component::Value, plaintext, out)
    }

    fn seal(
        &self,
        topic: &str,
        component: Component,
        plaintext: &[u8],
        out: &mut Vec<u8>,
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
        let root_topic = self.tables.scheme.root_str(topic);
        let sealed = self
            .tables
            .with_sealing_key(root_topic, |key| seal(key, component, plaintext, out));
        Ok(sealed.ok_or(SealError::NotPrepared)??)
    }
}

#[cfg(test)]
mod tests {
    use kc_core::types::TopicScheme;

    use super::*;

    #[test]
    fn a_handle_that_was_made_in_another_process_seals_nothing() {
        let (tables, _signals) = CryptoTables::new(TopicScheme::default());
        let mut serializer = Serializer::new(tables, Slot::unconnected());
        let mut sealed = Vec::new();
        let refused = serializer.seal_value("t", b"m", &mut sealed);
        assert_eq!(refused, Err(SealError::NotPrepared));
        // As in a fork of this process.
        serializer.process = 0;
        let refused = serializer.seal_value("t", b"m", &mut sealed);
        assert_eq!(refused, Err(SealError::Forked));
    }
}
