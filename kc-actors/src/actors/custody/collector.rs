//! The collector of a custodian: it reads data topics, and requests the data keys that their records need.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture};
use kc_core::backend::{
    Backend, BackendError, BackendErrorKind, GroupConsumer, GroupStart, LogReader, LogStart,
    Record, Retention, Subscription,
};
use kc_core::custody::{Day, Place, Unproven};
use kc_core::ratchet::Candidates;
use kc_core::text::with_sources;
use kc_core::types::{KeyId, RootTopic, TopicScheme};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::sightings::{KeptSeen, sealed_parts, sightings};
use super::{
    AskCustody, CustodyRole, ExpireKeys, FoundSample, KeysSighted, NextPending, Sample,
    UnprovenKeys,
};
use crate::actors::exchange::{ExchangeRole, KeyWanted, ServeRoot};
use crate::clock::Clock;
use crate::events::{Events, NodeEvent};
use crate::outage::ReadOutage;
use crate::role::role;

/// Maximum duration of a poll.
const POLL: Duration = Duration::from_millis(500);
/// Time between two commits.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// Deadline for a commit and for leaving the group.
const DEADLINE: Duration = Duration::from_secs(5);
/// Time to wait after a failure.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Time between two searches for data keys whose records no longer exist.
const EXPIRE_INTERVAL: Duration = Duration::from_secs(3600);
/// Time to wait after a failed search.
const EXPIRE_RETRY_DELAY: Duration = Duration::from_secs(60);
/// Time between two rounds of requests.
const ASK_INTERVAL: Duration = Duration::from_secs(2);
/// Maximum number of ids of one root topic that are requested in a round. It is smaller than the number of keys that the
/// exchange wants at the same time, so that a round does not displace the keys of the round before.
const MAX_ASKED: usize = 120;
/// Time between two searches for keys that no record in memory proves.
const PROVE_INTERVAL: Duration = Duration::from_secs(2);
/// Time after which a record is read again for a key that it did not prove.
const REREAD_INTERVAL: Duration = Duration::from_secs(60);
/// Maximum number of records that are read again in one search.
const MAX_REREAD: usize = 64;

role! {
    /// The message that the collector answers. The slot is empty in a node that is not a custodian.
    pub struct CollectorRole {
        /// Ends reading.
        close: CloseCollector,
    }
}

/// Commits the positions in the data topics, and leaves the group. The actor answers when this is done or has failed, at
/// most five seconds later. It reads nothing more.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct CloseCollector;

/// The parts of a collector actor.
#[derive(Clone, Debug)]
pub struct CollectorParts {
    /// The Kafka client.
    pub backend: Arc<dyn Backend>,
    /// The data topics.
    pub topics: Subscription,
    /// The consumer group that reads the data topics.
    pub group: String,
    /// The time for which a data key is kept after the last record that needs it; `None` for as long as the topics keep
    /// their records.
    pub retention: Option<Retention>,
    /// The naming scheme of topics.
    pub scheme: Arc<TopicScheme>,
    /// The role that keeps data keys.
    pub custody: CustodyRole,
    /// The role that requests data keys.
    pub exchange: ExchangeRole,
    /// The clock.
    pub clock: Clock,
    /// The destination of events.
    pub events: Events,
}

/// The actor that collects the data keys of producers for a custodian.
#[derive(Debug)]
pub struct CollectorActor {
    parts: CollectorParts,
    /// Becomes true when reading must end.
    closing: watch::Sender<bool>,
    /// Becomes true when reading has ended.
    closed: watch::Sender<bool>,
}

impl CollectorActor {
    /// Returns an actor that begins to read as soon as it is started.
    #[must_use]
    pub fn new(parts: CollectorParts) -> Self {
        Self {
            parts,
            closing: watch::Sender::new(false),
            closed: watch::Sender::new(false),
        }
    }
}

