//! The state of a member: its partitions, their stored positions, and the paused partitions. Rebalances update it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use kc_core::backend::{
    BackendError, BackendErrorKind, MEMBERSHIP_LOST, Processed, TopicPartition, end_of,
    not_assigned,
};
use kc_core::text::with_sources;
use krafka::KrafkaError;
use krafka::admin::AdminClient;
use krafka::consumer::{Consumer, ConsumerRebalanceListener, TopicPartition as KrafkaPartition};
use tokio::time::Instant;

use super::{COMMIT_BACKOFF, to_commit};
use crate::error::{bounded, failed};
use crate::lookup;
use crate::record::{from_krafka, to_krafka};

/// The maximum time for which a rebalance waits for the commit of positions of revoked partitions.
const REVOCATION_COMMIT: Duration = Duration::from_secs(10);

/// The maximum time of each request of [`Membership::anchor`] during a rebalance, and of [`Membership::seek`].
const ASSIGNMENT_CHECK: Duration = Duration::from_secs(5);

/// The text by which errors name the check of newly assigned partitions.
const CHECK: &str = "compare committed positions with the logs";

/// The state that polls and rebalances share.
pub(super) struct Membership {
    group: String,
    admin: AdminClient,
    /// The offsets at which partitions without a committed position start. Partitions that are not in this map start
    /// at their first record.
    starts: HashMap<KrafkaPartition, i64>,
    /// The consumer with which a rebalance commits positions.
    consumer: OnceLock<Weak<Consumer>>,
    /// Returns the positions of the records that the application has processed since the last store.
    processed: OnceLock<Arc<Processed>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    assigned: BTreeSet<TopicPartition>,
    /// The start offsets of the assigned partitions whose start is known.
    started: BTreeMap<TopicPartition, i64>,
    /// Positions that are stored and not committed.
    stored: BTreeMap<TopicPartition, i64>,
    /// Assigned partitions that may have neither a committed nor a stored position.
    unanchored: BTreeSet<TopicPartition>,
    revoked: Vec<TopicPartition>,
    paused: BTreeSet<TopicPartition>,
    /// Partitions that the application has paused or resumed, but that krafka has not paused or resumed yet.
    changed: BTreeSet<TopicPartition>,
}

impl Membership {
    pub(super) fn new(
        group: &str,
        admin: AdminClient,
        starts: HashMap<KrafkaPartition, i64>,
    ) -> Self {
        Self {
            group: group.to_owned(),
            admin,
            starts,
            consumer: OnceLock::new(),
            processed: OnceLock::new(),
            state: Mutex::default(),
        }
    }

    pub(super) fn belongs_to(&self, consumer: &Arc<Consumer>) {
        // Called once; a second call would have no effect.
        let _ = self.consumer.set(Arc::downgrade(consumer));
    }

    pub(super) fn store_at_rebalance(&self, processed: Arc<Processed>) {
        // Called once; a second call would have no effect.
        let _ = self.processed.set(processed);
    }

    pub(super) fn assignment(&self) -> Vec<TopicPartition> {
        self.with(|state| state.assigned.iter().cloned().collect())
    }

