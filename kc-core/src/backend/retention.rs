use std::time::Duration;

/// The time for which a topic keeps its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// The topic has no limit of time, for example because it is compacted.
    Forever,
    /// The brokers delete records that are older (`retention.ms`). A limit of bytes, which may delete records earlier, is
    /// ignored.
    For(Duration),
}

impl Retention {
    /// Returns the retention that follows from two settings of a topic: `cleanup.policy` and `retention.ms`. Returns
    /// `None` if the meaning of a setting is not known.
    ///
    /// Brokers delete old records only if the policy contains `delete`. Therefore a topic with `compact,delete` has a
    /// limit of time, and one with `compact` or without a policy has none.
    #[must_use]
    pub fn of(cleanup_policy: &str, retention_ms: &str) -> Option<Self> {
        let policies = cleanup_policy.split(',').map(str::trim);
        let mut deletes = false;
        for policy in policies.filter(|policy| !policy.is_empty()) {
            match policy {
                "compact" => {}
                "delete" => deletes = true,
                _ => return None,
            }
        }
        if !deletes {
            return Some(Self::Forever);
        }
        match retention_ms.trim().parse::<i64>().ok()? {
            -1 => Some(Self::Forever),
            limit => {
                let limit = u64::try_from(limit).ok()?;
                Some(Self::For(Duration::from_millis(limit)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: &str = "604800000";

    #[test]
    fn deleted_records_are_kept_for_retention_ms() {
        let week = Some(Retention::For(Duration::from_hours(7 * 24)));
        for policy in ["delete", "compact,delete", "delete,compact", " delete , "] {
            assert_eq!(Retention::of(policy, WEEK), week, "{policy}");
            assert_eq!(
                Retention::of(policy, "-1"),
                Some(Retention::Forever),
                "{policy}"
            );
        }
        let none = Some(Retention::For(Duration::ZERO));
        assert_eq!(Retention::of("delete", "0"), none);
        let longest = Duration::from_millis(i64::MAX.unsigned_abs());
        assert_eq!(
            Retention::of("delete", "9223372036854775807"),
            Some(Retention::For(longest))
        );
    }

    #[test]
    fn without_the_policy_delete_records_are_kept_forever() {
        for policy in ["compact", " compact ", "", ","] {
            for time in [WEEK, "-1", "0", "soon"] {
                assert_eq!(
                    Retention::of(policy, time),
                    Some(Retention::Forever),
                    "{policy:?} {time}"
                );
            }
        }
    }

    #[test]
    fn unknown_values_have_no_meaning() {
        for time in ["", "-2", "1.5", "soon", "1h", "9223372036854775808"] {
            assert_eq!(Retention::of("delete", time), None, "{time:?}");
        }
        for policy in ["shred", "Delete", "delete,shred", "delete;compact"] {
            assert_eq!(Retention::of(policy, WEEK), None, "{policy}");
        }
    }
}
