//! The record log: parsed batches, the partitions that store them, the state of idempotent producers, and the memory
//! limit. This module uses no clock and does no I/O.

mod batch;
mod partition;
mod producers;
#[cfg(test)]
pub(crate) mod sample;

use thiserror::Error;

pub(crate) use batch::{BatchError, RecordBatch};
pub(crate) use partition::{AppendError, Partition, TimeQuery};
pub(crate) use producers::SequenceError;

/// The memory limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("memory limit of {limit} bytes reached")]
pub(crate) struct MemoryFull {
    limit: usize,
}

/// The memory limit that all stored batches share, and the memory in use, in bytes.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    used: usize,
    warned: bool,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            used: 0,
            warned: false,
        }
    }

    /// Takes `bytes` of the memory. Takes nothing, and returns an error, if this would exceed the limit. Logs a warning
    /// at the first refusal, and again only after memory was released.
    pub(crate) fn charge(&mut self, bytes: usize) -> Result<(), MemoryFull> {
        match self.used.checked_add(bytes) {
            Some(used) if used <= self.limit => {
                self.used = used;
                Ok(())
            }
            _ => {
                if !self.warned {
                    tracing::warn!(
                        limit = self.limit,
                        used = self.used,
                        "records refused: memory limit reached"
                    );
                    self.warned = true;
                }
                Err(MemoryFull { limit: self.limit })
            }
        }
    }

    /// Gives back `bytes` that were taken before.
    pub(crate) fn release(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
        self.warned &= bytes == 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_does_not_fit_and_takes_it_after_a_release() {
        let mut memory = Memory::new(10);
        assert_eq!(memory.charge(6), Ok(()));
        assert_eq!(memory.charge(5), Err(MemoryFull { limit: 10 }));
        assert_eq!(memory.charge(4), Ok(()));
        memory.release(6);
        assert_eq!(memory.charge(5), Ok(()));
    }

    #[test]
    fn an_overflowing_charge_is_refused() {
        let mut memory = Memory::new(usize::MAX);
        assert_eq!(memory.charge(1), Ok(()));
        assert!(memory.charge(usize::MAX).is_err());
    }
}
