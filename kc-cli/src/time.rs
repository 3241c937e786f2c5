//! Times as people read them.

use std::time::{Duration, SystemTime};

use kc::core::types::Timestamp;

/// A time in UTC, to the second; `None` if it is too far away.
pub(crate) fn rfc3339(time: Timestamp) -> Option<String> {
    let since_epoch = Duration::try_from_secs_f64(time.as_secs()).ok()?;
    let time = SystemTime::UNIX_EPOCH.checked_add(since_epoch)?;
    Some(humantime::format_rfc3339_seconds(time).to_string())
}

/// "until" an end, or "without end".
pub(crate) fn until(end: Option<Timestamp>) -> String {
    end.and_then(rfc3339)
        .map_or_else(|| "without end".to_owned(), |end| format!("until {end}"))
}
