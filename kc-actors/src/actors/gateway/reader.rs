use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::panic::resume_unwind;
use std::time::Duration;

use actix::Message;
use kc_core::backend::{BackendError, BackendErrorKind, Committed, LogReader, LogStart, Record};
use kc_core::types::SideTopic;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::ControlTopic;
use super::GatewayParts;
use super::attempts::Attempts;
use super::starter::{NewWatch, Started, Starter};
use crate::actors::chain::{ManagementRecord, ManagementRecords};
use crate::actors::exchange::{SideRecord, SideRecords};
use crate::actors::retry::{Told, delay};
use crate::slot::Slot;

/// How long a poll waits; a new topic is taken up after that at the latest.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How long a call may take; what is being read waits meanwhile.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long to wait before trying again what can be tried again.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How long to wait before beginning with a topic is tried again.
const WANTED_DELAY: Duration = Duration::from_secs(2);

/// What is asked of the reader.
#[derive(Debug)]
pub(super) enum Order {
    Watch(NewWatch),
    /// These are all topics with requests to controllers: others are read no more.
    Subscriptions(BTreeMap<String, ControlTopic>),
}

/// Reads the watched topics until nobody can give another order. Positions are committed when what was read
/// is done with.
pub(super) async fn read(parts: GatewayParts, orders: mpsc::Receiver<Order>) {
    let mut reading = Reading::resumed(parts, orders);
    while !reading.orders.is_closed() {
        if let Some(order) = reading.next_order().await {
            reading.obey(order).await;
        }
        reading.begin_next();
        if let Some(started) = reading.beginning.try_join_next() {
            reading.take_up(started).await;
        }
        if reading.may_poll() {
            reading.poll_once().await;
        }
    }
    if let Some(reader) = reading.reader {
        reader.close().await;
    }
}

/// What is read, and what is to be.
struct Reading {
    parts: GatewayParts,
    orders: mpsc::Receiver<Order>,
    /// What somebody waits for.
    asked: VecDeque<NewWatch>,
    /// What the gateway itself wants is tried until it works, each not before its time.
    wanted: VecDeque<(Instant, NewWatch)>,
    /// Finds out where one topic begins, while others are read.
    beginning: JoinSet<Started>,
    /// The topic that it is about.
    being_begun: Option<(String, ControlTopic)>,
    /// None while it works.
    starter: Option<Starter>,
    connecting: Attempts,
    reader: Option<Box<dyn LogReader>>,
    /// What is read, by the topics' names.
    sources: HashMap<String, ControlTopic>,
    /// Not to be polled earlier.
    next_poll: Instant,
    unreadable: Told<String>,
    unpolled: Told<()>,
}

impl Reading {
    /// Goes on with what the gateway before this one read.
    fn resumed(parts: GatewayParts, orders: mpsc::Receiver<Order>) -> Self {
        let now = Instant::now();
        let resume = |(name, topic): (&String, &ControlTopic)| NewWatch {
            name: name.clone(),
            topic: topic.clone(),
            done: None,
        };
        let wanted = parts.watched.with(|watched| {
            let resumed = watched.iter().map(resume);
            resumed.map(|watch| (now, watch)).collect()
        });
        Self {
            starter: Some(Starter::new(&parts)),
            parts,
            orders,
            asked: VecDeque::new(),
            wanted,
            beginning: JoinSet::new(),
            being_begun: None,
            connecting: Attempts::default(),
            reader: None,
            sources: HashMap::new(),
            next_poll: now,
            unreadable: Told::default(),
            unpolled: Told::default(),
        }
    }

    fn may_poll(&self) -> bool {
        !self.sources.is_empty() && self.next_poll <= Instant::now()
    }

