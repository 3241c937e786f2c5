//! The role of the controller. Its actor vouches for the requests of limited nodes, which may not ask producers
//! themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use actix::{
    Actor, AsyncContext, Context, Handler, Message, MessageResult, ResponseFuture, WrapFuture,
};
use kc_core::exchange::{ExchangeConfig, RefusalId, Validity};
use kc_core::types::SideTopic;

use super::chain::ChainRole;
use super::exchange::{Driver, ExchangeParts, RefusedSender, SideRecords};
use super::gateway::GatewayRole;
use super::key_table::KeyTableRole;
use super::keystore::KeystoreRole;
use super::ratchet::RatchetRole;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::events::Events;
use crate::role::role;

role! {
    /// The messages that the controller actor answers: one [`Slot`](crate::Slot) for each. The slots are empty in a
    /// node that is not a controller.
    ///
    /// The answer to [`records`](Self::records) arrives when the controller has finished with each request: it has
    /// refused or dropped the request, or it has vouched for the request and the broker has acknowledged the result.
    pub struct ControllerRole {
        /// Processes requests to controllers.
        records: SideRecords,
        /// Returns the state of the controller.
        status: AskController,
    }
}

/// Returns the state of the controller.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "ControllerStatus")]
pub struct AskController;

/// The state of a controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, actix::MessageResponse)]
pub struct ControllerStatus {
    /// The number of requests for which the controller has vouched.
    pub forwarded: u64,
    /// The number of requests that the controller has refused, by the check that failed.
    pub refused: BTreeMap<RefusalId, u64>,
    /// The senders whose requests were refused. If there are already 64 entries, a new entry replaces the oldest.
    pub refusals: Vec<RefusedSender>,
}

/// The parts of a controller actor.
#[derive(Clone, Debug)]
pub struct ControllerParts {
    /// The period of validity that the controller gives to the requests for which it vouches.
    pub validity: Validity,
    /// The role that validates chains and returns the identities of this node.
    pub chain: ChainRole,
    /// The role that signs the requests.
    pub keystore: KeystoreRole,
    /// The role that sends the requests to side topics.
    pub gateway: GatewayRole,
    /// The clock.
    pub clock: Clock,
    /// The destination of events, and the source of events about changes of trust.
    pub events: Events,
}

/// The default actor of a controller. It executes the decisions of an [`Exchange`](kc_core::exchange::Exchange)
/// machine, which it does not share with the exchange actor.
#[derive(Debug)]
pub struct ControllerActor {
    driver: Driver,
}

impl ControllerActor {
    /// Returns an actor that has not yet vouched for any request.
    #[must_use]
    pub fn new(parts: ControllerParts) -> Self {
        let parts = ExchangeParts {
            config: ExchangeConfig {
                suites: Vec::new(),
                legacy: false,
                validity: parts.validity,
                interval: Duration::from_secs(60),
            },
            chain: parts.chain,
            keystore: parts.keystore,
            gateway: parts.gateway,
            clock: parts.clock,
            events: parts.events,
            entropy: Entropy::system(),
            // A controller neither requests nor keeps data keys.
            ratchet: RatchetRole::default(),
            key_table: KeyTableRole::default(),
            custody: None,
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
