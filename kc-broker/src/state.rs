//! The state of the broker, shared by all connections.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, Semaphore};

use crate::faults::Faults;
use crate::groups::Groups;
use crate::limits::MAX_IN_FLIGHT_BYTES;
use crate::log::Memory;
use crate::topics::Topics;

/// The id of the only broker.
pub(crate) const NODE_ID: i32 = 1;
/// The id of the cluster, which has only this broker.
pub(crate) const CLUSTER_ID: &str = "kc-broker";

/// The settings that [`Builder`](crate::Builder) passes to all handlers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) auto_create: bool,
    pub(crate) default_partitions: u16,
}

pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) faults: Faults,
    /// Wakes the waiting fetch requests after records were appended or topics were deleted.
    pub(crate) log_changed: Notify,
    /// Wakes [`run_group_timer`](Self::run_group_timer), because the next deadline of the groups may have changed.
    pub(crate) groups_changed: Notify,
    /// The part of [`MAX_IN_FLIGHT_BYTES`] that is not in use: one permit for each byte.
    pub(crate) in_flight: Semaphore,
    state: Mutex<State>,
}

pub(crate) struct State {
    pub(crate) topics: Topics,
    pub(crate) memory: Memory,
    pub(crate) groups: Groups,
    pub(crate) last_producer_id: i64,
}

impl Shared {
    pub(crate) fn new(settings: Settings, memory_limit: usize, faults: Faults) -> Self {
        Self {
            settings,
            faults,
            log_changed: Notify::new(),
            groups_changed: Notify::new(),
            in_flight: Semaphore::new(MAX_IN_FLIGHT_BYTES),
            state: Mutex::new(State {
                topics: Topics::default(),
                memory: Memory::new(memory_limit),
                groups: Groups::default(),
                last_producer_id: 0,
            }),
        }
    }

    /// Locks the state. The guard must not be held across an await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends sessions and rebalances of the groups at their deadlines, as long as the future is polled.
    pub(crate) async fn run_group_timer(&self) {
        loop {
            let changed = self.groups_changed.notified();
            let deadline = self.state().groups.next_deadline();
            match deadline {
                Some(deadline) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(deadline.into()) => {
                            self.state().groups.expire(Instant::now());
                        }
                    }
                }
                None => changed.await,
            }
        }
    }
}