impl Actor for CollectorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (closing, closed) = (self.closing.subscribe(), self.closed.clone());
        let reading = self.parts.clone().read_until(closing);
        let reading = async move {
            reading.await;
            closed.send_replace(true);
        };
        ctx.spawn(reading.into_actor(self));
        ctx.spawn(self.parts.clone().ask_always().into_actor(self));
        ctx.spawn(self.parts.clone().prove_always().into_actor(self));
        ctx.spawn(self.parts.clone().expire_always().into_actor(self));
    }
}

impl Handler<CloseCollector> for CollectorActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: CloseCollector, _: &mut Self::Context) -> Self::Result {
        self.closing.send_replace(true);
        let mut closed = self.closed.subscribe();
        Box::pin(async move {
            // Waiting fails if the actor ends.
            let _ = timeout(DEADLINE, closed.wait_for(|closed| *closed)).await;
        })
    }
}

impl CollectorParts {
    /// Reads the data topics until `closing` is true. Joins the group again after an error.
    async fn read_until(self, mut closing: watch::Receiver<bool>) {
        let mut outage = ReadOutage::new(self.topics.to_string(), self.events.clone());
        let mut kept = KeptSeen::default();
        while !*closing.borrow_and_update() {
            let Err(error) = self.read(&mut kept, &mut outage, &mut closing).await else {
                return;
            };
            outage.fails(&error);
            sleep(RETRY_DELAY).await;
        }
    }

    /// Reads the data topics until `closing` is true, then leaves the group.
    async fn read(
        &self,
        kept: &mut KeptSeen,
        outage: &mut ReadOutage,
        closing: &mut watch::Receiver<bool>,
    ) -> Result<(), BackendError> {
        let start = GroupStart::Earliest;
        let joining = self
            .backend
            .group_consumer(&self.group, &self.topics, start);
        let mut consumer = tokio::select! {
            joined = joining => joined?,
            _ = closing.wait_for(|closing| *closing) => return Ok(()),
        };
        let mut next_commit = Instant::now() + COMMIT_INTERVAL;
        loop {
            // A poll that is dropped loses nothing.
            let polled = tokio::select! {
                polled = consumer.poll(POLL) => polled,
                _ = closing.wait_for(|closing| *closing) => return consumer.close(DEADLINE).await,
            };
            let records = match polled {
                Ok(polled) => {
                    outage.works();
                    polled.records
                }
                Err(error) => {
                    // The next attempt need not wait for the session of this member.
                    let _ = consumer.close(DEADLINE).await;
                    return Err(error);
                }
            };
            self.note(&records, kept).await;
            store(consumer.as_mut(), &records);
            if next_commit <= Instant::now() {
                if let Err(error) = consumer.commit(DEADLINE).await {
                    tracing::debug!(target: "kc::custody", error = %with_sources(&error), "positions not committed");
                }
                next_commit = Instant::now() + COMMIT_INTERVAL;
            }
        }
    }

    /// Sends the data keys that the records need to the custody actor. Repeats this until the actor has stored them.
    async fn note(&self, records: &[Record], kept: &mut KeptSeen) {
        let now = self.clock.now();
        let seen = sightings(records, &self.scheme, kept, now);
        if seen.is_empty() {
            return;
        }
        let roots: HashSet<_> = seen.iter().map(|key| &key.sighting.root_topic).collect();
        for root_topic in roots {
            self.serve(root_topic.clone()).await;
        }
        loop {
            match self.custody.sighted.send(KeysSighted(seen.clone())).await {
                Ok(Ok(pending)) => {
                    let sightings = seen.into_iter().map(|key| key.sighting);
                    for (sighting, is_pending) in sightings.zip(pending) {
                        if !is_pending {
                            kept.add(sighting);
                        }
                    }
                    return;
                }
                Ok(Err(error)) => {
                    tracing::warn!(target: "kc::custody", error = %with_sources(&error), "key ids cannot be stored; reading waits");
                }
                // The actor has died, and will be restarted.
                Err(_) => {}
            }
            sleep(RETRY_DELAY).await;
        }
    }