    /// What somebody asks for. Waits if there is nothing else to do.
    async fn next_order(&mut self) -> Option<Order> {
        if self.may_poll() {
            return self.orders.try_recv().ok();
        }
        let due = self.next_due();
        tokio::select! {
            order = self.orders.recv() => order,
            Some(started) = self.beginning.join_next() => {
                self.take_up(started).await;
                None
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => None,
        }
    }

    /// When there is something to do, whether or not somebody asks.
    fn next_due(&self) -> Option<Instant> {
        let is_free = self.starter.is_some();
        let asked = self.asked.front().map(|_| Instant::now());
        let wanted = self.wanted.iter().map(|(time, _)| *time);
        let begin = asked.into_iter().chain(wanted).filter(|_| is_free);
        let poll = (!self.sources.is_empty()).then_some(self.next_poll);
        begin.chain(poll).min()
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Watch(watch) => self.asked.push_back(watch),
            Order::Subscriptions(found) => {
                self.forget_all_but(&found).await;
                self.want(found);
            }
        }
    }

    async fn forget_all_but(&mut self, found: &BTreeMap<String, ControlTopic>) {
        let is_gone = |name: &String, topic: &ControlTopic| {
            matches!(topic, ControlTopic::Side(_, SideTopic::Subscriptions))
                && !found.contains_key(name)
        };
        self.wanted
            .retain(|(_, watch)| !is_gone(&watch.name, &watch.topic));
        let begun = self.being_begun.as_ref();
        if begun.is_some_and(|(name, topic)| is_gone(name, topic)) {
            self.beginning = JoinSet::new();
            self.being_begun = None;
            self.starter = Some(Starter::new(&self.parts));
        }
        let gone = self.sources.extract_if(|name, topic| is_gone(name, topic));
        let gone: Vec<String> = gone.map(|(name, _)| name).collect();
        if gone.is_empty() {
            return;
        }
        self.parts
            .watched
            .with(|watched| watched.retain(|name, _| !gone.contains(name)));
        if let Some(reader) = &mut self.reader
            && let Err(error) = reader.unassign(&gone).await
        {
            tracing::debug!(target: "kc::gateway", %error, "topics that are gone are still read");
        }
    }

    /// Has those topics read that are not yet.
    fn want(&mut self, found: BTreeMap<String, ControlTopic>) {
        let waiting: HashSet<String> = {
            let waiting = self.wanted.iter().map(|(_, watch)| watch.name.clone());
            let begun = self.being_begun.iter().map(|(name, _)| name.clone());
            waiting.chain(begun).collect()
        };
        for (name, topic) in found {
            if waiting.contains(&name) || self.sources.contains_key(&name) {
                continue;
            }
            tracing::info!(target: "kc::gateway", topic = name, "found");
            let done = None;
            self.wanted
                .push_back((Instant::now(), NewWatch { name, topic, done }));
        }
    }

    /// Has the next topic begun with, if none is: one that somebody asks for, or else one that the gateway wants
    /// and that is due.
    fn begin_next(&mut self) {
        let Some(starter) = self.starter.take() else {
            return;
        };
        let now = Instant::now();
        let due = |(time, _): &(Instant, NewWatch)| *time <= now;
        let watch = self.asked.pop_front().or_else(|| {
            let due = self.wanted.iter().position(due)?;
            self.wanted.remove(due).map(|(_, watch)| watch)
        });
        match watch {
            Some(watch) if self.sources.contains_key(&watch.name) => {
                self.starter = Some(starter);
                watch.tell(Ok(()));
            }
            Some(watch) => {
                self.being_begun = Some((watch.name.clone(), watch.topic.clone()));
                self.beginning.spawn(starter.start(watch));
            }
            None => self.starter = Some(starter.rest()),
        }
    }
    /// Reads a topic whose beginning is known, or has that tried again if the gateway itself wants it.
    async fn take_up(&mut self, started: Result<Started, JoinError>) {
        let Started {
            starter,
            watch,
            start,
        } = started.unwrap_or_else(|error| resume_unwind(error.into_panic()));
        self.starter = Some(starter);
        self.being_begun = None;
        let begun = match start {
            Ok(start) => self.assign(&watch.name, start).await,
            Err(error) => Err(error),
        };
        if begun.is_ok() {
            self.unreadable.works(&watch.name);
            let (name, topic) = (watch.name.clone(), watch.topic.clone());
            self.parts
                .watched
                .with(|all| all.insert(name.clone(), topic.clone()));
            self.sources.insert(name, topic);
        } else if let (Err(error), None) = (&begun, &watch.done) {
            if self.unreadable.fails(watch.name.clone(), error) {
                tracing::warn!(target: "kc::gateway", topic = watch.name, %error, "cannot be read yet");
            }
            let again = Instant::now() + delay(error, WANTED_DELAY);
            self.wanted.push_back((again, watch));
            return;
        }
        watch.tell(begun);
    }

