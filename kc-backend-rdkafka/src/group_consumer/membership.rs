//! The state of a member: its partitions, the records fetched from them, their stored positions, and the paused
//! partitions. The member's handle and its thread share this state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use kc_core::backend::{Polled, Processed, Record, TopicPartition, Watermarks};

#[derive(Default)]
pub(super) struct Membership(Mutex<State>);

#[derive(Default)]
struct State {
    assigned: BTreeSet<TopicPartition>,
    /// The offsets at which partitions without a committed position start. Partitions that are not in this map start
    /// at their first record.
    starts: BTreeMap<TopicPartition, i64>,
    /// Assigned partitions whose start is not known yet.
    unanchored: BTreeSet<TopicPartition>,
    /// The start offsets of the assigned partitions whose start is known.
    anchored: BTreeMap<TopicPartition, i64>,
    /// The offsets after the last fetched records, or the starts, of the partitions that librdkafka reads. librdkafka itself
    /// does not know them for a moment after it was told what to read.
    next: BTreeMap<TopicPartition, i64>,
    /// `true` if `stored` contains start offsets that must be committed soon.
    has_new_starts: bool,
    /// Positions that are stored and not committed.
    stored: BTreeMap<TopicPartition, i64>,
    /// Returns the positions of the records that the application has processed since the last store.
    processed: Option<Arc<Processed>>,
    revoked: Vec<TopicPartition>,
    paused: BTreeSet<TopicPartition>,
    /// Partitions that the application has paused or resumed, but that librdkafka has not paused or resumed yet.
    changed: BTreeSet<TopicPartition>,
    /// Records that were fetched and not returned yet.
    outbox: VecDeque<Record>,
    /// Fetched records of paused partitions.
    held: Vec<Record>,
    /// The partition of the last fetched record.
    last: Option<TopicPartition>,
}

impl Membership {
    pub(super) fn assignment(&self) -> Vec<TopicPartition> {
        self.with(|state| state.assigned.iter().cloned().collect())
    }

    pub(super) fn set_starts(&self, starts: BTreeMap<TopicPartition, i64>) {
        self.with(|state| state.starts = starts);
    }

    // --- Records.

    pub(super) fn push(&self, record: Record) {
        self.with(|state| {
            // Most records are from the same partition as the one before.
            let at = state.last.take().filter(|at| record.is_of(at));
            let at = at.unwrap_or_else(|| record.at());
            if let Some(next) = state.next.get_mut(&at) {
                *next = record.next_offset();
            }
            if !state.paused.is_empty() && state.paused.contains(&at) {
                state.held.push(record);
            } else {
                state.outbox.push_back(record);
            }
            state.last = Some(at);
        });
    }

    /// Returns the number of fetched records that were not returned yet. Does not count records of paused partitions.
    pub(super) fn waiting(&self) -> usize {
        self.with(|state| state.outbox.len())
    }

    pub(super) fn has_news(&self) -> bool {
        self.with(|state| !state.outbox.is_empty() || !state.revoked.is_empty())
    }

    pub(super) fn take(&self, most: usize) -> Polled {
        self.with(|state| {
            let count = most.min(state.outbox.len());
            Polled {
                records: state.outbox.drain(..count).collect(),
                revoked: std::mem::take(&mut state.revoked),
            }
        })
    }

    // --- Positions.

    /// Stores positions. Ignores partitions that are not assigned, or whose start is not known yet. Also ignores
    /// positions before the start of the current assignment, because another member has already read further.
    pub(super) fn store(&self, positions: &[(TopicPartition, i64)]) {
        self.with(|state| {
            for (at, offset) in positions {
                if state.anchored.get(at).is_some_and(|start| start <= offset) {
                    state.stored.insert(at.clone(), *offset);
                }
            }
        });
    }

    pub(super) fn store_at_rebalance(&self, processed: Arc<Processed>) {
        self.with(|state| state.processed = Some(processed));
    }

    /// Stores the positions of the records that the application has processed since the last store.
    pub(super) fn store_processed(&self) {
        if let Some(processed) = self.with(|state| state.processed.clone()) {
            self.store(&processed());
        }
    }

    pub(super) fn stored(&self) -> BTreeMap<TopicPartition, i64> {
        self.with(|state| state.stored.clone())
    }

    /// Removes stored positions that were committed. Keeps a position that was changed in the meantime.
    pub(super) fn committed(&self, positions: &BTreeMap<TopicPartition, i64>) {
        self.with(|state| {
            state
                .stored
                .retain(|at, offset| positions.get(at) != Some(offset));
            state.has_new_starts = false;
        });
    }

    /// Removes all stored positions. Called if the consumer is being closed and its last commit has failed, so that
    /// leaving the group does not try the commit again.
    pub(super) fn give_up_stored(&self) {
        self.with(|state| state.stored.clear());
    }

    pub(super) fn has_new_starts(&self) -> bool {
        self.with(|state| state.has_new_starts)
    }

    /// Continues at `offset` in an assigned partition, and drops its fetched records and its stored position.
    pub(super) fn continue_at(&self, at: &TopicPartition, offset: i64) {
        self.with(|state| {
            if let Some(start) = state.anchored.get_mut(at) {
                // The log may not contain the offset: reading then continues at its beginning.
                *start = offset.min(*start);
                state.next.insert(at.clone(), offset);
                state.stored.remove(at);
                state.outbox.retain(|record| !record.is_of(at));
                state.held.retain(|record| !record.is_of(at));
            }
        });
    }