    async fn serve(&self, root_topic: RootTopic) {
        // If the exchange has died, the next round repeats this.
        let _ = self.exchange.serve.send(ServeRoot { root_topic }).await;
    }

    /// Requests the data keys of pending ids, and serves all root topics with kept keys, also after a restart of the
    /// exchange.
    async fn ask_always(self) {
        loop {
            if let Ok(Ok(roots)) = self.custody.status.send(AskCustody).await {
                for root in roots {
                    self.serve(root.root_topic).await;
                }
            }
            let next = NextPending { max: MAX_ASKED };
            if let Ok(Ok(pending)) = self.custody.pending.send(next).await {
                for (root_topic, ids) in pending {
                    for id in ids {
                        let wanted = KeyWanted {
                            root_topic: root_topic.clone(),
                            id,
                            known: Candidates::default(),
                        };
                        let _ = self.exchange.want.send(wanted).await;
                    }
                }
            }
            sleep(ASK_INTERVAL).await;
        }
    }

    /// Reads records again that can prove received keys: those that were read before this node was started.
    async fn prove_always(self) {
        let mut tried: HashMap<(RootTopic, KeyId), Instant> = HashMap::new();
        loop {
            let now = Instant::now();
            tried.retain(|_, at| *at + REREAD_INTERVAL > now);
            let unproven = self.custody.unproven.send(UnprovenKeys).await;
            let mut unproven = unproven.map_or(Vec::new(), Result::unwrap_or_default);
            unproven.retain(|key| !tried.contains_key(&(key.root_topic.clone(), key.id)));
            unproven.truncate(MAX_REREAD);
            if !unproven.is_empty()
                && let Err(error) = self.prove(unproven, &mut tried).await
            {
                tracing::debug!(target: "kc::custody", error = %with_sources(&error), "records cannot be read again");
            }
            sleep(PROVE_INTERVAL).await;
        }
    }

    /// Reads the records of unproven keys. Adds the keys whose records were looked for to `tried`.
    async fn prove(
        &self,
        unproven: Vec<Unproven>,
        tried: &mut HashMap<(RootTopic, KeyId), Instant>,
    ) -> Result<(), BackendError> {
        let mut reader = self.backend.log_reader(None).await?;
        for key in unproven {
            tried.insert((key.root_topic.clone(), key.id), Instant::now());
            let record = match fetch(reader.as_mut(), &key.place).await {
                Ok(record) => record,
                Err(error) => {
                    tracing::debug!(target: "kc::custody", topic = key.place.topic, error = %with_sources(&error), "record cannot be read again");
                    continue;
                }
            };
            let mut parts = record.iter().flat_map(sealed_parts);
            if let Some((id, component, sealed)) = parts.find(|(id, ..)| *id == key.id) {
                let message = FoundSample {
                    root_topic: key.root_topic,
                    id,
                    sample: Sample::of(component, sealed),
                };
                let _ = self.custody.sample.send(message).await;
            }
        }
        reader.close().await;
        Ok(())
    }
}

impl CollectorParts {
    /// Forgets data keys whose records no longer exist.
    async fn expire_always(self) {
        loop {
            let delay = match self.expire().await {
                Ok(()) => EXPIRE_INTERVAL,
                Err(error) => {
                    tracing::debug!(target: "kc::custody", error = %with_sources(&error), "retention of topics not known");
                    EXPIRE_RETRY_DELAY
                }
            };
            sleep(delay).await;
        }
    }

