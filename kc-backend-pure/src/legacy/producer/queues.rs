//! Records that wait to be sent. Each partition has a queue that keeps the order of its records.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kc_core::backend::{BackendError, Delivery, OutgoingRecord, ProgressCounter, TopicPartition};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// A record that waits to be sent. Dropping it frees its part of the queue's memory.
pub(super) struct Queued {
    pub(super) record: OutgoingRecord,
    /// The size of the record, in bytes.
    pub(super) size: usize,
    pub(super) since: Instant,
    /// The number of records that the sender received before this record.
    pub(super) number: u64,
    _memory: OwnedSemaphorePermit,
    counter: Arc<ProgressCounter>,
    reply: oneshot::Sender<Result<Delivery, BackendError>>,
}

impl Queued {
    pub(super) fn new(
        record: OutgoingRecord,
        size: usize,
        memory: OwnedSemaphorePermit,
        counter: Arc<ProgressCounter>,
        reply: oneshot::Sender<Result<Delivery, BackendError>>,
    ) -> Self {
        counter.queued();
        Self {
            record,
            size,
            since: Instant::now(),
            number: 0,
            _memory: memory,
            counter,
            reply,
        }
    }

    /// Returns the text by which errors name the action.
    pub(super) fn context(&self) -> String {
        format!("send to topic {}", self.record.topic)
    }

    pub(super) fn answer(self, result: Result<Delivery, BackendError>) {
        match &result {
            Ok(_) => self.counter.acknowledged(),
            Err(_) => self.counter.failed(),
        }
        // The caller may have dropped the delivery.
        let _ = self.reply.send(result);
    }
}

/// Records that are sent to one partition in one request.
pub(super) struct Batch {
    pub(super) at: TopicPartition,
    pub(super) records: VecDeque<Queued>,
}

impl Batch {
    /// Reports to the callers that the records were stored at consecutive offsets, beginning with `first`.
    pub(super) fn acknowledge(self, first: i64) {
        let partition = self.at.partition;
        for (offset, queued) in (first..).zip(self.records) {
            queued.answer(Ok(Delivery { partition, offset }));
        }
    }
}

#[derive(Default)]
pub(super) struct Queues {
    queues: HashMap<TopicPartition, VecDeque<Queued>>,
    /// The partitions with queued records. The next batch is taken from the first partition in this list.
    turns: VecDeque<TopicPartition>,
    bytes: usize,
}

impl Queues {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the first queued record of each partition.
    pub(super) fn firsts(&self) -> impl Iterator<Item = &Queued> {
        self.queues.values().filter_map(VecDeque::front)
    }

    pub(super) fn push(&mut self, at: TopicPartition, queued: Queued) {
        self.bytes += queued.size;
        match self.queues.get_mut(&at) {
            Some(queue) => queue.push_back(queued),
            None => {
                self.turns.push_back(at.clone());
                self.queues.insert(at, VecDeque::from([queued]));
            }
        }
    }

    /// Takes a batch from each partition in turn. A batch has at most `batch` bytes, and all batches together have at
    /// most `total` bytes. A record that is larger than `batch` is a batch of its own. A record that is larger than
    /// `total` is taken only as the first record, and then alone.
    pub(super) fn take(&mut self, batch: usize, total: usize) -> Vec<Batch> {
        let mut batches: Vec<Batch> = Vec::new();
        let mut left = total;
        for _ in 0..self.turns.len() {
            let Some(at) = self.turns.pop_front() else {
                break;
            };
            let records = self.take_from(&at, batch, left, batches.is_empty());
            if records.is_empty() {
                self.turns.push_front(at);
                break;
            }
            if self.queues.contains_key(&at) {
                self.turns.push_back(at.clone());
            }
            let bytes: usize = records.iter().map(|queued| queued.size).sum();
            left = left.saturating_sub(bytes);
            self.bytes -= bytes;
            batches.push(Batch { at, records });
        }
        batches
    }

    fn take_from(
        &mut self,
        at: &TopicPartition,
        batch: usize,
        left: usize,
        is_first: bool,
    ) -> VecDeque<Queued> {
        let mut taken = VecDeque::new();
        let mut bytes = 0;
        let Some(queue) = self.queues.get_mut(at) else {
            return taken;
        };
        while let Some(queued) = queue.pop_front_if(|queued| {
            let with = bytes + queued.size;
            let one = taken.is_empty();
            (one || with <= batch) && (with <= left || (one && is_first))
        }) {
            bytes += queued.size;
            taken.push_back(queued);
        }
        if queue.is_empty() {
            self.queues.remove(at);
        }
        taken
    }

