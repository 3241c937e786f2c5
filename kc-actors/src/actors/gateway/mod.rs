mod attempts;
mod discovery;
mod reader;
mod sender;
mod starter;
mod topics;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use actix::{Actor, AsyncContext, Context, Handler, ResponseFuture, Supervised, WrapFuture};
use kc_core::backend::{Backend, BackendError, BackendErrorKind, OutgoingRecord, end_of};
use kc_core::types::{ManagementTopics, TopicScheme};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use self::reader::Order;
use self::sender::Sender;
use self::starter::NewWatch;
use self::topics::ControlTopics;
use crate::messages::{
    CloseGateway, ControlTopic, ManagementRecords, SendRecord, SideRecords, Watch,
    WatchSubscriptions,
};
use crate::slot::Slot;

/// How many orders to the reader may wait.
const ORDER_CAPACITY: usize = 1024;

/// What a gateway is made of.
#[derive(Clone, Debug)]
pub struct GatewayParts {
    /// The Kafka client.
    pub backend: Arc<dyn Backend>,
    /// How side topics are named.
    pub scheme: TopicScheme,
    /// How management topics are named.
    pub management: ManagementTopics,
    /// Where positions in the control topics are committed.
    pub group: String,
    /// Who gets requests to producers, and replies.
    pub records: Slot<SideRecords>,
    /// Who gets requests to controllers.
    pub subscriptions: Slot<SideRecords>,
    /// Who gets what the management topics bring.
    pub trust: Slot<ManagementRecords>,
    /// The topics that are read: a new gateway goes on with those of the one before it.
    pub watched: Watched,
}

/// The topics that are read, by name.
#[derive(Clone, Debug, Default)]
pub struct Watched(Arc<StdMutex<BTreeMap<String, ControlTopic>>>);

/// The gateway to the control topics: it alone has the management plane's consumer and producer.
#[derive(Debug)]
pub struct GatewayActor {
    parts: GatewayParts,
    topics: Arc<ControlTopics>,
    sender: Arc<Sender>,
    /// Where what the reader is to do is queued; none once the gateway is closed.
    orders: Option<mpsc::Sender<Order>>,
    waiting: Option<mpsc::Receiver<Order>>,
    /// Resolves when reading has ended.
    reading: Arc<Mutex<Option<oneshot::Receiver<()>>>>,
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
    /// Not connected yet: connections are made when they are needed.
    #[must_use]
    pub fn new(parts: GatewayParts) -> Self {
        let (orders, waiting) = mpsc::channel(ORDER_CAPACITY);
        Self {
            topics: Arc::new(ControlTopics::new(Arc::clone(&parts.backend))),
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
                // Nobody may be waiting for the end.
                let _ = ended.send(());
            };
            ctx.spawn(read.into_actor(self));
        }
    }
}

impl Supervised for GatewayActor {}

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
            let late = |_| BackendError::new(BackendErrorKind::Timeout, "stop reading");
            let read = match reading.lock().await.take() {
                // An error of the channel means that reading has ended, too.
                Some(ended) => timeout_at(end, ended).await.map(drop).map_err(late),
                None => Ok(()),
            };
            sender.close(end).await.and(read)
        })
    }
}

fn closed() -> BackendError {
    BackendError::new(BackendErrorKind::Closed, "gateway")
}
