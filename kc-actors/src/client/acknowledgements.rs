use std::collections::VecDeque;

/// The number of records at which the consumer pauses a partition: the records that the application has taken, counted
/// from the first unacknowledged record. The application still gets the records that were fetched before the pause.
pub const MAX_UNACKNOWLEDGED: usize = 10_000;

/// The records of a partition that the application may take and whose positions are not stored yet.
///
/// Records are numbered from 0 in the order in which the application gets them, because offsets have gaps. Records may
/// be acknowledged in any order. A position can be stored only when all records before it are acknowledged.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// The number of the first entry.
    first: u64,
    entries: VecDeque<Entry>,
    /// The next offset to read: all records before it are acknowledged. `None` if this offset has not changed since the
    /// last call of [`take_position`](Self::take_position).
    position: Option<i64>,
    revoked: bool,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    offset: i64,
    acknowledged: bool,
}

impl Window {
    /// Adds the next record. Returns its number.
    pub(super) fn hand_out(&mut self, offset: i64) -> u64 {
        let number = self.first + self.entries.len() as u64;
        self.entries.push_back(Entry {
            offset,
            acknowledged: false,
        });
        number
    }

    /// Adds a record that the application does not get, and acknowledges it at once.
    pub(super) fn leave_out(&mut self, offset: i64) {
        let number = self.hand_out(offset);
        self.acknowledge(number);
    }

    /// Acknowledges the record with this number. A repeated call changes nothing. Returns whether this group member
    /// still has the partition.
    pub(super) fn acknowledge(&mut self, number: u64) -> bool {
        if self.revoked {
            return false;
        }
        let index = number.checked_sub(self.first);
        let index = index.and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            entry.acknowledged = true;
        }
        while let Some(entry) = self.entries.front()
            && entry.acknowledged
        {
            // The broker chooses offsets, and may send the largest `i64`.
            self.position = Some(entry.offset.saturating_add(1));
            self.entries.pop_front();
            self.first += 1;
        }
        true
    }

    /// Returns the number of records from the first unacknowledged one on.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the position that became storable since the last call, if there is one.
    pub(super) fn take_position(&mut self) -> Option<i64> {
        self.position.take()
    }

    /// If the partition must be paused, returns the offset of its first unacknowledged record. `taken` is the number of
    /// records of the partition that the application has taken so far.
    pub(super) fn stuck_at(&self, taken: u64) -> Option<i64> {
        let span = taken.saturating_sub(self.first);
        let first = self.entries.front()?;
        (span >= MAX_UNACKNOWLEDGED as u64).then_some(first.offset)
    }

    /// Marks the partition as revoked: later acknowledgements have no effect.
    pub(super) fn revoke(&mut self) {
        *self = Self {
            revoked: true,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Compares with the definition: the position follows the last record before the first unacknowledged one.
        #[test]
        fn a_position_is_stored_once_all_before_it_is_acknowledged(
            gaps in prop::collection::vec(1_i64..5, 1..50),
            steps in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let mut offsets = gaps.iter().scan(-1, |offset, gap| {
                *offset += gap;
                Some(*offset)
            });
            let mut window = Window::default();
            let mut records: Vec<(i64, bool)> = Vec::new();
            let mut stored = None;
            for (hands_out, which) in steps {
                if hands_out || records.is_empty() {
                    let Some(offset) = offsets.next() else { continue };
                    prop_assert_eq!(window.hand_out(offset), records.len() as u64);
                    records.push((offset, false));
                } else {
                    let number = which.index(records.len());
                    prop_assert!(window.acknowledge(number as u64));
                    records[number].1 = true;
                }
                stored = window.take_position().or(stored);
                let done = records.iter().take_while(|(_, acknowledged)| *acknowledged);
                prop_assert_eq!(stored, done.last().map(|(offset, _)| offset + 1));
                let open = records.iter().find(|(_, acknowledged)| !acknowledged);
                prop_assert_eq!(window.entries.front().map(|entry| entry.offset), open.map(|(offset, _)| *offset));
                prop_assert!(window.entries.len() <= records.len());
            }
        }
    }

    #[test]
    fn what_is_left_out_holds_nothing_back() {
        let mut window = Window::default();
        window.leave_out(0);
        assert_eq!(window.take_position(), Some(1));
        let open = window.hand_out(1);
        window.leave_out(2);
        assert_eq!(window.take_position(), None);
        window.acknowledge(open);
        assert_eq!(window.take_position(), Some(3));
        assert_eq!(window.take_position(), None);
    }

    #[test]
    fn too_many_from_the_first_unacknowledged_on_name_it() {
        let mut window = Window::default();
        let first = window.hand_out(70);
        for offset in 71..70 + MAX_UNACKNOWLEDGED as i64 + 5 {
            let number = window.hand_out(offset);
            window.acknowledge(number);
        }
        let limit = MAX_UNACKNOWLEDGED as u64;
        assert_eq!(
            window.stuck_at(limit - 1),
            None,
            "so many were not taken yet"
        );
        assert_eq!(window.stuck_at(limit), Some(70));
        window.acknowledge(first);
        assert_eq!(window.stuck_at(limit), None);
        assert!(window.entries.is_empty());
    }

    #[test]
    fn nothing_of_a_revoked_partition_is_acknowledged() {
        let mut window = Window::default();
        let record = window.hand_out(0);
        window.revoke();
        assert!(!window.acknowledge(record));
        assert_eq!(window.take_position(), None);
    }

    #[test]
    fn a_broker_that_counts_to_the_end_stops_nothing() {
        let mut window = Window::default();
        let record = window.hand_out(i64::MAX);
        window.acknowledge(record);
        assert_eq!(window.take_position(), Some(i64::MAX));
    }
}
