//! Records that the broker has not acknowledged yet.

use std::pin::Pin;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use kc::core::backend::DeliveryFuture;
use kc::{BackendError, BackendErrorKind};

use super::lines::Line;
use crate::error::CliError;

/// The maximum number of records that may be sent but not yet acknowledged.
const MAX_UNACKNOWLEDGED: usize = 10_000;

/// The maximum number of bytes of lines that are kept to be sent again.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// The reason why a record was not delivered.
#[derive(Debug)]
pub(super) enum Undelivered {
    /// The record is larger than the client or the broker accepts.
    TooLarge(Line),
    /// Any other failure.
    Failed(CliError),
}

type Pending = Pin<Box<dyn Future<Output = (Line, Result<(), BackendError>)> + Send>>;

/// The records that were sent but not yet acknowledged, in the order of the input. The broker has acknowledged each of
/// the first [`acknowledged`](Self::acknowledged) lines of the input, except lines that were too large.
#[derive(Default)]
pub(super) struct Deliveries {
    pending: FuturesOrdered<Pending>,
    acknowledged: u64,
    failed: bool,
    kept_bytes: usize,
}

impl Deliveries {
    pub(super) fn push(&mut self, line: Line, delivery: DeliveryFuture) {
        self.kept_bytes += line.len();
        self.pending
            .push_back(Box::pin(async { (line, delivery.await.map(drop)) }));
    }

    /// Waits for the acknowledgement of the next record in the order of the input. After a failure, except of a record
    /// that is too large, [`acknowledged`](Self::acknowledged) counts no further records.
    ///
    /// # Errors
    /// [`Undelivered`] if the broker did not accept the record.
    pub(super) async fn next(&mut self) -> Result<(), Undelivered> {
        let next = self.pending.next().await;
        if let Some((line, _)) = &next {
            self.kept_bytes -= line.len();
        }
        match next {
            Some((_, Ok(()))) if !self.failed => {
                self.acknowledged += 1;
                Ok(())
            }
            None | Some((_, Ok(()))) => Ok(()),
            Some((line, Err(error))) if error.kind() == BackendErrorKind::RecordTooLarge => {
                Err(Undelivered::TooLarge(line))
            }
            Some((_, Err(error))) => {
                self.failed = true;
                Err(Undelivered::Failed(error.into()))
            }
        }
    }

    /// Counts a record that was sent alone.
    pub(super) fn count_acknowledged(&mut self) {
        self.acknowledged += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= MAX_UNACKNOWLEDGED || self.kept_bytes >= MAX_KEPT_BYTES
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }
}
