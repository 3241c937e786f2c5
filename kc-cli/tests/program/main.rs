//! The program itself, on its own broker.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod certificates;
mod connecting;
mod consume;
mod crashes;
mod exits;
mod keys;
mod nodes;
mod produce;
mod roles;
mod separate;
mod trust;
mod world;
