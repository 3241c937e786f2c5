//! How a node is: asked of the process that has it open, or read from its files.

mod files;
mod print;
mod report;
mod socket;

pub(crate) use files::{granted, look, node_settings, trust, trust_of};
pub(crate) use print::lines;
pub(crate) use report::{InUse, Report};
pub(crate) use socket::{Enrolled, Enrollment, Rotated, StatusServer, enroll, rotate};
