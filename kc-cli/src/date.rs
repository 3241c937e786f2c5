//! Times, for people.

use std::time::{Duration, SystemTime};

use kc::core::types::Timestamp;

/// A time in UTC, to the second: `2026-11-25T16:27:22Z`.
pub(crate) fn date(at: Timestamp) -> String {
    let since_epoch = Duration::try_from_secs_f64(at.as_secs()).unwrap_or_default();
    let time = SystemTime::UNIX_EPOCH.checked_add(since_epoch);
    time.map_or_else(
        || format!("{} seconds after the epoch", at.as_secs()),
        |time| humantime::format_rfc3339_seconds(time).to_string(),
    )
}

/// "until" a time, or "without end".
pub(crate) fn until(end: Option<Timestamp>) -> String {
    end.map_or_else(
        || "without end".to_owned(),
        |end| format!("until {}", date(end)),
    )
}
