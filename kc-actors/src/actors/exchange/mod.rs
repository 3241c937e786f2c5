//! The role of the key exchange. Its actor requests the data keys that this node lacks, and answers requests for the
//! data keys that this node retains.

mod driver;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use actix::{
    Actor, AsyncContext, Context, Handler, Message, MessageResult, ResponseFuture, WrapFuture,
};
use kc_core::exchange::{ExchangeConfig, Input, MissingKeys, Party, RefusalId, Sender};
use kc_core::ratchet::Candidates;
use kc_core::types::{KeyId, RootTopic, SideTopic};

pub(super) use self::driver::Driver;
use super::chain::ChainRole;
use super::custody::CustodyRole;
use super::gateway::GatewayRole;
use super::key_table::KeyTableRole;
use super::keystore::KeystoreRole;
use super::ratchet::RatchetRole;
use crate::clock::Clock;
use crate::entropy::Entropy;
use crate::events::Events;
use crate::role::role;

role! {
    /// The messages that the exchange actor answers: one [`Slot`](crate::Slot) for each.
    ///
    /// The exchange alone decides which requests are answered. An actor that replaces [`records`](Self::records)
    /// receives every request and reply before the exchange does, and may drop some of them.
    pub struct ExchangeRole {
        /// Processes records of side topics: requests that consumers send to producers, and replies that producers send
        /// to this node.
        records: SideRecords,
        /// Requests a missing data key.
        want: KeyWanted,
        /// Makes the exchange answer, from now on, requests of other nodes for this node's data keys of a root topic.
        serve: ServeRoot,
        /// Returns the state of the exchange.
        status: AskExchange,
    }
}

/// Processes the records of one poll of the side topics. The actor answers when each record is processed, or is dropped
/// because it cannot be processed. A node whose request is dropped has to repeat the request. The gateway polls again
/// only after the answer.
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

/// Requests a data key that a record needs.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct KeyWanted {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The id of the data key.
    pub id: KeyId,
    /// The known data keys with this id. They did not open the record.
    pub known: Candidates,
}

/// Makes the exchange answer, from now on, requests of other nodes for this node's data keys of a root topic. Requests
/// that are already in the side topic are answered, too. The actor answers this message at once: it does not wait until
/// the side topic can be read.
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
    /// The number of data keys that are being requested now, by root topic.
    pub wanted: BTreeMap<RootTopic, usize>,
    /// The reasons why data keys are missing, for each root topic with missing keys.
    pub missing: Vec<MissingKeys>,
    /// The number of times that a limit was reached, and therefore a record of a side topic was dropped or a missing
    /// data key was not requested.
    pub bounds_hit: u64,
    /// The number of requests of this node to which it still accepts replies.
    pub outstanding: usize,
    /// The number of requests of other nodes that this node has answered.
    pub answered: u64,
    /// The number of requests for which the machine of this actor has vouched. An [`ExchangeActor`] vouches for no
    /// request: [`ControllerStatus`](super::controller::ControllerStatus) has the number of the controller.
    pub forwarded: u64,
    /// The number of refused requests and replies, by the check that failed.
    pub refused: BTreeMap<RefusalId, u64>,
    /// The senders whose requests or replies were refused. If there are already 64 entries, a new entry replaces the
    /// oldest.
    pub refusals: Vec<RefusedSender>,
    /// The nodes to whose requests this node replied with data keys. If there are already 64 entries, a new entry
    /// replaces the oldest.
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
    /// The check that failed.
    pub check: RefusalId,
    /// The number of records of this sender in this side topic that failed this check.
    pub times: u64,
}

/// A node to whose requests this node replied with data keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenKeys {
    /// The root topic.
    pub root_topic: RootTopic,
    /// The node that signed the requests: the node that receives the keys, or a controller that vouched for it.
    pub requester: Party,
    /// The number of the requester's requests for data keys of `root_topic` that this node has answered.
    pub times: u64,
    /// The ids of the data keys in the answers. If there are already 8,192 ids, the list does not grow.
    pub ids: BTreeSet<KeyId>,
}

/// The time for which an incomplete answer of a custodian waits for the other nodes.
const CUSTODY_WAIT: Duration = Duration::from_secs(1);

/// The parts of an exchange actor.
#[derive(Clone, Debug)]
pub struct ExchangeParts {
    /// The configuration of the exchange machine.
    pub config: ExchangeConfig,
    /// The role that validates chains and returns the identities of this node.
    pub chain: ChainRole,
    /// The role that signs requests and replies.
    pub keystore: KeystoreRole,
    /// The role that retains this node's data keys for late consumers.
    pub ratchet: RatchetRole,
    /// The role that reads side topics and sends records to them.
    pub gateway: GatewayRole,
    /// The role that publishes received data keys to the handles.
    pub key_table: KeyTableRole,
    /// The role that keeps data keys of other nodes; `None` if the node is not a custodian.
    pub custody: Option<CustodyRole>,
    /// The clock.
    pub clock: Clock,
    /// The source of random numbers.
    pub entropy: Entropy,
    /// The destination of events, and the source of events about changes of trust.
    pub events: Events,
}

/// The default actor of the key exchange. It executes the decisions of an [`Exchange`](kc_core::exchange::Exchange)
/// machine.
#[derive(Debug)]
pub struct ExchangeActor {
    driver: Driver,
    custody: Option<CustodyRole>,
}

impl ExchangeActor {
    /// Returns an actor that has not requested or answered anything yet.
    #[must_use]
    pub fn new(parts: ExchangeParts) -> Self {
        Self {
            custody: parts.custody.clone(),
            driver: Driver::new(parts, false),
        }
    }
}

impl Actor for ExchangeActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(custody) = self.custody.clone() {
            let (seeds, wait) = (Vec::new(), CUSTODY_WAIT);
            self.driver.input(Input::Custody { seeds, wait });
            let renew = self.driver.clone().renew_seeds(custody);
            ctx.spawn(renew.into_actor(self));
        }
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
        // Subscriptions are requests to controllers.
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
