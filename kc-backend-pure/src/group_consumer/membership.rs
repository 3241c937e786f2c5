//! What a member has: its partitions, what is stored for them and which are paused. It follows
//! rebalances.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use kc_core::backend::{BackendError, TopicPartition};
use krafka::KrafkaError;
use krafka::admin::AdminClient;
use krafka::consumer::{Consumer, ConsumerRebalanceListener, TopicPartition as KrafkaPartition};

use super::to_commit;
use crate::error::{bounded, failed};
use crate::lookup;
use crate::record::from_krafka;

/// How long a rebalance waits for the commit of what is revoked.
const REVOCATION_COMMIT: Duration = Duration::from_secs(10);

/// How long a rebalance waits to compare committed positions with the logs.
const ASSIGNMENT_CHECK: Duration = Duration::from_secs(5);

/// The state that polls and rebalances share.
pub(super) struct Membership {
    admin: AdminClient,
    /// Whose it is; a rebalance commits through it.
    consumer: OnceLock<Weak<Consumer>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    assigned: BTreeSet<TopicPartition>,
    /// Positions stored and not committed.
    stored: BTreeMap<TopicPartition, i64>,
    revoked: Vec<TopicPartition>,
    paused: BTreeSet<TopicPartition>,
    /// Partitions whose pause or resumption krafka does not know yet.
    changed: BTreeSet<TopicPartition>,
}

impl Membership {
    pub(super) fn new(admin: AdminClient) -> Self {
        Self {
            admin,
            consumer: OnceLock::new(),
            state: Mutex::default(),
        }
    }

    pub(super) fn belongs_to(&self, consumer: &Arc<Consumer>) {
        // It is called once; a second call would change nothing.
        let _ = self.consumer.set(Arc::downgrade(consumer));
    }

    pub(super) fn assignment(&self) -> Vec<TopicPartition> {
        self.with(|state| state.assigned.iter().cloned().collect())
    }

    /// Partitions that are no longer this member's are left out: another may have gone further.
    pub(super) fn store(&self, positions: &[(TopicPartition, i64)]) {
        self.with(|state| {
            for (at, offset) in positions {
                if state.assigned.contains(at) {
                    state.stored.insert(at.clone(), *offset);
                }
            }
        });
    }

    pub(super) fn take_revoked(&self) -> Vec<TopicPartition> {
        self.with(|state| std::mem::take(&mut state.revoked))
    }

    pub(super) fn pause(&self, partitions: &[TopicPartition]) {
        self.with(|state| {
            state.paused.extend(partitions.iter().cloned());
            state.changed.extend(partitions.iter().cloned());
        });
    }

    pub(super) fn resume(&self, partitions: &[TopicPartition]) {
        self.with(|state| {
            for at in partitions {
                state.paused.remove(at);
                state.changed.insert(at.clone());
            }
        });
    }

    /// The assigned partitions to pause and to resume, since this was last asked.
    pub(super) fn pauses_to_apply(&self) -> (Vec<TopicPartition>, Vec<TopicPartition>) {
        self.with(|state| {
            std::mem::take(&mut state.changed)
                .into_iter()
                .filter(|at| state.assigned.contains(at))
                .partition(|at| state.paused.contains(at))
        })
    }

    /// Commits what is stored.
    pub(super) async fn commit(&self) -> krafka::Result<()> {
        let stored = self.with(|state| state.stored.clone());
        self.commit_these(stored).await
    }

    async fn commit_these(&self, positions: BTreeMap<TopicPartition, i64>) -> krafka::Result<()> {
        let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) else {
            return Ok(());
        };
        if positions.is_empty() {
            return Ok(());
        }
        consumer
            .commit_offsets(positions.iter().map(to_commit))
            .await?;
        self.with(|state| {
            state
                .stored
                .retain(|at, offset| positions.get(at) != Some(offset));
        });
        Ok(())
    }

    /// Begins anew where the log does not have the committed position: krafka would turn one behind the
    /// end into the end, and skip what a topic made anew has.
    async fn restart_lost_positions(
        &self,
        consumer: &Consumer,
        partitions: &[KrafkaPartition],
    ) -> Result<(), BackendError> {
        let context = "compare committed positions with the logs";
        let keys: Vec<(&str, i32)> = partitions
            .iter()
            .map(|at| (at.topic.as_str(), at.partition))
            .collect();
        let asking = consumer.committed(&keys);
        let mut committed = bounded(ASSIGNMENT_CHECK, || context.to_owned(), asking).await?;
        let known: Vec<KrafkaPartition> = partitions
            .iter()
            .filter(|at| committed.contains_key(&(at.topic.clone(), at.partition)))
            .cloned()
            .collect();
        for (at, have) in lookup::watermarks(&self.admin, &known, ASSIGNMENT_CHECK).await? {
            let KrafkaPartition {
                topic, partition, ..
            } = at;
            let key = (topic, partition);
            if let Some(position) = committed.remove(&key)
                && !(have.low..=have.high).contains(&position.offset)
            {
                tracing::warn!(
                    topic = key.0,
                    partition,
                    offset = position.offset,
                    "the log does not have the committed position; it is read from its beginning"
                );
                let seeking = consumer.seek(&key.0, partition, have.low).await;
                seeking.map_err(|error| failed(context, error))?;
            }
        }
        Ok(())
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn take_away(&mut self, partitions: &[KrafkaPartition]) {
        for at in partitions.iter().map(from_krafka) {
            self.assigned.remove(&at);
            self.stored.remove(&at);
            self.revoked.push(at);
        }
    }
}

impl ConsumerRebalanceListener for Membership {
    async fn on_partitions_assigned(&self, partitions: &[KrafkaPartition]) {
        let paused: Vec<TopicPartition> = self.with(|state| {
            state.assigned.extend(partitions.iter().map(from_krafka));
            let new = partitions.iter().map(from_krafka);
            new.filter(|at| state.paused.contains(at)).collect()
        });
        let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) else {
            return;
        };
        // krafka forgets a pause when it loses the partition.
        for at in paused {
            consumer.pause(&at.topic, &[at.partition]).await;
        }
        if let Err(error) = self.restart_lost_positions(&consumer, partitions).await {
            tracing::debug!(%error, "positions were not checked");
        }
    }

    async fn on_partitions_revoked(&self, partitions: &[KrafkaPartition]) {
        let positions = self.with(|state| {
            let revoked = partitions.iter().map(from_krafka);
            revoked
                .filter_map(|at| state.stored.get(&at).map(|offset| (at, *offset)))
                .collect()
        });
        let committing = tokio::time::timeout(REVOCATION_COMMIT, self.commit_these(positions));
        let committed = committing
            .await
            .unwrap_or_else(|_| Err(KrafkaError::timeout("commit before revocation")));
        if let Err(error) = committed {
            tracing::warn!(%error, "positions of revoked partitions were not committed; records will come again");
        }
        self.with(|state| state.take_away(partitions));
    }

    async fn on_partitions_lost(&self, partitions: &[KrafkaPartition]) {
        self.with(|state| state.take_away(partitions));
    }
}
