use actix::{
    Actor, AsyncContext, Context, Handler, MessageResult, ResponseFuture, Supervised, WrapFuture,
};
use kc_core::exchange::{ExchangeConfig, Validity};
use kc_core::types::SideTopic;

use super::exchange::{Driver, ExchangeParts};
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::events::Events;
use crate::messages::{
    AskController, ControllerStatus, OwnIdentities, SendRecord, SideRecords, Sign, ValidateChain,
};
use crate::slot::Slot;

/// The parts of a controller. The actor behind a slot can be replaced.
#[derive(Clone, Debug)]
pub struct ControllerParts {
    /// How long what it signs is valid.
    pub validity: Validity,
    /// Validates chains.
    pub validate: Slot<ValidateChain>,
    /// Knows this node's identities.
    pub identities: Slot<OwnIdentities>,
    /// Signs.
    pub sign: Slot<Sign>,
    /// Sends records to side topics.
    pub send_record: Slot<SendRecord>,
    /// What time it is.
    pub clock: Clock,
    /// Where to tell what happens, and to hear that trust changed.
    pub events: Events,
}

/// The controller: vouches for consumers that may not ask producers themselves. When [`SideRecords`] is
/// answered, all that it vouched for is acknowledged by the broker. Executes what an
/// [`Exchange`](kc_core::exchange::Exchange) of its own decides.
#[derive(Debug)]
pub struct ControllerActor {
    driver: Driver,
}

impl ControllerActor {
    /// Has vouched for nobody yet.
    #[must_use]
    pub fn new(parts: ControllerParts) -> Self {
        let parts = ExchangeParts {
            config: ExchangeConfig {
                suites: Vec::new(),
                legacy: false,
                validity: parts.validity,
                interval: std::time::Duration::from_secs(60),
            },
            validate: parts.validate,
            identities: parts.identities,
            sign: parts.sign,
            send_record: parts.send_record,
            clock: parts.clock,
            events: parts.events,
            entropy: Entropy::system(),
            // It asks for nothing, and keeps no keys.
            grants: Slot::unconnected(),
            retained: Slot::unconnected(),
            watch: Slot::unconnected(),
            received: Slot::unconnected(),
            awaited: Slot::unconnected(),
        };
        Self {
            driver: Driver::new(parts, true),
        }
    }
}

impl Actor for ControllerActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(self.driver.clone().run().into_actor(self));
    }
}

impl Supervised for ControllerActor {}

impl Handler<SideRecords> for ControllerActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, SideRecords(records): SideRecords, _: &mut Self::Context) -> Self::Result {
        let records = records.into_iter();
        let records = records.filter(|record| record.side == SideTopic::Subscriptions);
        Box::pin(self.driver.records(records.collect()))
    }
}

impl Handler<AskController> for ControllerActor {
    type Result = MessageResult<AskController>;

    fn handle(&mut self, _: AskController, _: &mut Self::Context) -> Self::Result {
        let status = self.driver.status();
        MessageResult(ControllerStatus {
            forwarded: status.forwarded,
            refused: status.refused,
            refusals: status.refusals,
        })
    }
}
