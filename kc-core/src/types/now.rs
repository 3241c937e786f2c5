use std::time::Duration;

use super::Timestamp;

/// What time it is, by two clocks: that of the wall says what is valid, the monotonic one how long something took.
/// State machines take it as an argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Now {
    /// The time of day. It may be set back.
    pub wall: Timestamp,
    /// The time since some fixed moment. It never steps back.
    pub mono: Duration,
}
