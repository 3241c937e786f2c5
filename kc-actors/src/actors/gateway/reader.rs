use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::panic::resume_unwind;
use std::time::Duration;

use actix::Message;
use kc_core::backend::{BackendError, BackendErrorKind, Committed, LogReader, LogStart, Record};
use kc_core::failure_log::{FailureLog, OUTAGE_INTERVAL};
use kc_core::text::with_sources;
use kc_core::types::SideTopic;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::ControlTopic;
use super::GatewayParts;
use super::attempts::{Attempts, retry_delay};
use super::starter::{NewWatch, Started, Starter};
use crate::actors::chain::{ManagementRecord, ManagementRecords};
use crate::actors::exchange::{SideRecord, SideRecords};
use crate::events::warn_of;
use crate::slot::Slot;

/// Maximum duration of a poll. The reader executes orders between two polls, and data keys wait for orders.
const POLL_WAIT: Duration = Duration::from_millis(50);
/// Maximum duration of a poll while other topics wait until they are read. A node can begin with thousands of topics.
const BUSY_POLL_WAIT: Duration = Duration::from_millis(5);
/// Deadline for a call of the Kafka client. The reader reads no records during the call.
const DEADLINE: Duration = Duration::from_secs(2);
/// Time to wait after a failed poll, and after records could not be delivered because an actor had died.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// Time to wait after a failed attempt to begin reading a topic for which no caller waits.
const WANTED_DELAY: Duration = Duration::from_secs(2);

/// An order to the reader.
#[derive(Debug)]
pub(super) enum Order {
    Watch(NewWatch),
    /// The order to read the `.subs` topics in the map. The reader stops reading all other `.subs` topics, because they
    /// no longer exist.
    Subscriptions(BTreeMap<String, ControlTopic>),
}

/// Reads the watched topics until no more orders can arrive. Positions are committed after the records are processed.
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

/// The topics that are read, and the topics that will be read.
struct Reading {
    parts: GatewayParts,
    orders: mpsc::Receiver<Order>,
    /// The topics for which a caller waits.
    asked: VecDeque<NewWatch>,
    /// The topics that the gateway must begin to read although no caller waits for them, each with the time of the next
    /// attempt. Attempts are repeated until one succeeds.
    wanted: VecDeque<(Instant, NewWatch)>,
    /// Finds the start position of one topic, while other topics are read.
    beginning: JoinSet<Started>,
    /// The topic for which the task in `beginning` is looking for the start position.
    being_begun: Option<(String, ControlTopic)>,
    /// `None` while the starter is in use.
    starter: Option<Starter>,
    connecting: Attempts,
    reader: Option<Box<dyn LogReader>>,
    /// The topics that are read, by name.
    sources: HashMap<String, ControlTopic>,
    /// The time of the next poll.
    next_poll: Instant,
    /// The topics with records in other partitions than 0.
    spread: HashSet<String>,
    /// The failures. An entry with the name of a topic is a failure to begin to read that topic. The entry without a
    /// name is a failed poll.
    failures: FailureLog<Option<String>, String>,
}

