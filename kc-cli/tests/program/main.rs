//! The program itself, on its own broker.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod consume;
mod crashes;
mod exits;
mod nodes;
mod produce;
mod trust;
mod world;
