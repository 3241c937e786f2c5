use std::time::Duration;

use kc_core::store::{StoreError, StoreErrorKind};
use tokio::time::timeout;

use super::Store;

/// How long a store may take to answer. Whoever asked then goes on without it.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// The error of a store that does not answer.
pub(super) fn silent(store: Store) -> StoreError {
    StoreError::new(StoreErrorKind::Timeout, store.to_string()).with_advice(
        "look after the token and the way to it (daemon, network), or the disk; what was asked for is done when it \
         answers; if it never does, restart the node",
    )
}

/// Waits for a store's answer, but not for ever.
///
/// # Errors
/// [`StoreErrorKind::Timeout`].
pub(crate) async fn in_time<T>(
    store: Store,
    answer: impl Future<Output = T>,
) -> Result<T, StoreError> {
    timeout(PATIENCE, answer).await.map_err(|_| silent(store))
}