    // --- Pauses.

    pub(super) fn pause(&self, partitions: &[TopicPartition]) {
        self.with(|state| {
            state.paused.extend(partitions.iter().cloned());
            state.changed.extend(partitions.iter().cloned());
            let fetched = std::mem::take(&mut state.outbox).into_iter();
            let (held, outbox): (Vec<_>, Vec<_>) =
                fetched.partition(|record| partitions.iter().any(|at| record.is_of(at)));
            state.held.extend(held);
            state.outbox = outbox.into();
        });
    }

    pub(super) fn resume(&self, partitions: &[TopicPartition]) {
        self.with(|state| {
            for at in partitions {
                state.paused.remove(at);
                state.changed.insert(at.clone());
            }
            let held = std::mem::take(&mut state.held).into_iter();
            let (freed, held): (Vec<_>, Vec<_>) =
                held.partition(|record| partitions.iter().any(|at| record.is_of(at)));
            state.held = held;
            for record in freed.into_iter().rev() {
                state.outbox.push_front(record);
            }
        });
    }

    /// Returns the partitions that were paused since the last call, and the partitions that were resumed since then.
    /// Leaves out partitions that librdkafka does not read.
    pub(super) fn pauses_to_apply(&self) -> (Vec<TopicPartition>, Vec<TopicPartition>) {
        self.with(|state| {
            std::mem::take(&mut state.changed)
                .into_iter()
                .filter(|at| state.anchored.contains_key(at))
                .partition(|at| state.paused.contains(at))
        })
    }

    /// Returns the paused partitions among those that librdkafka reads.
    pub(super) fn paused(&self) -> Vec<TopicPartition> {
        self.with(|state| {
            let read = state.anchored.keys();
            read.filter(|at| state.paused.contains(at))
                .cloned()
                .collect()
        })
    }

    // --- Rebalances.

    /// Replaces the member's partitions.
    pub(super) fn assign(&self, partitions: BTreeSet<TopicPartition>) {
        self.with(|state| {
            state.anchored.clear();
            state.next.clear();
            state.unanchored.clone_from(&partitions);
            state.assigned = partitions;
        });
    }

    /// Removes all partitions, and discards the records that were fetched from them and not returned yet. The next
    /// owners of the partitions will read these records again.
    pub(super) fn revoke(&self) {
        self.with(|state| {
            let taken = std::mem::take(&mut state.assigned);
            state.revoked.extend(taken);
            state.unanchored.clear();
            state.anchored.clear();
            state.next.clear();
            state.stored.clear();
            state.has_new_starts = false;
            state.outbox.clear();
            state.held.clear();
        });
    }

    pub(super) fn unanchored(&self) -> BTreeSet<TopicPartition> {
        self.with(|state| state.unanchored.clone())
    }

    /// Returns the partitions that may be read, with their start offsets.
    pub(super) fn anchored(&self) -> BTreeMap<TopicPartition, i64> {
        self.with(|state| state.anchored.clone())
    }

    /// Returns the partitions that may be read, each with the offset after its last fetched record, or else its start.
    pub(super) fn next(&self) -> BTreeMap<TopicPartition, i64> {
        self.with(|state| state.next.clone())
    }

    /// Sets the start of a partition. If the group has a committed position, the start is this position, or the
    /// beginning of the log if the log does not contain the position. If the group has no committed position, the start
    /// is the offset in `starts`, or the beginning of the log. A start that is not yet committed is stored, so that it
    /// will be committed. If it were not committed, the next owner of the partition could begin at another start, and
    /// skip records that were not committed.
    pub(super) fn anchor(&self, at: TopicPartition, committed: Option<i64>, have: Watermarks) {
        self.with(|state| {
            let start = have.resolve_for_group(committed, state.starts.get(&at).copied());
            if let Some(offset) = committed.filter(|offset| *offset != start) {
                tracing::warn!(
                    topic = at.topic,
                    partition = at.partition,
                    offset,
                    "committed position is not in the log; the partition is read from its beginning"
                );
            }
            if committed != Some(start) {
                state.stored.entry(at.clone()).or_insert(start);
                state.has_new_starts = true;
            }
            state.unanchored.remove(&at);
            state.next.insert(at.clone(), start);
            state.anchored.insert(at, start);
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_from_before_a_reassignment_does_not_count() {
        let membership = Membership::default();
        let at = TopicPartition {
            topic: "t".to_owned(),
            partition: 0,
        };
        let have = Watermarks { low: 0, high: 100 };
        let join = |committed| {
            membership.assign([at.clone()].into());
            membership.anchor(at.clone(), Some(committed), have);
        };
        join(10);
        membership.store(&[(at.clone(), 20)]);
        assert_eq!(membership.stored(), [(at.clone(), 20)].into());
        membership.revoke();
        // In the meantime another member has reached 50.
        join(50);
        membership.store(&[(at.clone(), 30)]);
        assert!(membership.stored().is_empty());
        membership.store(&[(at.clone(), 50)]);
        assert_eq!(membership.stored(), [(at, 50)].into());
    }
}
