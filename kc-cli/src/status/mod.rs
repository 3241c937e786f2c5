//! How a node is: asked of the process that has it open, or read from its files.

mod address;
mod files;
mod print;
mod report;
mod socket;

pub(crate) use files::{granted, node_settings, read_files, trust, trust_of};
pub(crate) use print::lines;
pub(crate) use socket::{Rotated, StatusServer, ask, rotate};
