//! Whole nodes on an embedded broker: provisioned, opened from their files, connected by TCP.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod archives;
#[path = "../common/clients.rs"]
mod clients;
mod copies;
#[path = "../common/crowd.rs"]
mod crowd;
mod crowd_of_producers;
mod custody;
mod denials;
mod exchange;
mod facade;
#[path = "../common/fleet.rs"]
mod fleet;
mod groups;
mod growing;
mod lifecycle;
#[path = "../common/membership.rs"]
mod membership;
mod mirrored;
mod old_files;
mod outages;
mod own_chains;
mod patience;
mod restart;
mod roles;
mod settings;
mod spread;
mod stores;
mod supervision;
