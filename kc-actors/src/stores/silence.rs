use std::time::Duration;

use actix::Message;
use kc_core::store::{StoreError, StoreErrorKind};

use super::Store;
use crate::slot::{Slot, SlotClosed};

/// How long a store may take to answer. Whoever asked then goes on without it.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// The error of a store that does not answer.
pub(super) fn silent(store: Store) -> StoreError {
    StoreError::new(StoreErrorKind::Timeout, store.to_string()).with_advice(
        "look after the token and the way to it (daemon, network), or after the disk; the node goes on when it \
         answers; if it never does, restart the node",
    )
}

/// Asks an actor that uses a store, but does not wait for it for ever.
///
/// # Errors
/// [`StoreErrorKind::Timeout`].
pub(crate) async fn ask_in_time<M>(
    store: Store,
    slot: &Slot<M>,
    message: M,
) -> Result<Result<M::Result, SlotClosed>, StoreError>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    let answer = slot.send_in_time(message, PATIENCE).await;
    answer.map_err(|_| silent(store))
}