    /// Puts a batch back to the front of its queue.
    pub(super) fn put_back(&mut self, Batch { at, mut records }: Batch) {
        self.bytes += records.iter().map(|queued| queued.size).sum::<usize>();
        match self.queues.get_mut(&at) {
            Some(queue) => {
                records.append(queue);
                *queue = records;
            }
            None => {
                self.turns.push_front(at.clone());
                self.queues.insert(at, records);
            }
        }
    }

    /// Takes the records that have waited for at least `than` since they were enqueued.
    pub(super) fn take_older(&mut self, than: Duration) -> Vec<Queued> {
        let mut older = Vec::new();
        for queue in self.queues.values_mut() {
            while let Some(queued) = queue.pop_front_if(|queued| queued.since.elapsed() >= than) {
                older.push(queued);
            }
        }
        if !older.is_empty() {
            self.tidy();
        }
        older
    }

    /// Takes the records of partitions that have disappeared, in the order in which the sender received them.
    pub(super) fn take_gone(&mut self, exists: impl Fn(&TopicPartition) -> bool) -> Vec<Queued> {
        let mut gone: Vec<Queued> = self
            .queues
            .extract_if(|at, _| !exists(at))
            .flat_map(|(_, queue)| queue)
            .collect();
        gone.sort_by_key(|queued| queued.number);
        self.tidy();
        gone
    }

    fn tidy(&mut self) {
        self.queues.retain(|_, queue| !queue.is_empty());
        self.turns.retain(|at| self.queues.contains_key(at));
        let sizes = self.queues.values().flatten().map(|queued| queued.size);
        self.bytes = sizes.sum();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;

    fn queued(number: u64, size: usize) -> Queued {
        let memory = Arc::new(Semaphore::new(1));
        let permit = memory.try_acquire_owned().unwrap();
        let record = OutgoingRecord::default();
        let mut queued = Queued::new(record, size, permit, Arc::default(), oneshot::channel().0);
        queued.number = number;
        queued
    }

    fn at(partition: i32) -> TopicPartition {
        TopicPartition {
            topic: "t".to_owned(),
            partition,
        }
    }

    fn filled(records: &[(i32, usize)]) -> Queues {
        let mut queues = Queues::default();
        for (number, (partition, size)) in (0..).zip(records) {
            queues.push(at(*partition), queued(number, *size));
        }
        queues
    }

    fn numbers(batches: &[Batch]) -> Vec<Vec<u64>> {
        let numbers = |batch: &Batch| batch.records.iter().map(|queued| queued.number).collect();
        batches.iter().map(numbers).collect()
    }

    #[test]
    fn batches_keep_to_their_sizes_and_order() {
        let mut queues = filled(&[(0, 4), (1, 4), (0, 4), (0, 4), (1, 4)]);
        assert_eq!(numbers(&queues.take(8, 100)), [vec![0, 2], vec![1, 4]]);
        assert_eq!(queues.bytes(), 4);
        assert_eq!(numbers(&queues.take(8, 100)), [vec![3]]);
        assert!(queues.is_empty());
    }

    #[test]
    fn a_large_record_goes_alone_and_nobody_starves() {
        let mut queues = filled(&[(0, 50), (1, 50), (0, 50), (1, 50)]);
        for number in 0..4 {
            assert_eq!(numbers(&queues.take(8, 40)), [vec![number]]);
        }
        assert!(queues.is_empty());
    }

    #[test]
    fn what_is_put_back_comes_first() {
        let mut queues = filled(&[(0, 4), (0, 4), (0, 4)]);
        let batch = queues.take(8, 100).remove(0);
        queues.put_back(batch);
        assert_eq!(queues.bytes(), 12);
        assert_eq!(numbers(&queues.take(100, 100)), [vec![0, 1, 2]]);
        assert_eq!(queues.bytes(), 0);
    }

    #[test]
    fn what_is_overdue_or_has_no_partition_is_taken_out() {
        let mut queues = filled(&[(0, 4), (1, 4), (0, 4)]);
        let gone = queues.take_gone(|at| at.partition == 1);
        let gone: Vec<u64> = gone.iter().map(|queued| queued.number).collect();
        assert_eq!((gone, queues.bytes()), (vec![0, 2], 4));
        assert!(queues.take_older(Duration::ZERO).len() == 1);
        assert!(queues.is_empty());
    }
}
