use std::cell::OnceCell;
use std::iter::{Skip, Take};
use std::num::NonZero;
use std::thread::available_parallelism;

use rayon_core::{ThreadPool, ThreadPoolBuilder};

/// Maximum number of threads that open records by default. A batch rarely has work for more of them.
const MAX_DEFAULT: usize = 8;

/// Minimum share of a thread, in bytes to open. Opening so much takes several times as long as waking a thread.
const MIN_SHARE: usize = 128 << 10;

/// The length of a message that takes about as long as the derivation of its key, in bytes.
const KEY_COST: usize = 300;

/// The threads that open the records of a consumer: the consumer's own thread, and a pool that starts when there is enough
/// work for a second thread.
#[derive(Debug)]
pub(super) struct Threads {
    count: usize,
    /// `None` if the threads could not be started.
    pool: OnceCell<Option<ThreadPool>>,
}

impl Threads {
    /// Returns `count` threads, or by default as many as there are processors for this process, but at most
    /// [`MAX_DEFAULT`].
    pub(super) fn new(count: Option<NonZero<usize>>) -> Self {
        let processors = || available_parallelism().map_or(1, |count| count.get().min(MAX_DEFAULT));
        Self {
            count: count.map_or_else(processors, NonZero::get),
            pool: OnceCell::new(),
        }
    }

    /// Calls `work` for parts of `messages`, each on another thread, and returns the results in the order of the parts.
    /// Works in this thread if there is little to do.
    pub(super) fn share<'m, M, T>(
        &self,
        messages: M,
        work: impl Fn(Take<Skip<M>>) -> T + Sync,
    ) -> Vec<T>
    where
        M: Iterator<Item = &'m [u8]> + Clone + Send,
        T: Send,
    {
        let cost = |message: &[u8]| message.len() + KEY_COST;
        let (mut count, mut total) = (0, 0);
        for message in messages.clone() {
            count += 1;
            total += cost(message);
        }
        let parts = self.count.min(total / MIN_SHARE).max(1);
        let mut shares = Vec::with_capacity(parts);
        let (mut start, mut size) = (0, 0);
        for (at, message) in messages.clone().enumerate() {
            size += cost(message);
            if size >= total.div_ceil(parts) || at + 1 == count {
                shares.push(messages.clone().skip(start).take(at + 1 - start));
                (start, size) = (at + 1, 0);
            }
        }
        let pool = if shares.len() > 1 { self.pool() } else { None };
        let Some(pool) = pool else {
            return shares.into_iter().map(work).collect();
        };
        let mut results: Vec<Option<T>> = shares.iter().map(|_| None).collect();
        pool.in_place_scope(|scope| {
            let mut shares = shares.into_iter().zip(&mut results);
            let own = shares.next();
            let work = &work;
            for (share, result) in shares {
                scope.spawn(move |_| *result = Some(work(share)));
            }
            if let Some((share, result)) = own {
                *result = Some(work(share));
            }
        });
        results.into_iter().flatten().collect()
    }

    fn pool(&self) -> Option<&ThreadPool> {
        let start = || {
            let threads = ThreadPoolBuilder::new().num_threads(self.count - 1);
            let pool = threads.thread_name(|_| "kc-consumer-open".into()).build();
            pool.inspect_err(|error| {
                tracing::warn!(target: "kc::consumer", %error, "records are opened by one thread: no more can be started");
            })
            .ok()
        };
        self.pool.get_or_init(start).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;
    use std::thread::{self, ThreadId};

    use super::*;

    /// Shares messages of these lengths among `count` threads. Returns the lengths in each part.
    fn parts(count: usize, lengths: &[usize]) -> (Vec<Vec<usize>>, HashSet<ThreadId>) {
        let messages: Vec<Vec<u8>> = lengths.iter().map(|length| vec![0; *length]).collect();
        let used = Mutex::new(Vec::new());
        let parts =
            Threads::new(NonZero::new(count)).share(messages.iter().map(Vec::as_slice), |part| {
                used.lock().unwrap().push(thread::current().id());
                part.map(<[u8]>::len).collect::<Vec<_>>()
            });
        let used = used.into_inner().unwrap();
        (parts, used.into_iter().collect())
    }

    #[test]
    fn the_order_of_messages_is_kept_and_the_work_is_even() {
        let lengths: Vec<usize> = (0..5_000).map(|number| number % 700).collect();
        for count in 1..=5 {
            let (parts, _) = parts(count, &lengths);
            assert_eq!(parts.len(), count);
            assert_eq!(parts.concat(), lengths);
            let works = parts
                .iter()
                .map(|part| part.iter().map(|length| length + KEY_COST).sum::<usize>());
            let (least, most) = (works.clone().min().unwrap(), works.max().unwrap());
            assert!(most - least < 10_000, "{least} {most}");
        }
    }

    #[test]
    fn little_work_stays_in_the_thread_of_the_caller() {
        for lengths in [&[100; 300][..], &[250_000], &[60_000; 4]] {
            let (parts, used) = parts(4, lengths);
            assert_eq!(parts, [lengths.to_vec()]);
            assert_eq!(used, HashSet::from([thread::current().id()]));
        }
    }

    #[test]
    fn no_messages_are_no_work() {
        let (parts, used) = parts(4, &[]);
        assert!(parts.is_empty() && used.is_empty());
    }

    #[test]
    fn large_messages_go_to_several_threads() {
        let (parts, _) = parts(3, &[1 << 20, 1 << 20, 10]);
        assert_eq!(parts, [vec![1 << 20], vec![1 << 20], vec![10]]);
    }
}