    async fn assign(&mut self, name: &str, start: LogStart) -> Result<(), BackendError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let connect = self.parts.backend.log_reader(Some(&self.parts.group));
                self.reader.insert(self.connecting.share(connect).await?)
            }
        };
        tracing::debug!(target: "kc::gateway", topic = name, ?start, "reading");
        let topics = [(name.to_owned(), start)];
        let assigning = reader.assign(&topics);
        let late = |_| BackendError::new(BackendErrorKind::Timeout, "begin to read");
        timeout(DEADLINE, assigning).await.map_err(late)?
    }

    /// What came since the last poll goes to whom it concerns.
    async fn poll_once(&mut self) {
        let Some(reader) = &mut self.reader else {
            return;
        };
        match reader.poll(POLL_WAIT).await {
            Ok(records) => {
                self.unpolled.works(&());
                if !records.is_empty() {
                    hand_over(&self.parts, &self.sources, reader.as_mut(), records).await;
                }
            }
            Err(error) => {
                if self.unpolled.fails((), &error) {
                    tracing::warn!(target: "kc::gateway", %error, "reading side topics failed");
                }
                self.next_poll = Instant::now() + poll_delay(&error);
            }
        }
    }
}

/// What is forbidden may be one topic, and must not hold up the others.
fn poll_delay(error: &BackendError) -> Duration {
    match error.kind() {
        BackendErrorKind::Authorization => RETRY_DELAY,
        _ => delay(error, RETRY_DELAY),
    }
}

/// Hands records to whom they concern, and commits when they are done with.
async fn hand_over(
    parts: &GatewayParts,
    sources: &HashMap<String, ControlTopic>,
    reader: &mut dyn LogReader,
    records: Vec<Record>,
) {
    let mut positions = BTreeMap::new();
    let mut side = Vec::new();
    let mut subscriptions = Vec::new();
    let mut management = Vec::new();
    for record in records {
        positions.insert(record.topic.clone(), record.next_offset());
        let (Some(source), Some(value)) = (sources.get(&record.topic), record.value) else {
            continue;
        };
        let kafka_key = record.key.unwrap_or_default();
        match source.clone() {
            ControlTopic::Management(topic) => management.push(ManagementRecord {
                topic,
                kafka_key,
                value,
            }),
            ControlTopic::Side(root_topic, kind) => {
                let record = SideRecord {
                    root_topic,
                    side: kind,
                    kafka_key,
                    value,
                };
                match kind {
                    SideTopic::Subscriptions => subscriptions.push(record),
                    SideTopic::Requests | SideTopic::Keys => side.push(record),
                }
            }
        }
    }
    // Trust first: a key that is denied must not be answered in the same poll.
    if !management.is_empty() {
        until_taken(&parts.chain.records, ManagementRecords(management)).await;
    }
    if !side.is_empty() {
        until_taken(&parts.exchange.records, SideRecords(side)).await;
    }
    if !subscriptions.is_empty() {
        until_taken(&parts.controller.records, SideRecords(subscriptions)).await;
    }
    let positions: Vec<_> = positions
        .into_iter()
        .map(|(topic, offset)| Committed { topic, offset })
        .collect();
    if let Err(error) = reader.commit(&positions, DEADLINE).await {
        tracing::debug!(target: "kc::gateway", %error, "positions not committed");
    }
}

/// If the actor has died, another will take its place.
async fn until_taken<M>(slot: &Slot<M>, message: M)
where
    M: Message<Result = ()> + Clone + Send + 'static,
{
    while slot.send(message.clone()).await.is_err() {
        sleep(RETRY_DELAY).await;
    }
}
