//! The role of the gateway. Its actor alone reads the control topics and sends records to them.

mod attempts;
mod discovery;
mod reader;
mod sender;
mod starter;
mod topics;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use kc_core::backend::{Backend, BackendError, BackendErrorKind, OutgoingRecord, end_of};
use kc_core::types::{ManagementTopic, ManagementTopics, RootTopic, SideTopic, TopicScheme};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

pub(crate) use self::attempts::retry_delay;
use self::reader::Order;
use self::sender::Sender;
use self::starter::NewWatch;
use self::topics::ControlTopics;
use super::chain::ChainRole;
use super::controller::ControllerRole;
use super::exchange::ExchangeRole;
use crate::clock::Clock;
use crate::role::role;

/// Maximum number of orders that wait for the reader.
const ORDER_CAPACITY: usize = 1024;

role! {
    /// The messages that the gateway actor answers: one [`Slot`](crate::Slot) for each.
    ///
    /// The records of each poll are delivered to [`ChainRole::records`] first, then to [`ExchangeRole::records`] and
    /// [`ControllerRole::records`]. Positions are committed after the roles have answered.
    pub struct GatewayRole {
        /// Sends a record to a control topic.
        send_record: SendRecord,
        /// From now on reads a control topic.
        watch: Watch,
        /// From now on reads the `.subs` topics of all root topics: the requests that nodes send to controllers.
        watch_subscriptions: WatchSubscriptions,
        /// Stops reading, sends the queued records, and disconnects.
        close: CloseGateway,
    }
}

/// A control topic: a side topic or a management topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ControlTopic {
    /// A side topic of a root topic.
    Side(RootTopic, SideTopic),
    /// A topic for changes of trust.
    Management(ManagementTopic),
}

/// Sends a record to partition 0 of a control topic, and waits until the broker has acknowledged the record. Creates
/// the topic if it does not exist.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), BackendError>")]
pub struct SendRecord {
    /// The topic.
    pub topic: ControlTopic,
    /// The Kafka key.
    pub kafka_key: Vec<u8>,
    /// The Kafka value.
    pub value: Vec<u8>,
}

/// From now on reads a control topic. Creates a side topic if it does not exist. A management topic must exist: this
/// message does not create it. The actor answers when reading has begun. If the answer is an error, the topic is not
/// read, and the sender must send the message again.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), BackendError>")]
pub struct Watch {
    /// The topic.
    pub topic: ControlTopic,
}

/// From now on reads the `.subs` topics of all root topics, including root topics that are created later. These topics
/// contain the requests that nodes send to controllers.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct WatchSubscriptions {
    /// The time between two searches for new root topics.
    pub interval: Duration,
}

/// Waits until the records that were read are processed, stops reading, sends the queued records, and disconnects.
/// Returns an error if the Kafka client fails, or if this takes longer than the deadline.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<(), BackendError>")]
pub struct CloseGateway {
    /// The maximum duration of closing.
    pub deadline: Duration,
}

/// The parts of a gateway actor.
#[derive(Clone, Debug)]
pub struct GatewayParts {
    /// The Kafka client.
    pub backend: Arc<dyn Backend>,
    /// The naming scheme of side topics.
    pub scheme: TopicScheme,
    /// The names of the management topics.
    pub management: ManagementTopics,
    /// The consumer group in which positions in the control topics are committed.
    pub group: String,
    /// The role that processes the records of the management topics.
    pub chain: ChainRole,
    /// The role that processes requests to producers, and replies.
    pub exchange: ExchangeRole,
    /// The role that processes requests to controllers.
    pub controller: ControllerRole,
    /// The topics that are read. A restarted gateway gets the same list, and continues to read these topics.
    pub watched: Watched,
    /// The clock.
    pub clock: Clock,
}

/// The topics that are read, by name.
#[derive(Clone, Debug, Default)]
pub struct Watched(Arc<StdMutex<BTreeMap<String, ControlTopic>>>);

/// The default actor of the gateway.
#[derive(Debug)]
pub struct GatewayActor {
    parts: GatewayParts,
    topics: Arc<ControlTopics>,
    sender: Arc<Sender>,
    /// The queue of orders to the reader; `None` once the gateway is closed.
    orders: Option<mpsc::Sender<Order>>,
    waiting: Option<mpsc::Receiver<Order>>,
    /// Resolves when reading has ended.
    reading: Arc<Mutex<Option<oneshot::Receiver<()>>>>,
}

impl ControlTopic {
    /// Returns the side topic for requests to the producers of a root topic.
    #[must_use]
    pub fn requests(root_topic: &RootTopic) -> Self {
        Self::Side(root_topic.clone(), SideTopic::Requests)
    }

