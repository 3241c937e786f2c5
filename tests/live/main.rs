//! Whole nodes on an embedded broker: provisioned, opened from their files, talking over TCP.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod exchange;
mod fleet;
mod restart;
mod supervision;
