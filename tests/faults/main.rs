//! The faults of the Python peer that kc does not have, by their numbers in `docs/security.md`. Each test would fail if
//! kc had the fault.
//!
//! Fault 10, that nothing binds a message to its place, can only be removed by a change of the protocol; it has no
//! test.

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

mod documented;
mod exchange;
mod files;
mod flood;
mod keys;
mod lost_keys;
mod places;
mod trust;
mod wire;
mod world;