    async fn expire(&self) -> Result<(), BackendError> {
        let Ok(Ok(roots)) = self.custody.status.send(AskCustody).await else {
            return Ok(());
        };
        let kept = roots.into_iter().filter(|root| root.kept > 0);
        let kept: Vec<_> = kept.map(|root| root.root_topic).collect();
        let of_topics = match self.retention {
            None if !kept.is_empty() => self.retention_of_topics().await?,
            _ => HashMap::new(),
        };
        for root_topic in kept {
            let retention = self
                .retention
                .or_else(|| of_topics.get(&root_topic).copied());
            let Some(Retention::For(time)) = retention else {
                continue;
            };
            let message = ExpireKeys {
                root_topic: root_topic.clone(),
                before: Day::of(self.clock.now().minus(time)),
            };
            match self.custody.expire.send(message).await {
                Ok(Ok(0)) | Err(_) => {}
                Ok(Ok(keys)) => {
                    tracing::info!(target: "kc::custody", %root_topic, keys, "data keys forgotten, because their records no longer exist");
                    self.events.tell(NodeEvent::Forgotten { root_topic, keys });
                }
                Ok(Err(error)) => {
                    tracing::warn!(target: "kc::custody", %root_topic, error = %with_sources(&error), "data keys cannot be forgotten");
                }
            }
        }
        Ok(())
    }

    /// Returns the longest time for which a data topic of each root topic keeps its records. Leaves out root topics of
    /// which a topic does not say.
    async fn retention_of_topics(&self) -> Result<HashMap<RootTopic, Retention>, BackendError> {
        let admin = self.backend.admin().await?;
        let mut longest: HashMap<RootTopic, Option<Retention>> = HashMap::new();
        for topic in admin.topics(DEADLINE).await? {
            if !self.topics.wants(&topic) {
                continue;
            }
            let retention = match admin.retention(&topic, DEADLINE).await {
                Err(error) if error.kind() == BackendErrorKind::Authorization => None,
                retention => retention?,
            };
            longest
                .entry(self.scheme.root_of(&topic))
                .and_modify(|known| *known = known.zip(retention).map(|(a, b)| longer(a, b)))
                .or_insert(retention);
        }
        admin.close().await;
        let known = longest.into_iter();
        Ok(known
            .filter_map(|(root, retention)| Some((root, retention?)))
            .collect())
    }
}

fn longer(one: Retention, other: Retention) -> Retention {
    match (one, other) {
        (Retention::For(one), Retention::For(other)) => Retention::For(one.max(other)),
        _ => Retention::Forever,
    }
}

/// Reads one record. Returns `None` if the record no longer exists or does not arrive in time.
async fn fetch(reader: &mut dyn LogReader, place: &Place) -> Result<Option<Record>, BackendError> {
    let Place {
        topic,
        partition,
        offset,
    } = place;
    let Some(watermarks) = reader.watermarks(topic, DEADLINE).await? else {
        return Ok(None);
    };
    // Of the other partitions, nothing is read.
    let ends = (0..).zip(&watermarks).map(|(at, marks)| (at, marks.high));
    let mut offsets: BTreeMap<i32, i64> = ends.collect();
    offsets.insert(*partition, *offset);
    let start = [(topic.clone(), LogStart::Offsets(offsets))];
    reader.assign(&start).await?;
    let end = Instant::now() + DEADLINE;
    let mut found = None;
    while found.is_none()
        && let Ok(records) = timeout_at(end, reader.poll(POLL)).await
    {
        let mut records = records?.into_iter();
        let mut of_partition = records.by_ref().filter(|it| it.partition == *partition);
        match of_partition.find(|record| record.offset >= *offset) {
            Some(record) if record.offset == *offset => found = Some(record),
            // The record was deleted.
            Some(_) => break,
            None => {}
        }
    }
    reader.unassign(std::slice::from_ref(topic)).await?;
    Ok(found)
}

/// Marks records as processed.
fn store(consumer: &mut dyn GroupConsumer, records: &[Record]) {
    let mut positions = HashMap::new();
    for record in records {
        let at = record.at();
        positions.insert(at, record.next_offset());
    }
    let positions: Vec<_> = positions.into_iter().collect();
    if !positions.is_empty() {
        consumer.store(&positions);
    }
}
