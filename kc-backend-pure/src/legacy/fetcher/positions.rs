//! Positions of partitions, and the size of the next fetch.

use std::collections::{BTreeMap, BTreeSet};

use kc_core::backend::{ClientSettings, TopicPartition};

use crate::legacy::fetch::Wanted;

/// The smallest limit (maximum size) of a fetch from one partition, in bytes, unless many partitions share the fetch. A
/// fetch returns nothing if the next batch is larger than the limit.
const LEAST: i32 = 2 << 20;

/// The smallest limit of a fetch from one partition, in bytes, if many partitions share the fetch.
const SHARE: i32 = 64 << 10;

/// The value, in bytes, up to which the limit of a fetch grows while fetches return nothing. If `fetch_max_bytes` is
/// larger, the limit grows up to `fetch_max_bytes`.
const MOST: i32 = 64 << 20;

/// The factor by which the limit grows if a fetch returns nothing.
const GROWTH: i32 = 8;

#[derive(Debug)]
pub(super) struct Positions {
    /// The maximum size of one fetch, in bytes.
    total: i32,
    /// The largest usual limit of a fetch from one partition, in bytes. Only [`Position::larger`] may exceed it.
    limit: i32,
    partitions: BTreeMap<TopicPartition, Position>,
    paused: BTreeSet<TopicPartition>,
    /// `true` if the last fetch was from one partition alone.
    was_alone: bool,
    /// The partition that was last fetched alone.
    last_alone: Option<TopicPartition>,
}

#[derive(Debug)]
struct Position {
    offset: i64,
    /// The limit of the next fetch, in bytes, if a fetch with the usual limit returned nothing although the log has
    /// more records; else `None`.
    larger: Option<i32>,
}

impl Positions {
    pub(super) fn new(settings: &ClientSettings) -> Self {
        Self {
            total: settings.fetch_max_bytes,
            limit: settings.max_partition_fetch_bytes.max(LEAST),
            partitions: BTreeMap::new(),
            paused: BTreeSet::new(),
            was_alone: false,
            last_alone: None,
        }
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.keys()
    }

    pub(super) fn read(&mut self, at: TopicPartition, offset: i64) {
        let larger = None;
        self.partitions.insert(at, Position { offset, larger });
    }

    pub(super) fn forget(&mut self, at: &TopicPartition) {
        self.partitions.remove(at);
    }

    /// Pauses a partition. The pause remains even if the partition is removed and added again.
    pub(super) fn pause(&mut self, at: &TopicPartition) {
        self.paused.insert(at.clone());
    }

    pub(super) fn resume(&mut self, at: &TopicPartition) {
        self.paused.remove(at);
    }

    /// Returns whether `offset` is still the next offset of the partition, and the partition is not paused.
    pub(super) fn is_at(&self, at: &TopicPartition, offset: i64) -> bool {
        let position = self.partitions.get(at);
        !self.paused.contains(at) && position.is_some_and(|position| position.offset == offset)
    }

    /// Handles a fetch that returned nothing although the log has more records. The next batch may be larger than the
    /// limit, so the limit grows. If the limit is at its maximum, the offset has no readable record: compaction removed
    /// the record, a transaction marker has this offset, or the batch is larger than the maximum. Then the position
    /// advances by one, because the crate does not report the offset of the next record.
    pub(super) fn look_further(&mut self, at: &TopicPartition) {
        let most = self.total.max(MOST);
        let usual = self.usual();
        let Some(position) = self.partitions.get_mut(at) else {
            return;
        };
        let tried = position.larger.unwrap_or(usual);
        if tried < most {
            position.larger = Some(tried.saturating_mul(GROWTH).min(most));
            return;
        }
        tracing::debug!(
            topic = at.topic,
            partition = at.partition,
            offset = position.offset,
            "offset has no readable record; skipped"
        );
        position.offset = position.offset.saturating_add(1);
    }

    /// Resets the limit of a partition to the usual one, from the next fetch on.
    pub(super) fn look_as_usual(&mut self, at: &TopicPartition) {
        if let Some(position) = self.partitions.get_mut(at) {
            position.larger = None;
        }
    }

    /// Returns whether the fetch that [`next`](Self::next) returned last may wait for records to arrive.
    pub(super) fn may_wait(&self) -> bool {
        self.was_alone || !self.is_held_up()
    }

    /// Returns whether there is a partition that must be fetched alone and is not paused.
    fn is_held_up(&self) -> bool {
        let mut partitions = self.partitions.iter();
        partitions.any(|(at, position)| position.larger.is_some() && !self.paused.contains(at))
    }

    /// Returns the partitions of the next fetch; `None` if there are no partitions, or if all of them are paused. A
    /// partition with a larger limit is fetched alone, because brokers limit the size of the whole answer. Such fetches
    /// alternate with fetches from all other partitions, and take these partitions in turn.
    pub(super) fn next(&mut self) -> Option<Vec<Wanted>> {
        let usual = self.usual();
        let (alone, together): (Vec<_>, Vec<_>) = self
            .partitions
            .iter()
            .filter(|(at, _)| !self.paused.contains(*at))
            .partition(|(_, position)| position.larger.is_some());
        let wanted = |(at, position): (&TopicPartition, &Position)| Wanted {
            at: at.clone(),
            offset: position.offset,
            limit: position.larger.unwrap_or(usual),
        };
        self.was_alone = together.is_empty() || (!alone.is_empty() && !self.was_alone);
        let wanted: Vec<_> = if self.was_alone {
            let is_next =
                |(at, _): &&(&TopicPartition, &Position)| Some(*at) > self.last_alone.as_ref();
            let next = alone.iter().find(is_next).or(alone.first());
            self.last_alone = next.map(|(at, _)| (*at).clone());
            next.copied().map(wanted).into_iter().collect()
        } else {
            together.into_iter().map(wanted).collect()
        };
        (!wanted.is_empty()).then_some(wanted)
    }

