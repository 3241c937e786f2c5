//! Types that all other modules share: topics, key ids and times.

mod root_topics;
mod topic;

use std::fmt;
use std::time::{Duration, SystemTime};

pub use root_topics::{RootTopics, RootTopicsError};
pub use topic::{
    ManagementTopic, ManagementTopics, RootTopic, SideTopic, TopicScheme, is_topic_name,
};

/// The start of the year 10000, in seconds since the epoch. ISO 8601 with four digits for the year can show only
/// earlier times.
const YEAR_10000: f64 = 253_402_300_800.0;

/// Length of a long key id, in bytes.
pub const KEY_ID_LEN: usize = 32;

/// Identifies one data key of a root topic (protocol §4, "key index").
///
/// A message carries the id of the key that it was sealed with. Producers choose the ids, which are not secret. Two
/// producers may claim the same id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyId {
    /// The default form: 32 bytes, a hash of the producer's public keys and its ratchet index.
    Long([u8; KEY_ID_LEN]),
    /// The compact form: the ratchet index itself.
    Short(u64),
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
            Self::Short(index) => write!(f, "#{index}"),
        }
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// The current time by two clocks. State machines take it as an argument.
///
/// The wall clock decides about validity, the monotonic clock measures durations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Now {
    /// The wall-clock time. It may step back.
    pub wall: Timestamp,
    /// The time since an arbitrary fixed moment. It never steps back.
    pub mono: Duration,
}

/// A point in time: seconds since the Unix epoch, with fractions, always finite.
///
/// Messages carry times as floats (protocol §1), so certificates and state machines compare times of this type.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Timestamp(f64);

// The number is never NaN.
impl Eq for Timestamp {}

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0.0);

    /// Creates a time from seconds since the epoch. Returns `None` for NaN and the infinities.
    #[must_use]
    pub fn from_secs(secs: f64) -> Option<Self> {
        secs.is_finite().then_some(Self(secs))
    }

    /// Creates a time from the duration since the epoch, as `SystemTime` reports it.
    #[must_use]
    pub fn from_unix(since_epoch: Duration) -> Self {
        Self(since_epoch.as_secs_f64())
    }

    /// Returns the seconds since the epoch.
    #[must_use]
    pub fn as_secs(self) -> f64 {
        self.0
    }

    /// Returns the time that is `delay` later.
    #[must_use]
    pub fn plus(self, delay: Duration) -> Self {
        Self(self.0 + delay.as_secs_f64())
    }

    /// Returns the time that was `ago` earlier.
    #[must_use]
    pub fn minus(self, ago: Duration) -> Self {
        Self(self.0 - ago.as_secs_f64())
    }

    /// Returns the time from `earlier` until this time, or zero if `earlier` is later, which happens when a clock steps
    /// back.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::try_from_secs_f64(self.0 - earlier.0).unwrap_or(Duration::ZERO)
    }
}

impl fmt::Display for Timestamp {
    /// Writes the time in UTC, to the second, as ISO 8601: `2026-11-25T16:27:22Z`. A time before 1970 or after 9999 is
    /// written as a number of seconds after the epoch.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = (0.0..YEAR_10000).contains(&self.0);
        let since_epoch = Duration::try_from_secs_f64(self.0).ok();
        match since_epoch.filter(|_| shown) {
            Some(since_epoch) => {
                humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since_epoch).fmt(f)
            }
            None => write!(f, "{} seconds after the epoch", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_a_time() {
        assert_eq!(Timestamp::from_secs(f64::NAN), None);
        assert_eq!(Timestamp::from_secs(f64::INFINITY), None);
    }

    #[test]
    fn times_are_shown_in_utc() {
        for (secs, shown) in [
            (0.0, "1970-01-01T00:00:00Z"),
            (1_764_088_042.9, "2025-11-25T16:27:22Z"),
            (253_402_300_799.0, "9999-12-31T23:59:59Z"),
            (253_402_300_800.0, "253402300800 seconds after the epoch"),
            (-1.5, "-1.5 seconds after the epoch"),
            (1e300, &format!("{} seconds after the epoch", 1e300)),
        ] {
            assert_eq!(Timestamp::from_secs(secs).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_clock_that_steps_back_gives_zero() {
        let noon = Timestamp::from_unix(Duration::from_secs(100));
        let later = noon.plus(Duration::from_millis(1500));
        assert_eq!(later.since(noon), Duration::from_millis(1500));
        assert_eq!(noon.since(later), Duration::ZERO);
    }
}
