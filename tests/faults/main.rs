//! The faults of the Python peer that we do not have, by the numbers of `docs/security.md`: each test
//! would fail if we had the fault.
//!
//! Fault 10, that nothing binds a message to its place, needs a change of the protocol; it has no test.

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
mod places;
mod trust;
mod wire;
mod world;
