//! Records that the broker has not acknowledged yet.

use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use kc::BackendError;
use kc::core::backend::DeliveryFuture;
use kc::core::text::counted;

use crate::error::{CliError, Exit};

/// The maximum number of records that may be sent but not yet acknowledged.
const MAX_UNACKNOWLEDGED: usize = 10_000;

/// The records that were sent but not yet acknowledged, in the order of the input. The broker has acknowledged each of
/// the first [`acknowledged`](Self::acknowledged) lines of the input.
#[derive(Default)]
pub(super) struct Deliveries {
    pending: FuturesOrdered<DeliveryFuture>,
    acknowledged: u64,
    failed: bool,
}

impl Deliveries {
    pub(super) fn push(&mut self, delivery: DeliveryFuture) {
        self.pending.push_back(delivery);
    }

    /// Waits for the acknowledgement of the next record in the order of the input. After a record that
    /// the broker did not accept, [`acknowledged`](Self::acknowledged) counts no further records.
    ///
    /// # Errors
    /// [`CliError`] if the broker did not accept the record.
    pub(super) async fn next(&mut self) -> Result<(), CliError> {
        let next: Option<Result<_, BackendError>> = Pin::new(&mut self.pending).next().await;
        match next {
            Some(Ok(_)) if !self.failed => {
                self.acknowledged += 1;
                Ok(())
            }
            None | Some(Ok(_)) => Ok(()),
            Some(Err(error)) => {
                self.failed = true;
                Err(error.into())
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.len() >= MAX_UNACKNOWLEDGED
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Waits until all records are acknowledged.
    ///
    /// # Errors
    /// [`Exit::Broker`] if records are not acknowledged within `deadline`; [`CliError`] if the broker did not accept a
    /// record.
    pub(super) async fn drain(&mut self, deadline: Duration) -> Result<(), CliError> {
        let all = async {
            while !self.is_empty() {
                self.next().await?;
            }
            Ok(())
        };
        match tokio::time::timeout(deadline, all).await {
            Ok(drained) => drained,
            Err(_) => Err(CliError::new(
                Exit::Broker,
                format!(
                    "{} not acknowledged within {} s",
                    counted(self.len(), "record"),
                    deadline.as_secs()
                ),
            )
            .advise("the records may have arrived, so sending them again may repeat them")),
        }
    }
}
