//! Tests of the program, with a broker in the test process.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod certificates;
mod cluster;
mod connecting;
mod consume;
mod crashes;
mod custodian;
mod doctor;
mod enroll;
mod exits;
mod fields;
mod files;
mod help;
mod inspect;
mod keys;
mod nodes;
mod options;
mod parking;
mod passwords;
mod produce;
mod roles;
mod separate;
mod terminal;
mod trust;
mod undecryptable;
mod world;
