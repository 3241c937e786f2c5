use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use actix::Message;
use kc_core::backend::{BackendError, BackendErrorKind, Committed, LogReader, LogStart, Record};
use kc_core::types::SideTopic;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::GatewayParts;
use super::attempts::Attempts;
use crate::actors::retry::{Told, delay};
use crate::messages::{ControlTopic, ManagementRecord, ManagementRecords, SideRecord, SideRecords};
use crate::port::Port;

/// How long a poll waits; a new topic is taken up after that at the latest.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How long a call may take; what is being read waits meanwhile.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long to wait before trying again what can be tried again.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How long it may take to begin with a topic; what is being read waits meanwhile.
const BEGIN_DEADLINE: Duration = Duration::from_secs(20);
/// How long to wait before beginning with a topic is tried again.
const WANTED_DELAY: Duration = Duration::from_secs(2);
/// How often positions are asked for before reading begins at the start: a new broker has none for a
/// while, and says so by errors.
const POSITION_ATTEMPTS: usize = 4;

/// A topic to read from now on.
#[derive(Debug)]
pub(super) struct NewWatch {
    pub(super) name: String,
    pub(super) topic: ControlTopic,
    /// Told when reading has begun; nobody if the gateway itself wants it.
    pub(super) done: Option<oneshot::Sender<Result<(), BackendError>>>,
}

/// Reads the watched topics until nobody can watch another. Positions are committed when what was read
/// is done with.
pub(super) async fn read(parts: GatewayParts, watches: mpsc::Receiver<NewWatch>) {
    let mut reading = Reading::resumed(parts, watches);
    while !reading.watches.is_closed() {
        // One at a time: what is being read must not wait for what is to be read, too.
        if let Some(watch) = reading.next_watch().await {
            reading.take_up(watch).await;
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
    watches: mpsc::Receiver<NewWatch>,
    /// What the gateway itself wants is tried until it works, each not before its time.
    wanted: VecDeque<(Instant, NewWatch)>,
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
    fn resumed(parts: GatewayParts, watches: mpsc::Receiver<NewWatch>) -> Self {
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
            parts,
            watches,
            wanted,
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

    /// The next topic to begin with: one that somebody asks for, or else one that the gateway wants and
    /// that is due. Waits if there is nothing else to do.
    async fn next_watch(&mut self) -> Option<NewWatch> {
        let asked = if self.may_poll() {
            self.watches.try_recv().ok()
        } else if let Some(due) = self.next_due() {
            timeout_at(due, self.watches.recv()).await.ok().flatten()
        } else {
            self.watches.recv().await
        };
        asked.or_else(|| self.next_wanted())
    }

    /// When there is something to do, whether or not somebody asks.
    fn next_due(&self) -> Option<Instant> {
        let wanted = self.wanted.iter().map(|(time, _)| *time);
        let poll = (!self.sources.is_empty()).then_some(self.next_poll);
        wanted.chain(poll).min()
    }

    /// The next of what the gateway itself wants, if it is time for one.
    fn next_wanted(&mut self) -> Option<NewWatch> {
        let now = Instant::now();
        let due = self.wanted.iter().position(|(time, _)| *time <= now)?;
        let (_, watch) = self.wanted.remove(due)?;
        Some(watch)
    }

    /// Begins with a topic, or has that tried again if the gateway itself wants it.
    async fn take_up(&mut self, watch: NewWatch) {
        let begun = self.begin_in_time(&watch).await;
        let NewWatch { name, topic, done } = watch;
        if begun.is_ok() {
            self.unreadable.works(&name);
            self.parts
                .watched
                .with(|all| all.insert(name.clone(), topic.clone()));
            self.sources.insert(name.clone(), topic.clone());
        }
        match (begun, done) {
            // Whoever asked may have gone; the topic is read all the same.
            (begun, Some(done)) => drop(done.send(begun)),
            (Ok(()), None) => {}
            (Err(error), None) => {
                if self.unreadable.fails(name.clone(), &error) {
                    tracing::warn!(target: "kc::gateway", topic = name, %error, "cannot be read yet");
                }
                let again = Instant::now() + delay(&error, WANTED_DELAY);
                let done = None;
                self.wanted
                    .push_back((again, NewWatch { name, topic, done }));
            }
        }
    }

    async fn begin_in_time(&mut self, watch: &NewWatch) -> Result<(), BackendError> {
        if self.sources.contains_key(&watch.name) {
            return Ok(());
        }
        let late = || BackendError::new(BackendErrorKind::Timeout, "begin to read");
        let beginning = timeout(BEGIN_DEADLINE, self.begin(watch));
        beginning.await.unwrap_or_else(|_| Err(late()))
    }

    async fn begin(&mut self, NewWatch { name, topic, .. }: &NewWatch) -> Result<(), BackendError> {
        if self.reader.is_none() {
            let connect = self.parts.backend.log_reader(Some(&self.parts.group));
            self.reader = Some(self.connecting.share(connect).await?);
        }
        let Some(reader) = &mut self.reader else {
            return Ok(());
        };
        let start = match topic {
            // Whatever position was committed: the lists of this node may be older, or new.
            ControlTopic::Management(_) => LogStart::Earliest,
            ControlTopic::Side(..) => start_of(reader.as_mut(), name).await,
        };
        tracing::debug!(target: "kc::gateway", topic = name, ?start, "reading");
        reader.assign(&[(name.clone(), start)]).await
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

/// Where the group stopped; the first record, if it never read the topic or nobody can tell.
async fn start_of(reader: &mut dyn LogReader, topic: &str) -> LogStart {
    for _ in 0..POSITION_ATTEMPTS {
        match reader.committed(&[topic.to_owned()], DEADLINE).await {
            Ok(committed) => {
                let position = committed.first().map(|position| position.offset);
                return position.map_or(LogStart::Earliest, LogStart::Offset);
            }
            Err(error) => {
                tracing::debug!(target: "kc::gateway", topic, %error, "no position yet");
                sleep(RETRY_DELAY).await;
            }
        }
    }
    LogStart::Earliest
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
            ControlTopic::Side(root, kind) => {
                let record = SideRecord {
                    root,
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
        until_taken(&parts.trust, ManagementRecords(management)).await;
    }
    if !side.is_empty() {
        until_taken(&parts.records, SideRecords(side)).await;
    }
    if !subscriptions.is_empty() {
        until_taken(&parts.subscriptions, SideRecords(subscriptions)).await;
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
async fn until_taken<M>(port: &Port<M>, message: M)
where
    M: Message<Result = ()> + Clone + Send + 'static,
{
    while port.send(message.clone()).await.is_err() {
        sleep(RETRY_DELAY).await;
    }
}
