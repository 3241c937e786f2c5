use std::collections::VecDeque;
use std::time::Duration;

use crate::keys::VerifyingKey;
use crate::sabotage::{Rule, broken};

/// The maximum number of self-revocations that wait for verification, separately for keys in use and for other
/// keys. Test: `invented_keys_neither_fill_memory_nor_hold_up_a_key_that_is_in_use`.
pub const MAX_WAITING_REVOCATIONS: usize = 256;
/// The maximum number of waiting self-revocations that claim to be of the same key. It is more than one, so that a
/// forged message does not keep the real one out. Test: `a_forged_revocation_does_not_keep_the_real_one_out`.
const MAX_WAITING_OF_ONE_KEY: usize = 4;
/// The maximum length of a self-revocation, in bytes. It is enough for two certificates and a hybrid signature. Test:
/// `a_revocation_that_is_too_long_is_dropped`.
pub const MAX_REVOCATION_LEN: usize = 24 * 1024;
/// The verification of self-revocations may take at most 1/`PART` of the node's time.
const PART: u32 = 10;
/// The maximum verification time that can accumulate while no message is verified. Test:
/// `a_tenth_of_the_time_goes_into_revocations_whatever_they_cost`.
const MAX_CREDIT: Duration = Duration::from_millis(10);
/// The interval at which verification continues while messages wait.
const PACE: Duration = Duration::from_millis(100);

/// Self-revocations that wait for verification.
///
/// They are the only messages that any key may sign, even a key that no root of trust has certified. They therefore
/// wait in queues of their own, and their verification takes at most a tenth of the node's time.
#[derive(Clone, Debug, Default)]
pub(super) struct Revocations {
    /// Messages that claim to revoke a key in use.
    seen: VecDeque<Waiting>,
    others: VecDeque<Waiting>,
    credit: Duration,
    credited_at: Option<Duration>,
    /// The start of the verification in progress.
    begun: Option<Duration>,
    /// The number of messages that were dropped.
    dropped: u64,
}

#[derive(Clone, Debug)]
struct Waiting {
    key: VerifyingKey,
    message: Vec<u8>,
}

impl Revocations {
    /// Queues a message, unless the same message already waits. Drops and counts the message if it is too long, the
    /// queue is full, or [`MAX_WAITING_OF_ONE_KEY`] messages of the same key wait.
    pub(super) fn push(&mut self, key: &VerifyingKey, is_seen: bool, message: &[u8]) {
        let queue = if is_seen && !broken(Rule::SeenRevocationsWaitApart) {
            &mut self.seen
        } else {
            &mut self.others
        };
        if queue.iter().any(|waiting| waiting.message == message) {
            return;
        }
        let of_this_key = queue.iter().filter(|waiting| waiting.key == *key).count();
        if message.len() > MAX_REVOCATION_LEN
            || queue.len() >= MAX_WAITING_REVOCATIONS
            || of_this_key >= MAX_WAITING_OF_ONE_KEY
        {
            self.dropped += 1;
            return;
        }
        queue.push_back(Waiting {
            key: key.clone(),
            message: message.to_vec(),
        });
    }

    /// Returns the next message to verify. Returns `None` if no message waits, if another message is being verified,
    /// or if the verification time has been used up.
    pub(super) fn begin(&mut self, now: Duration) -> Option<Vec<u8>> {
        let credited_at = self.credited_at.unwrap_or_default();
        if let Some(since) = now.checked_sub(credited_at) {
            self.credit = (self.credit + since / PART).min(MAX_CREDIT);
            self.credited_at = Some(now);
        }
        if self.begun.is_some() || self.credit.is_zero() {
            return None;
        }
        let next = self.seen.pop_front().or_else(|| self.others.pop_front())?;
        self.begun = Some(now);
        Some(next.message)
    }

    /// Records that the verification in progress has ended.
    pub(super) fn end(&mut self, now: Duration) {
        let took = now.saturating_sub(self.begun.take().unwrap_or(now));
        match self.credit.checked_sub(took) {
            Some(left) => self.credit = left,
            None => {
                // The verification took longer than the credit allowed. No new credit accumulates until this debt has
                // been paid by waiting.
                let debt = took.saturating_sub(self.credit);
                self.credit = Duration::ZERO;
                self.credited_at = Some(now + debt * PART);
            }
        }
    }

    /// Returns the time after which to call [`begin`](Self::begin) again, or `None` if no message waits.
    pub(super) fn next_timeout(&self) -> Option<Duration> {
        let waits = !self.seen.is_empty() || !self.others.is_empty();
        waits.then_some(PACE)
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8) -> VerifyingKey {
        VerifyingKey::Ed25519([number; 32])
    }

    #[test]
    fn a_tenth_of_the_time_goes_into_revocations_whatever_they_cost() {
        for cost in [Duration::from_micros(50), Duration::from_millis(40)] {
            let mut revocations = Revocations::default();
            let (mut now, mut spent, mut number) = (Duration::ZERO, Duration::ZERO, 0_u64);
            while now < Duration::from_secs(60) {
                number += 1;
                revocations.push(&key(1), false, &number.to_be_bytes());
                while revocations.begin(now).is_some() {
                    now += cost;
                    spent += cost;
                    revocations.end(now);
                    number += 1;
                    revocations.push(&key(1), false, &number.to_be_bytes());
                }
                now += Duration::from_millis(1);
            }
            let share = spent.as_secs_f64() / now.as_secs_f64();
            assert!((0.05..0.11).contains(&share), "{cost:?}: {share}");
        }
    }

    #[test]
    fn invented_keys_neither_fill_memory_nor_hold_up_a_key_that_is_in_use() {
        let mut revocations = Revocations::default();
        for number in 0..100_000_u32 {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            revocations.push(&VerifyingKey::Ed25519(bytes), false, &bytes);
        }
        assert_eq!(revocations.others.len(), MAX_WAITING_REVOCATIONS);
        assert!(revocations.dropped() > 0);
        revocations.push(&key(9), true, b"in use");
        let first = revocations.begin(Duration::from_secs(1));
        assert_eq!(first.as_deref(), Some(&b"in use"[..]));
    }

    #[test]
    fn a_forged_revocation_does_not_keep_the_real_one_out() {
        let mut revocations = Revocations::default();
        for number in 0..100_u8 {
            revocations.push(&key(1), true, &[number]);
        }
        assert_eq!(revocations.seen.len(), MAX_WAITING_OF_ONE_KEY);
        while revocations.begin(Duration::from_secs(1)).is_some() {
            revocations.end(Duration::from_secs(1));
        }
        revocations.push(&key(1), true, b"real");
        assert_eq!(revocations.seen.len(), 1);
    }

    #[test]
    fn a_revocation_that_is_too_long_is_dropped() {
        let mut revocations = Revocations::default();
        revocations.push(&key(1), false, &vec![0; MAX_REVOCATION_LEN]);
        assert_eq!((revocations.others.len(), revocations.dropped()), (1, 0));
        revocations.push(&key(1), false, &vec![0; MAX_REVOCATION_LEN + 1]);
        assert_eq!((revocations.others.len(), revocations.dropped()), (1, 1));
    }
}