    /// Stores positions. Ignores partitions that are not assigned. Also ignores positions before the start of the
    /// current assignment, because another member has already read further.
    pub(super) fn store(&self, positions: &[(TopicPartition, i64)]) {
        self.with(|state| {
            for (at, offset) in positions {
                state.store(at, *offset);
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

    /// Continues to read a partition at `offset`.
    pub(super) async fn seek(&self, at: &TopicPartition, offset: i64) -> Result<(), BackendError> {
        let consumer = self.consumer.get().and_then(Weak::upgrade);
        let Some(consumer) = consumer.filter(|_| self.with(|state| state.assigned.contains(at)))
        else {
            return Err(not_assigned(at));
        };
        // krafka itself would continue at the end if the log does not contain the offset.
        let log = [to_krafka(at)];
        let log = lookup::watermarks(&self.admin, &log, ASSIGNMENT_CHECK).await?;
        let offset = log
            .values()
            .next()
            .map_or(offset, |log| log.resolve_for_group(Some(offset), None));
        let seeking = consumer.seek(&at.topic, at.partition, offset).await;
        // The only error: a rebalance has just taken the partition away.
        seeking.map_err(|error| not_assigned(at).with_source(error))?;
        self.with(|state| state.continue_at(at, offset));
        Ok(())
    }

    /// Returns the assigned partitions that were paused since the last call, and the assigned partitions that were
    /// resumed since then.
    pub(super) fn pauses_to_apply(&self) -> (Vec<TopicPartition>, Vec<TopicPartition>) {
        self.with(|state| {
            std::mem::take(&mut state.changed)
                .into_iter()
                .filter(|at| state.assigned.contains(at))
                .partition(|at| state.paused.contains(at))
        })
    }

    /// Commits the stored positions. Retries until the deadline if the error is retriable, for example because the
    /// group's coordinator is not ready. Does not retry during a rebalance.
    pub(super) async fn commit(
        &self,
        deadline: Duration,
        context: impl Fn() -> String,
    ) -> Result<(), BackendError> {
        let end = end_of(Instant::now(), deadline);
        loop {
            let stored = self.with(|state| state.stored.clone());
            let left = end.saturating_duration_since(Instant::now());
            let error = match tokio::time::timeout(left, self.commit_these(stored)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => failed(context(), error),
                Err(elapsed) => {
                    return Err(BackendError::new(BackendErrorKind::Timeout, context())
                        .with_source(elapsed));
                }
            };
            let hopeless = !error.is_retriable() || error.kind() == BackendErrorKind::Rebalance;
            if hopeless || Instant::now() + COMMIT_BACKOFF >= end {
                return Err(error);
            }
            tokio::time::sleep(COMMIT_BACKOFF).await;
        }
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

    /// Returns whether [`anchor`](Self::anchor) still has partitions to check.
    pub(super) fn has_unanchored(&self) -> bool {
        self.with(|state| !state.unanchored.is_empty())
    }

    /// Ensures that the group has a committed position in each newly assigned partition, and that the log contains this
    /// position. Each request to the brokers may take as long as `deadline`. After a failure, the next call repeats the
    /// check.
    ///
    /// If the group has no committed position, the start offset is committed. If the start offset were not committed,
    /// the next owner of the partition could begin at another start, and skip records that were not committed. If the
    /// log does not contain the committed position, the partition is read from its beginning. krafka itself would
    /// continue at the end, and would skip the records of a topic that was deleted and created again.
    pub(super) async fn anchor(&self, deadline: Duration) -> Result<(), BackendError> {
        let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) else {
            return Ok(());
        };
        let partitions: Vec<KrafkaPartition> =
            self.with(|state| state.unanchored.iter().map(to_krafka).collect());
        let committed = committed(&consumer, &partitions, deadline).await?;
        for (at, have) in lookup::watermarks(&self.admin, &partitions, deadline).await? {
            let committed = committed.get(&at).copied();
            let start = have.resolve_for_group(committed, self.starts.get(&at).copied());
            self.with(|state| state.started.insert(from_krafka(&at), start));
            if committed == Some(start) {
                continue;
            }
            if let Some(offset) = committed {
                tracing::warn!(
                    topic = at.topic,
                    partition = at.partition,
                    offset,
                    "committed position is not in the log; the partition is read from its beginning"
                );
                let seeking = consumer.seek(&at.topic, at.partition, start).await;
                seeking.map_err(|error| failed(CHECK, error))?;
            }
            self.with(|state| state.start(from_krafka(&at), start));
        }
        let context = || "commit the start positions of new partitions".to_owned();
        self.commit(deadline, context).await?;
        self.with(|state| {
            for at in partitions.iter().map(from_krafka) {
                state.unanchored.remove(&at);
            }
        });
        Ok(())
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the positions that the group has committed in these partitions.
async fn committed(
    consumer: &Consumer,
    partitions: &[KrafkaPartition],
    deadline: Duration,
) -> Result<HashMap<KrafkaPartition, i64>, BackendError> {
    let keys: Vec<(&str, i32)> = partitions
        .iter()
        .map(|at| (at.topic.as_str(), at.partition))
        .collect();
    let found = bounded(deadline, || CHECK.to_owned(), consumer.committed(&keys)).await?;
    let positions = found.into_iter().map(|((topic, partition), position)| {
        (KrafkaPartition::new(topic, partition), position.offset)
    });
    Ok(positions.filter(|(_, offset)| *offset >= 0).collect())
}

impl State {
    fn store(&mut self, at: &TopicPartition, offset: i64) {
        let is_behind = self.started.get(at).is_some_and(|start| offset < *start);
        if self.assigned.contains(at) && !is_behind {
            self.stored.insert(at.clone(), offset);
        }
    }

    /// Continues at `offset`, which the log contains, in an assigned partition, and drops its stored position.
    fn continue_at(&mut self, at: &TopicPartition, offset: i64) {
        if self.assigned.contains(at) {
            self.started.insert(at.clone(), offset);
            self.unanchored.remove(at);
            self.stored.remove(at);
        }
    }

    /// Stores the start of an assigned partition, unless a position is stored already.
    fn start(&mut self, at: TopicPartition, offset: i64) {
        if self.assigned.contains(&at) {
            self.stored.entry(at).or_insert(offset);
        }
    }

    fn take_away(&mut self, partitions: &[KrafkaPartition]) {
        for at in partitions.iter().map(from_krafka) {
            self.assigned.remove(&at);
            self.started.remove(&at);
            self.stored.remove(&at);
            self.unanchored.remove(&at);
            self.revoked.push(at);
        }
    }
}

impl ConsumerRebalanceListener for Membership {
    async fn on_partitions_assigned(&self, partitions: &[KrafkaPartition]) {
        let paused: Vec<TopicPartition> = self.with(|state| {
            state.assigned.extend(partitions.iter().map(from_krafka));
            state.unanchored.extend(partitions.iter().map(from_krafka));
            let new = partitions.iter().map(from_krafka);
            new.filter(|at| state.paused.contains(at)).collect()
        });
        let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) else {
            return;
        };
        // krafka forgets that a partition is paused when the partition is revoked.
        for at in &paused {
            consumer.pause(&at.topic, &[at.partition]).await;
        }
        // The application may have resumed it meanwhile: the next poll compares again.
        self.with(|state| state.changed.extend(paused));
        if let Err(error) = self.anchor(ASSIGNMENT_CHECK).await {
            tracing::debug!(error = %with_sources(&error), "start positions of new partitions not checked; the check will be repeated");
        }
    }

    async fn on_partitions_revoked(&self, partitions: &[KrafkaPartition]) {
        if let Some(processed) = self.processed.get() {
            self.store(&processed());
        }
        let positions = self.with(|state| {
            let revoked = partitions.iter().map(from_krafka);
            revoked
                .filter_map(|at| state.stored.get(&at).map(|offset| (at, *offset)))
                .collect()
        });
        let committing = tokio::time::timeout(REVOCATION_COMMIT, self.commit_these(positions));
        let committed = committing.await.unwrap_or_else(|_| {
            Err(KrafkaError::timeout(
                "commit the positions of revoked partitions",
            ))
        });
        if let Err(error) = committed {
            tracing::warn!(error = %with_sources(&error), "positions of revoked partitions not committed; records will be read again");
        }
        self.with(|state| state.take_away(partitions));
    }

    async fn on_partitions_lost(&self, partitions: &[KrafkaPartition]) {
        tracing::warn!(group = self.group, "{MEMBERSHIP_LOST}");
        self.with(|state| state.take_away(partitions));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_from_before_a_reassignment_does_not_count() {
        let mut state = State::default();
        let krafka = KrafkaPartition::new("t", 0);
        let at = from_krafka(&krafka);
        let join = |state: &mut State, start| {
            state.assigned.insert(at.clone());
            state.started.insert(at.clone(), start);
        };
        join(&mut state, 10);
        state.store(&at, 20);
        assert_eq!(state.stored, [(at.clone(), 20)].into());
        state.take_away(&[krafka]);
        // In the meantime another member has reached 50.
        join(&mut state, 50);
        state.store(&at, 30);
        assert!(state.stored.is_empty());
        state.store(&at, 50);
        assert_eq!(state.stored, [(at.clone(), 50)].into());
    }
}
