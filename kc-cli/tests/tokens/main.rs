//! The program with a node's keys on a PKCS#11 token. Needs SoftHSM, Debian's package softhsm2, and a C compiler.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

#[allow(dead_code, reason = "shared with other tests, which use more of it")]
#[path = "../program/world.rs"]
mod world;

mod earlier;
mod faults;
mod fresh;
mod hanging;
mod interrupted;
mod leftovers;
mod memory;
mod moving;
mod outage;
mod pins;
mod ratchet;
mod refusals;
mod roots;
mod rotation;
mod secrets;
mod silent;
mod tokens;
