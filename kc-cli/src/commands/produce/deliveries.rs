use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use kc::BackendError;
use kc::core::backend::DeliveryFuture;

use crate::error::{CliError, Exit};

/// How many records may be on their way.
const MAX_UNACKNOWLEDGED: usize = 10_000;

/// Records on their way, counted in the order of the input: of the first so many lines it is certain
/// that they arrived.
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

    /// The next acknowledgement in order. Once one has failed, later ones do not count.
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

    /// Waits for what is on its way.
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
                    "{} records were not acknowledged within {} s",
                    self.len(),
                    deadline.as_secs()
                ),
            )
            .advise("they may have arrived: sending them again may repeat them")),
        }
    }
}
