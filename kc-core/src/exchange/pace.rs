use std::time::Duration;

/// Lets a burst through, then one at a time: a leaky bucket as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    burst: u32,
    period: Duration,
    /// When the bucket will be empty.
    empty_at: Duration,
}

impl Pace {
    /// Lets `burst` through at once, and then one for each `period`.
    pub(super) const fn new(burst: u32, period: Duration) -> Self {
        Self {
            burst,
            period,
            empty_at: Duration::ZERO,
        }
    }

    /// When the next one may go.
    pub(super) fn ready_at(&self) -> Duration {
        let room = self.period * self.burst.saturating_sub(1);
        self.empty_at.saturating_sub(room)
    }

    /// Notes that one goes.
    pub(super) fn take(&mut self, now: Duration) {
        self.empty_at = self.empty_at.max(now) + self.period;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_for_each_period() {
        let mut pace = Pace::new(4, Duration::from_secs(2));
        let mut sent = Vec::new();
        for tenth in 100..200_u64 {
            let now = Duration::from_millis(tenth * 100);
            while pace.ready_at() <= now {
                pace.take(now);
                sent.push(tenth);
            }
        }
        assert_eq!(sent[..7], [100, 100, 100, 100, 120, 140, 160]);
    }
}