    /// Returns the side topic for replies of the producers of a root topic.
    #[must_use]
    pub fn keys(root_topic: &RootTopic) -> Self {
        Self::Side(root_topic.clone(), SideTopic::Keys)
    }

    /// Returns the side topic for requests to the controllers of a root topic.
    #[must_use]
    pub fn subscriptions(root_topic: &RootTopic) -> Self {
        Self::Side(root_topic.clone(), SideTopic::Subscriptions)
    }
}

impl GatewayParts {
    fn name(&self, topic: &ControlTopic) -> String {
        match topic {
            ControlTopic::Side(root_topic, side) => self.scheme.side_topic(root_topic, *side),
            ControlTopic::Management(topic) => self.management.name(*topic).to_owned(),
        }
    }
}

impl Watched {
    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<String, ControlTopic>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl GatewayActor {
    /// Returns an actor that connects to Kafka when it first needs a connection.
    #[must_use]
    pub fn new(parts: GatewayParts) -> Self {
        let (orders, waiting) = mpsc::channel(ORDER_CAPACITY);
        Self {
            topics: Arc::new(ControlTopics::new(&parts)),
            sender: Arc::new(Sender::new(Arc::clone(&parts.backend))),
            parts,
            orders: Some(orders),
            waiting: Some(waiting),
            reading: Arc::default(),
        }
    }
}

impl Actor for GatewayActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(orders) = self.waiting.take() {
            let (ended, reading) = oneshot::channel();
            self.reading = Arc::new(Mutex::new(Some(reading)));
            let read = reader::read(self.parts.clone(), orders);
            let read = async {
                read.await;
                // Sending fails if no caller waits for the end.
                let _ = ended.send(());
            };
            ctx.spawn(read.into_actor(self));
        }
    }
}

impl Handler<SendRecord> for GatewayActor {
    type Result = ResponseFuture<Result<(), BackendError>>;

    fn handle(&mut self, message: SendRecord, _: &mut Self::Context) -> Self::Result {
        let record = OutgoingRecord {
            topic: self.parts.name(&message.topic),
            partition: Some(0),
            key: Some(message.kafka_key),
            value: Some(message.value),
            headers: Vec::new(),
        };
        let (sender, topics) = (Arc::clone(&self.sender), Arc::clone(&self.topics));
        Box::pin(async move {
            let topic = record.topic.clone();
            topics.ensure(&topic).await?;
            let sent = sender.send(record).await;
            if sent.is_err() {
                topics.doubt(&topic);
            }
            sent
        })
    }
}

impl Handler<Watch> for GatewayActor {
    type Result = ResponseFuture<Result<(), BackendError>>;

    fn handle(&mut self, Watch { topic }: Watch, _: &mut Self::Context) -> Self::Result {
        let (done, result) = oneshot::channel();
        let watch = NewWatch {
            name: self.parts.name(&topic),
            topic,
            done: Some(done),
        };
        let (orders, topics) = (self.orders.clone(), Arc::clone(&self.topics));
        Box::pin(async move {
            let orders = orders.ok_or_else(closed)?;
            if let ControlTopic::Side(..) = watch.topic {
                topics.ensure(&watch.name).await?;
            }
            orders
                .send(Order::Watch(watch))
                .await
                .map_err(|_| closed())?;
            result.await.map_err(|_| closed())?
        })
    }
}

impl Handler<WatchSubscriptions> for GatewayActor {
    type Result = ();

    fn handle(&mut self, message: WatchSubscriptions, ctx: &mut Self::Context) {
        if let Some(orders) = &self.orders {
            let discover = discovery::run(self.parts.clone(), orders.downgrade(), message.interval);
            ctx.spawn(discover.into_actor(self));
        }
    }
}

impl Handler<CloseGateway> for GatewayActor {
    type Result = ResponseFuture<Result<(), BackendError>>;

    fn handle(
        &mut self,
        CloseGateway { deadline }: CloseGateway,
        _: &mut Self::Context,
    ) -> Self::Result {
        let end = end_of(Instant::now(), deadline);
        self.orders = None;
        let (reading, sender) = (Arc::clone(&self.reading), Arc::clone(&self.sender));
        Box::pin(async move {
            let late =
                |_| BackendError::new(BackendErrorKind::Timeout, "stop reading control topics");
            let read = match reading.lock().await.take() {
                // If the channel is closed, reading has ended, too.
                Some(ended) => timeout_at(end, ended).await.map(drop).map_err(late),
                None => Ok(()),
            };
            sender.close(end).await.and(read)
        })
    }
}

fn closed() -> BackendError {
    BackendError::new(
        BackendErrorKind::Closed,
        "use the client for control topics",
    )
}