    fn usual(&self) -> i32 {
        let count = self
            .partitions
            .len()
            .saturating_sub(self.paused.len())
            .max(1);
        let share = self.total / i32::try_from(count).unwrap_or(i32::MAX);
        share.clamp(SHARE, self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(count: i32, settings: &[(&str, &str)]) -> Positions {
        let servers = [("bootstrap_servers", "x:1")];
        let settings = ClientSettings::parse(servers.iter().chain(settings).copied()).unwrap();
        let mut positions = Positions::new(&settings);
        for partition in 0..count {
            positions.read(at(partition), 0);
        }
        positions
    }

    fn at(partition: i32) -> TopicPartition {
        TopicPartition {
            topic: "t".to_owned(),
            partition,
        }
    }

    #[test]
    fn a_batch_of_the_usual_largest_size_comes_with_the_usual_limit() {
        let wanted = positions(2, &[]).next().unwrap();
        assert_eq!(wanted.len(), 2);
        assert!(wanted.iter().all(|one| one.limit == LEAST));
        let few = [("max_partition_fetch_bytes", "1000")];
        assert_eq!(positions(1, &few).next().unwrap()[0].limit, LEAST);
        let many = [("max_partition_fetch_bytes", "8000000")];
        assert_eq!(positions(1, &many).next().unwrap()[0].limit, 8_000_000);
    }

    #[test]
    fn many_partitions_share_a_fetch() {
        let wanted = positions(100, &[]).next().unwrap();
        assert!(wanted.iter().all(|one| one.limit == (50 << 20) / 100));
        let little = [("fetch_max_bytes", "1000")];
        let wanted = positions(100, &little).next().unwrap();
        assert!(wanted.iter().all(|one| one.limit == SHARE));
    }

    #[test]
    fn the_limit_grows_before_an_offset_is_passed_over() {
        let mut positions = positions(1, &[]);
        for limit in [LEAST, LEAST * GROWTH, MOST] {
            let wanted = positions.next().unwrap();
            assert_eq!((wanted[0].offset, wanted[0].limit), (0, limit));
            positions.look_further(&at(0));
        }
        let wanted = positions.next().unwrap();
        assert_eq!((wanted[0].offset, wanted[0].limit), (1, MOST));
        positions.read(at(0), 2);
        assert_eq!(positions.next().unwrap()[0].limit, LEAST);
    }

    #[test]
    fn a_partition_that_needs_more_takes_turns_with_the_others() {
        let mut positions = positions(3, &[]);
        positions.look_further(&at(1));
        let mut turn = || -> Vec<i32> {
            let wanted = positions.next().unwrap();
            wanted.iter().map(|one| one.at.partition).collect()
        };
        assert_eq!(turn(), [1]);
        assert_eq!(turn(), [0, 2]);
        assert_eq!(turn(), [1]);
        assert!(positions.may_wait());
        assert_eq!(positions.next().unwrap().len(), 2);
        assert!(!positions.may_wait());
        positions.look_as_usual(&at(1));
        assert_eq!(positions.next().unwrap().len(), 3);
        assert!(positions.may_wait());
    }

    #[test]
    fn partitions_that_need_more_take_turns_with_each_other() {
        let mut positions = positions(3, &[]);
        positions.look_further(&at(0));
        positions.look_further(&at(1));
        let mut turn = || -> Vec<i32> {
            let wanted = positions.next().unwrap();
            wanted.iter().map(|one| one.at.partition).collect()
        };
        for partition in [0, 1, 0] {
            assert_eq!(turn(), [partition]);
            assert_eq!(turn(), [2]);
        }
    }

    #[test]
    fn a_larger_limit_that_has_become_the_usual_one_is_fetched() {
        let mut positions = positions(400, &[]);
        positions.look_further(&at(0));
        let larger = positions.next().unwrap()[0].limit;
        for partition in 1..400 {
            positions.pause(&at(partition));
        }
        assert!(positions.usual() > larger);
        let wanted = positions.next().unwrap();
        assert_eq!((wanted[0].at.partition, wanted[0].limit), (0, larger));
    }

    #[test]
    fn a_paused_partition_is_not_fetched_even_if_it_comes_again() {
        let mut positions = positions(2, &[]);
        positions.pause(&at(0));
        assert!(!positions.is_at(&at(0), 0));
        assert_eq!(positions.next().unwrap().len(), 1);
        positions.forget(&at(0));
        positions.read(at(0), 7);
        assert_eq!(positions.next().unwrap().len(), 1);
        positions.pause(&at(1));
        assert!(positions.next().is_none());
        positions.resume(&at(0));
        assert!(positions.is_at(&at(0), 7));
    }
}
