use std::collections::BTreeMap;

use actix::Message;
use kc_core::exchange::RefusalId;

use super::RefusedSender;

/// Asks how a controller stands.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "ControllerStatus")]
pub struct AskController;

/// How a controller stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, actix::MessageResponse)]
pub struct ControllerStatus {
    /// How many requests it has vouched for.
    pub forwarded: u64,
    /// How many it has refused, by check.
    pub refused: BTreeMap<RefusalId, u64>,
    /// Whose were refused of late, and why; at most 64.
    pub refusals: Vec<RefusedSender>,
}
