use std::collections::HashMap;
use std::time::Duration;

use crate::keys::VerifyingKey;
use crate::types::Timestamp;

/// The node warns at most this long before the end of a chain.
const EARLIEST: Duration = Duration::from_secs(7 * 86_400);
/// A fraction of the time between the moment when the node first saw a chain and the end of the chain. The node warns
/// when only this fraction is left, or only [`EARLIEST`] if that is shorter. With the default settings, chain servers
/// renew a chain earlier, so a chain that is renewed in time causes no warning.
const PART: f64 = 0.1;

/// Gives one warning for each of a node's own chains that is about to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Expiry {
    seen: HashMap<VerifyingKey, Seen>,
}

/// The end of a chain, the time of the warning about this end, and whether the warning was given.
#[derive(Clone, Copy, Debug)]
struct Seen {
    end: Timestamp,
    warn_at: Timestamp,
    warned: bool,
}

impl Expiry {
    /// Records that the chain of `key` ends at `end`.
    pub(super) fn see(&mut self, key: &VerifyingKey, end: Timestamp, now: Timestamp) {
        let seen = self.seen.get(key);
        if seen.is_none_or(|seen| seen.end != end) {
            self.seen.insert(key.clone(), Seen::at(now, end));
        }
    }

    /// Returns the key and the end of a chain about which the node must warn now. The caller repeats the call until the
    /// result is `None`.
    pub(super) fn due(&mut self, now: Timestamp) -> Option<(VerifyingKey, Timestamp)> {
        let mut chains = self.seen.iter_mut();
        let (key, chain) = chains.find(|(_, chain)| !chain.warned && chain.warn_at <= now)?;
        chain.warned = true;
        Some((key.clone(), chain.end))
    }

    /// Returns the time of the next warning, or `None` if no warning is left to give.
    pub(super) fn next_warning(&self) -> Option<Timestamp> {
        let waiting = self.seen.values().filter(|chain| !chain.warned);
        waiting
            .map(|chain| chain.warn_at)
            .min_by(|one, other| one.as_secs().total_cmp(&other.as_secs()))
    }
}

impl Seen {
    fn at(now: Timestamp, end: Timestamp) -> Self {
        let early = end.since(now).mul_f64(PART).min(EARLIEST);
        let warn_at = Timestamp::from_secs(end.as_secs() - early.as_secs_f64());
        Self {
            end,
            warn_at: warn_at.unwrap_or(end),
            warned: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: f64) -> Timestamp {
        Timestamp::from_secs(secs).unwrap()
    }

    /// Returns the number of chains to warn of at `now`, given a chain that ends at `end`.
    fn due(expiry: &mut Expiry, end: f64, now: f64) -> usize {
        expiry.see(&VerifyingKey::Ed25519([1; 32]), at(end), at(now));
        std::iter::from_fn(|| expiry.due(at(now))).count()
    }

    #[test]
    fn the_end_of_a_chain_is_warned_of_once_and_in_time() {
        let mut expiry = Expiry::default();
        assert_eq!(expiry.next_warning(), None);
        assert_eq!(due(&mut expiry, 1000.0, 0.0), 0);
        assert_eq!(expiry.next_warning(), Some(at(900.0)));
        assert_eq!(due(&mut expiry, 1000.0, 899.0), 0);
        assert_eq!(due(&mut expiry, 1000.0, 900.0), 1);
        assert_eq!(expiry.next_warning(), None);
        assert_eq!(due(&mut expiry, 1000.0, 950.0), 0);
        // The chain has been renewed, and is about to end again.
        assert_eq!(due(&mut expiry, 2000.0, 960.0), 0);
        assert_eq!(due(&mut expiry, 2000.0, 1990.0), 1);
    }

    #[test]
    fn a_chain_of_years_is_warned_of_a_week_before_its_end() {
        const DAY: f64 = 86_400.0;
        let mut expiry = Expiry::default();
        assert_eq!(due(&mut expiry, 3650.0 * DAY, 0.0), 0);
        assert_eq!(due(&mut expiry, 3650.0 * DAY, 3642.0 * DAY), 0);
        assert_eq!(due(&mut expiry, 3650.0 * DAY, 3643.0 * DAY), 1);
    }
}
