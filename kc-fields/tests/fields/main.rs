//! Tests of the crate as a program uses it, with nodes and a broker in the test process.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod conformance;
mod grants;
mod policies;
mod properties;
mod server;
mod transit;
mod world;