impl Reading {
    /// Returns the state of a reader that begins with the topics that the gateway read before its restart.
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
            spread: HashSet::new(),
            failures: FailureLog::new(OUTAGE_INTERVAL),
        }
    }

    /// Records a failure. Returns whether it should be logged.
    fn logs_failure(&mut self, topic: Option<String>, error: &BackendError) -> bool {
        let now = self.parts.clock.both().mono;
        self.failures.fail(topic, error.to_string(), now).is_some()
    }

    fn may_poll(&self) -> bool {
        !self.sources.is_empty() && self.next_poll <= Instant::now()
    }

    /// Returns the next order. Waits for an order if nothing else is due. Returns `None` if there is no order and
    /// something else is due, or if no more orders can arrive.
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

    /// Returns the time of the next attempt to begin reading a topic or of the next poll, whichever is earlier. Returns
    /// `None` if neither is planned.
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
            tracing::debug!(target: "kc::gateway", error = %with_sources(&error), "reading of deleted topics cannot be stopped");
        }
    }

    /// Adds the topics in `found` to `wanted`, except topics that are already read or wanted.
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
            tracing::info!(target: "kc::gateway", topic = name, "topic found");
            let done = None;
            self.wanted
                .push_back((Instant::now(), NewWatch { name, topic, done }));
        }
    }

    /// Lets the starter find the start position of the next topic. Does nothing while the starter is in use. Topics for
    /// which a caller waits come first. Then come the topics in `wanted` whose next attempt is due.
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
                watch.answer(Ok(()));
            }
            Some(watch) => {
                self.being_begun = Some((watch.name.clone(), watch.topic.clone()));
                self.beginning.spawn(starter.start(watch));
            }
            None => self.starter = Some(starter.rest()),
        }
    }

    /// Starts reading a topic if its start position was found, and sends the result to the waiting caller. If no caller
    /// waits, a failed attempt is repeated later.
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
            self.failures.succeed(&Some(watch.name.clone()));
            let (name, topic) = (watch.name.clone(), watch.topic.clone());
            self.parts
                .watched
                .with(|all| all.insert(name.clone(), topic.clone()));
            self.sources.insert(name, topic);
        } else if let (Err(error), None) = (&begun, &watch.done) {
            if self.logs_failure(Some(watch.name.clone()), error) {
                warn_of(error, &watch.name, "topic cannot be read yet");
            }
            let again = Instant::now() + retry_delay(error, WANTED_DELAY);
            self.wanted.push_back((again, watch));
            return;
        }
        watch.answer(begun);
    }

    async fn assign(&mut self, name: &str, start: LogStart) -> Result<(), BackendError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let connect = self.parts.backend.log_reader(Some(&self.parts.group));
                self.reader.insert(self.connecting.share(connect).await?)
            }
        };
        tracing::debug!(target: "kc::gateway", topic = name, ?start, "reading of the topic begins");
        let topics = [(name.to_owned(), start)];
        let assigning = reader.assign(&topics);
        let late =
            |_| BackendError::new(BackendErrorKind::Timeout, "begin to read a control topic");
        timeout(DEADLINE, assigning).await.map_err(late)?
    }

    /// Polls once, and delivers the records.
    async fn poll_once(&mut self) {
        let Some(reader) = &mut self.reader else {
            return;
        };
        let is_busy = self.being_begun.is_some() || !self.asked.is_empty();
        let wait = if is_busy { BUSY_POLL_WAIT } else { POLL_WAIT };
        match reader.poll(wait).await {
            Ok(records) => {
                self.failures.succeed(&None);
                let beyond = records.iter().filter(|record| record.partition > 0);
                for Record { topic, .. } in beyond {
                    if self.spread.insert(topic.to_string()) {
                        tracing::warn!(
                            target: "kc::gateway", topic = &**topic,
                            "control topic has records in several partitions; kc reads all of them, but the peers read \
                             only partition 0: create the topic again with one partition"
                        );
                    }
                }
                if !records.is_empty() {
                    hand_over(&self.parts, &self.sources, reader.as_mut(), records).await;
                }
            }
            Err(error) => {
                if self.logs_failure(None, &error) {
                    warn_of(&error, "control topics", "topics cannot be read");
                }
                self.next_poll = Instant::now() + poll_delay(&error);
            }
        }
    }
}

/// Returns the time to wait after a failed poll. The time is short if the broker denies access to a topic, because that
/// topic must not delay the others.
fn poll_delay(error: &BackendError) -> Duration {
    match error.kind() {
        BackendErrorKind::Authorization => RETRY_DELAY,
        _ => retry_delay(error, RETRY_DELAY),
    }
}

/// Delivers records to the roles that process them, and commits positions afterwards.
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
        let at = (record.topic.clone(), record.partition);
        positions.insert(at, record.next_offset());
        let (Some(source), Some(value)) = (sources.get(&*record.topic), record.value) else {
            continue;
        };
        let kafka_key = record.key.map(Vec::from).unwrap_or_default();
        let value = Vec::from(value);
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
    // Changes of trust are processed first: if the same poll brings a denylist entry and a request from the denied key,
    // the request must not be answered.
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
        .map(|((topic, partition), offset)| Committed {
            topic: topic.to_string(),
            partition,
            offset,
        })
        .collect();
    if let Err(error) = reader.commit(&positions, DEADLINE).await {
        tracing::debug!(target: "kc::gateway", error = %with_sources(&error), "positions not committed");
    }
}

/// Delivers records to an actor. If the actor has died, delivers them again after its restart.
async fn until_taken<M>(slot: &Slot<M>, message: M)
where
    M: Message<Result = ()> + Clone + Send + 'static,
{
    while slot.send(message.clone()).await.is_err() {
        sleep(RETRY_DELAY).await;
    }
}
