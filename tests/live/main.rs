//! Whole nodes on an embedded broker: provisioned, opened from their files, talking over TCP.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod exchange;
mod fleet;
mod groups;
mod lifecycle;
mod restart;
mod roles;
mod settings;
mod supervision;
