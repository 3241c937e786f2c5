//! No secret is shown: neither in the `Debug` output of a type that holds one, nor in the logs of nodes.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

// Shared with the tests of whole nodes.
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
#[path = "../common/clients.rs"]
mod clients;
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
#[path = "../common/fleet.rs"]
mod fleet;
#[allow(dead_code, reason = "shared with other tests, which use more of it")]
#[path = "../common/peer.rs"]
mod peer;

mod core;
mod exchange;
mod leaks;
mod logs;
mod nodes;
