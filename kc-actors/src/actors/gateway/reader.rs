use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use kc_core::backend::{BackendError, Committed, LogReader, LogStart, Record};
use kc_core::types::{RootTopic, SideTopic};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::GatewayParts;
use crate::messages::{SideRecord, SideRecords};

/// How long a poll waits; a new topic is taken up after that at the latest.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How long a call may take; what is being read waits meanwhile.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long to wait before trying again what can be tried again.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How often positions are asked for before reading begins at the start: a new broker has none for a
/// while, and says so by errors.
const POSITION_ATTEMPTS: usize = 4;

/// A topic to read from now on.
#[derive(Debug)]
pub(super) struct NewWatch {
    pub(super) topic: String,
    pub(super) root: RootTopic,
    pub(super) side: SideTopic,
    /// Told when reading has begun; nobody if another gateway read it before.
    pub(super) done: Option<oneshot::Sender<Result<(), BackendError>>>,
}

/// Reads the watched topics until nobody can watch another. Positions are committed when what was read
/// is done with.
pub(super) async fn read(parts: GatewayParts, mut watches: mpsc::Receiver<NewWatch>) {
    let mut sources = HashMap::new();
    let mut reader: Option<Box<dyn LogReader>> = None;
    let mut resumed: VecDeque<_> = parts.watched.with(|watched| {
        let resume = |(topic, (root, side)): (&String, &(RootTopic, SideTopic))| NewWatch {
            topic: topic.clone(),
            root: root.clone(),
            side: *side,
            done: None,
        };
        watched.iter().map(resume).collect()
    });
    loop {
        // One at a time: what is being read must not wait for what is to be read, too.
        let watch = match resumed.pop_front() {
            Some(watch) => Some(watch),
            None => next_watch(&mut watches, sources.is_empty()).await,
        };
        if let Some(watch) = watch {
            let begun = if sources.contains_key(&watch.topic) {
                Ok(())
            } else {
                begin(&parts, &mut reader, &watch.topic).await
            };
            match (begun, watch) {
                (Err(_), watch) if watch.done.is_none() => {
                    resumed.push_back(watch);
                    sleep(RETRY_DELAY).await;
                }
                (
                    begun,
                    NewWatch {
                        topic,
                        root,
                        side,
                        done,
                    },
                ) => {
                    if begun.is_ok() {
                        let source = (root, side);
                        parts
                            .watched
                            .with(|all| all.insert(topic.clone(), source.clone()));
                        sources.insert(topic, source);
                    }
                    // Whoever asked may have gone; the topic is read all the same.
                    let _ = done.map(|done| done.send(begun));
                }
            }
        }
        if watches.is_closed() {
            break;
        }
        if let Some(reader) = &mut reader {
            match reader.poll(POLL_WAIT).await {
                Ok(records) if records.is_empty() => {}
                Ok(records) => hand_over(&parts, &sources, reader.as_mut(), records).await,
                Err(error) => {
                    tracing::warn!(target: "kc::gateway", %error, "reading side topics failed");
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    }
    if let Some(reader) = reader {
        reader.close().await;
    }
}

/// The next topic to watch: waits for one only if there is nothing else to do.
async fn next_watch(watches: &mut mpsc::Receiver<NewWatch>, idle: bool) -> Option<NewWatch> {
    if idle {
        watches.recv().await
    } else {
        watches.try_recv().ok()
    }
}

async fn begin(
    parts: &GatewayParts,
    reader: &mut Option<Box<dyn LogReader>>,
    topic: &str,
) -> Result<(), BackendError> {
    if reader.is_none() {
        *reader = Some(parts.backend.log_reader(Some(&parts.group)).await?);
    }
    let Some(reader) = reader else {
        return Ok(());
    };
    let start = start_of(reader.as_mut(), topic).await;
    tracing::debug!(target: "kc::gateway", topic, ?start, "reading side topic");
    reader.assign(&[(topic.to_owned(), start)]).await
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

async fn hand_over(
    parts: &GatewayParts,
    sources: &HashMap<String, (RootTopic, SideTopic)>,
    reader: &mut dyn LogReader,
    records: Vec<Record>,
) {
    let mut positions = BTreeMap::new();
    for record in &records {
        positions.insert(record.topic.clone(), record.offset + 1);
    }
    let known = records.into_iter().filter_map(|record| {
        let (root, side) = sources.get(&record.topic)?.clone();
        Some(SideRecord {
            root,
            side,
            kafka_key: record.key?,
            value: record.value?,
        })
    });
    let records = SideRecords(known.collect());
    while parts.records.send(records.clone()).await.is_err() {
        // Another exchange will take its place.
        sleep(RETRY_DELAY).await;
    }
    let positions: Vec<_> = positions
        .into_iter()
        .map(|(topic, offset)| Committed { topic, offset })
        .collect();
    if let Err(error) = reader.commit(&positions, DEADLINE).await {
        tracing::debug!(target: "kc::gateway", %error, "positions not committed");
    }
}
