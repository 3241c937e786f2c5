mod driver;

use actix::{
    Actor, AsyncContext, Context, Handler, MessageResult, ResponseFuture, Supervised, WrapFuture,
};
use kc_core::exchange::{ExchangeConfig, Input};
use kc_core::types::SideTopic;

pub(super) use self::driver::Driver;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::events::Events;
use crate::messages::{
    AskExchange, AwaitedKeys, KeyWanted, OwnGrant, OwnIdentities, ReceivedOpeningKeys,
    RetainedKeysFor, SendRecord, ServeRoot, SideRecords, Sign, ValidateChain, Watch,
};
use crate::slot::Slot;

/// The parts of an exchange. The actor behind a slot can be replaced.
#[derive(Clone, Debug)]
pub struct ExchangeParts {
    /// How it works.
    pub config: ExchangeConfig,
    /// Validates chains.
    pub validate: Slot<ValidateChain>,
    /// Knows this node's identities.
    pub identities: Slot<OwnIdentities>,
    /// Knows what they are granted.
    pub grants: Slot<OwnGrant>,
    /// Keeps this node's keys for late consumers.
    pub retained: Slot<RetainedKeysFor>,
    /// Signs.
    pub sign: Slot<Sign>,
    /// Sends records to side topics.
    pub send_record: Slot<SendRecord>,
    /// Reads side topics.
    pub watch: Slot<Watch>,
    /// Takes the keys that come in.
    pub received: Slot<ReceivedOpeningKeys>,
    /// Takes why keys do not come in.
    pub awaited: Slot<AwaitedKeys>,
    /// What time it is.
    pub clock: Clock,
    /// Where random numbers come from.
    pub entropy: Entropy,
    /// Where to tell what happens, and to hear that trust changed.
    pub events: Events,
}

/// The key exchange: asks for the keys that this node lacks, and answers for those it keeps. Executes what an
/// [`Exchange`](kc_core::exchange::Exchange) decides.
#[derive(Debug)]
pub struct ExchangeActor {
    driver: Driver,
}

impl ExchangeActor {
    /// Wants nothing, and has answered nothing.
    #[must_use]
    pub fn new(parts: ExchangeParts) -> Self {
        Self {
            driver: Driver::new(parts, false),
        }
    }
}

impl Actor for ExchangeActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.spawn(self.driver.clone().run().into_actor(self));
    }
}

impl Supervised for ExchangeActor {}

impl Handler<KeyWanted> for ExchangeActor {
    type Result = ();

    fn handle(&mut self, message: KeyWanted, _: &mut Self::Context) {
        let KeyWanted {
            root_topic,
            id,
            known,
        } = message;
        tracing::debug!(target: "kc::exchange", %root_topic, %id, "key wanted");
        self.driver.input(Input::Want {
            root_topic,
            id,
            known,
        });
    }
}

impl Handler<ServeRoot> for ExchangeActor {
    type Result = ();

    fn handle(&mut self, ServeRoot { root_topic }: ServeRoot, _: &mut Self::Context) {
        self.driver.input(Input::Serve(root_topic));
    }
}

impl Handler<SideRecords> for ExchangeActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, SideRecords(records): SideRecords, _: &mut Self::Context) -> Self::Result {
        // Subscriptions are controllers' business.
        let records = records.into_iter();
        let records = records.filter(|record| record.side != SideTopic::Subscriptions);
        Box::pin(self.driver.records(records.collect()))
    }
}

impl Handler<AskExchange> for ExchangeActor {
    type Result = MessageResult<AskExchange>;

    fn handle(&mut self, _: AskExchange, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.driver.status())
    }
}
