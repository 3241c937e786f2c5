//! The broker, frame by frame: what no well-behaved client would send, and answers that clients
//! do not show.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail like tests"
)]

mod bad_input;
mod faults;
mod groups;
mod lifecycle;
mod produce;
mod silent;
mod versions;
mod wire;
