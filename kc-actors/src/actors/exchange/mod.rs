//! The role of the key exchange: asks for the keys that this node lacks, and answers for those it keeps.

mod driver;

use std::collections::BTreeMap;

use actix::{
    Actor, AsyncContext, Context, Handler, Message, MessageResult, ResponseFuture, WrapFuture,
};
use kc_core::exchange::{ExchangeConfig, Input, MissingKeys, Party, RefusalId, Sender};
use kc_core::ratchet::Candidates;
use kc_core::types::{KeyId, RootTopic, SideTopic};

pub(super) use self::driver::Driver;
use super::chain::ChainRole;
use super::gateway::GatewayRole;
use super::key_table::KeyTableRole;
use super::keystore::KeystoreRole;
use super::ratchet::RatchetRole;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::events::Events;
use crate::role::role;

role! {
    /// The slots of the key exchange.
    ///
    /// It decides alone which requests are answered: a replacement of [`records`](Self::records) sees every request and
    /// reply before it does, and may keep some from it.
    pub struct ExchangeRole {
        /// Takes requests to producers, and replies.
        records: SideRecords,
        /// Asks for a missing key.
        want: KeyWanted,
        /// Answers requests for the keys of a root topic from now on.
        serve: ServeRoot,
        /// Returns the state of the exchange.
        status: AskExchange,
    }
}

/// Hands over the records of one poll of the side topics. When it is answered, everything that the records ask for is
/// done, or cannot be done now and will be asked for again; the next poll may follow.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct SideRecords(pub Vec<SideRecord>);

/// A record of a side topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideRecord {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The kind of side topic.
    pub side: SideTopic,
    /// The Kafka key.
    pub kafka_key: Vec<u8>,
    /// The Kafka value.
    pub value: Vec<u8>,
}

/// Asks for a key that a record needs.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct KeyWanted {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The key.
    pub id: KeyId,
    /// The keys with this id that the node has, and that did not open the record.
    pub known: Candidates,
}

/// Answers requests for the keys of a root topic from now on, because this node seals for it. Requests that came
/// before are answered, too. Waits for no broker.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ServeRoot {
    /// The root topic.
    pub root_topic: RootTopic,
}

/// Returns the state of the exchange.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "ExchangeStatus")]
pub struct AskExchange;

/// The state of an exchange.
#[derive(Clone, Debug, Default, PartialEq, Eq, actix::MessageResponse)]
pub struct ExchangeStatus {
    /// The number of wanted keys, by root topic.
    pub wanted: BTreeMap<RootTopic, usize>,
    /// Why keys are missing, for each root topic with missing keys.
    pub missing: Vec<MissingKeys>,
    /// How often a bound kept a wanted key out.
    pub bounds_hit: u64,
    /// The number of requests that wait for their replies.
    pub outstanding: usize,
    /// The number of answered requests.
    pub answered: u64,
    /// The number of requests vouched for.
    pub forwarded: u64,
    /// The number of refused requests and replies, by check.
    pub refused: BTreeMap<RefusalId, u64>,
    /// The senders refused last; at most 64.
    pub refusals: Vec<RefusedSender>,
    /// The nodes that got keys last; at most 64.
    pub given: Vec<GivenKeys>,
}

/// A sender whose requests or replies were refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedSender {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The kind of side topic.
    pub side: SideTopic,
    /// The sender.
    pub sender: Sender,
    /// The check that refused.
    pub check: RefusalId,
    /// The number of its requests and replies that this check refused.
    pub times: u64,
}

/// A node that got keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenKeys {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The node.
    pub requester: Party,
    /// The number of its requests that were answered.
    pub times: u64,
}

/// The parts of an exchange actor.
#[derive(Clone, Debug)]
pub struct ExchangeParts {
    /// How it works.
    pub config: ExchangeConfig,
    /// Validates chains, and knows this node's identities.
    pub chain: ChainRole,
    /// Signs.
    pub keystore: KeystoreRole,
    /// Keeps this node's keys for late consumers.
    pub ratchet: RatchetRole,
    /// Reads side topics, and sends to them.
    pub gateway: GatewayRole,
    /// Takes the keys that come in.
    pub key_table: KeyTableRole,
    /// The time.
    pub clock: Clock,
    /// The source of random numbers.
    pub entropy: Entropy,
    /// Where events are reported, and changes of trust are learned from.
    pub events: Events,
}

/// The node's own exchange: executes what an [`Exchange`](kc_core::exchange::Exchange) decides.
#[derive(Debug)]
pub struct ExchangeActor {
    driver: Driver,
}

impl ExchangeActor {
    /// Returns an actor that wants nothing, and has answered nothing.
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
        // Subscriptions are for controllers.
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
