//! The promises of [`kc_core::backend`], one function each: `async fn(&Bench) -> Result<(), Failure>`.

pub mod endless;
pub mod groups;
pub mod logs;
pub mod new_brokers;
pub mod outages;
pub mod records;
pub mod topics;
pub mod unreachable;
