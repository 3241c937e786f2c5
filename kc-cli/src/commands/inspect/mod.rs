//! `kc inspect`.

mod owners;
mod parked;
mod scan;

use std::collections::BTreeMap;
use std::time::Duration;

use kc::core::backend::{Backend, Record, Subscription, end_of};
use kc::core::text::{counted, with_sources};
use kc::core::types::{KeyId, SideTopic, Timestamp};
use kc::{Assignment, OpenFailure, Opener, Reason};
use serde::Serialize;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use self::owners::Owner;
use self::parked::{Parked, ParkedRecords};
use self::scan::{Need, Place, Sample, Span, size};
use super::ends::{Ends, Start};
use crate::args::{Connection, ConnectionArgs, CopiesArg, PinArg, duration};
use crate::error::CliError;
use crate::logging::Progress;
use crate::session::Session;
use crate::stop::{Stop, Until};
use crate::stored::StoredNode;
use crate::topic::await_topic;
use crate::ui::Ui;

pub(super) use self::owners::Owners;
pub(super) use self::scan::Scan;

/// The maximum duration of one poll of the broker.
const POLL: Duration = Duration::from_millis(500);
/// The deadline of a call of the Kafka client.
const DEADLINE: Duration = Duration::from_secs(10);
/// The time between two looks at the data keys that have arrived.
const LOOK: Duration = Duration::from_millis(100);

/// Show which data keys the records of a topic need, whose these are, and from which offset a new consumer can read
///
/// The command reads the whole topic without a group, and opens nothing. With --node it also requests the data keys, and
/// shows which of the records this node could open. Parked records that a group may not have printed yet are
/// counted.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic
    topic: String,

    /// Request the data keys as this node, which must not be running
    #[arg(
        long,
        value_name = "ID|PATH",
        env = "KC_NODE",
        hide_env_values = true,
        help_heading = "Node"
    )]
    node: Option<String>,

    /// The time to wait for data keys
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s", help_heading = "Records")]
    patience: Duration,

    /// Print a JSON object on each line
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    copies: CopiesArg,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// The records of a partition that need the same, as `--json` prints them.
#[derive(Debug, Serialize)]
struct Group<'a> {
    partition: i32,
    /// sealed, not-sealed or null.
    kind: &'static str,
    /// The id of the data key; null if it is not one key.
    key: Option<String>,
    /// The node of the data key; null if it is not known.
    owner: Option<&'a Owner>,
    records: u64,
    bytes: u64,
    first: Shown,
    last: Shown,
    /// Whether the node of --node can open the records: one record for each data key is tried. Null if none was tried, as
    /// without --node.
    opens: Option<bool>,
    /// The reason why it cannot open them, as `kc consume --undecryptable` names it.
    reason: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Shown {
    offset: i64,
    /// ISO 8601 in UTC; null if the broker does not store the time.
    timestamp: Option<String>,
}

/// The last line of a partition.
#[derive(Debug, Serialize)]
struct Summary {
    partition: i32,
    /// The offset from which the node of --node can open all records; null without --node, and without records.
    readable_from: Option<i64>,
}

/// The reasons why a node cannot open records, by the data key that they need. `None`: it can open them.
pub(super) type Openings = BTreeMap<KeyId, Option<Reason>>;

pub(crate) async fn run(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let mut until = Until::new(stop, None);
    let node = args.node.as_deref();
    let connection = args.connection.connect(node, &args.copies, ui)?;
    let session = match node {
        None => None,
        Some(node) => {
            let options = args.pin.of(args.copies.of(args.connection.node(node, ui)));
            match Session::open(options, "inspect", ui, &mut until).await? {
                Ok(session) => Some(session),
                Err(_) => return Err(interrupted()),
            }
        }
    };
    let reading = async {
        let found = await_topic(
            connection.backend.as_ref(),
            &connection.servers,
            &args.topic,
            false,
        );
        let found = found.await?;
        let progress = Progress::new(ui, None);
        let mut scan = Scan::default();
        read(&connection, &args.topic, progress, |record| {
            scan.add(record)
        })
        .await?;
        let stored = node.map(StoredNode::read).transpose()?;
        let mut owners = Owners::on_this_host(stored.as_ref());
        let replies = connection.scheme.root_of(&args.topic);
        let replies = connection.scheme.side_topic(&replies, SideTopic::Keys);
        let unknown = "the nodes of some data keys may be missing below";
        read_if_there(&connection, &replies, unknown, ui, |record| {
            if let Some(value) = &record.value {
                owners.add_reply(value);
            }
        })
        .await;
        let mut parked = ParkedRecords::default();
        let root_topic = connection.scheme.root_of(&args.topic);
        let of_parked = connection.scheme.parked_topic(&root_topic);
        let parked = match of_parked.filter(|it| *it != args.topic) {
            Some(topic) => {
                let unknown = "parked records may be missing below";
                read_if_there(&connection, &topic, unknown, ui, |record| {
                    parked.add(&args.topic, record);
                })
                .await;
                parked.waiting(connection.backend.as_ref(), &topic).await
            }
            None => Vec::new(),
        };
        Ok::<_, CliError>((scan, owners, parked, found.partitions))
    };
    let (scan, owners, parked, partitions) = match until.or(reading).await {
        Ok(read) => read?,
        Err(_) => return Err(interrupted()),
    };
    let openings = match session {
        Some(session) => {
            let opener = session.node().opener();
            let openings = until
                .or(await_keys(&opener, &args.topic, args.patience, &scan))
                .await;
            session.close().await?;
            match openings {
                Ok(openings) => Some(openings),
                Err(_) => return Err(interrupted()),
            }
        }
        None => None,
    };
    let keys = scan.keys().clone();
    let owners = spawn_blocking(move || owners.of(&keys)).await;
    let owners = owners.map_err(CliError::from_error)?;
    let report = Report {
        args: &args,
        owners,
        parked,
        openings,
        ui,
    };
    for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
        report.partition(partition, scan.partitions.get(&partition))?;
    }
    Ok(())
}

fn interrupted() -> CliError {
    CliError::unresolved("interrupted before the result was complete")
}

/// Reads the records that a topic has at the start.
async fn read(
    connection: &Connection,
    topic: &str,
    mut progress: Progress,
    mut each: impl FnMut(&Record),
) -> Result<(), CliError> {
    let backend: &dyn Backend = connection.backend.as_ref();
    let topics = Subscription::to([topic]);
    let start = Start {
        assignment: Some(Assignment::WHOLE),
        group: None,
        from_beginning: true,
        is_left_out: &|_| false,
    };
    let mut ends = Ends::at_start(backend, &topics, start).await?;
    let mut reader = Assignment::WHOLE.read(backend, &topics).await?;
    while !ends.are_reached() {
        let records = match reader.poll(POLL).await {
            Ok(polled) => polled.records,
            Err(error) if error.is_retriable() => {
                tracing::warn!(error = %with_sources(&error), "the topic cannot be read; kc tries again");
                sleep(POLL).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for record in &records {
            each(record);
            ends.passed(&record.topic, record.partition, record.offset);
            progress.advance(1, size(record));
        }
        ends.check_if_quiet().await;
    }
    reader.close(POLL).await?;
    Ok(())
}

/// Reads the records of a topic that need not exist. If the topic cannot be read, says so, and what is `unknown` then.
async fn read_if_there(
    connection: &Connection,
    topic: &str,
    unknown: &str,
    ui: Ui,
    each: impl FnMut(&Record),
) {
    let reading = async {
        let admin = connection.backend.admin().await?;
        let found = admin.partitions(topic, false, DEADLINE).await;
        admin.close().await;
        match found? {
            Some(_) => read(connection, topic, Progress::new(ui, None), each).await,
            None => Ok(()),
        }
    };
    if let Err(error) = reading.await {
        ui.say(format!("{topic} cannot be read ({error}): {unknown}"));
    }
}

/// Requests the data keys of the samples. Waits until each data key has arrived or cannot arrive, but at most for the
/// patience.
pub(super) async fn await_keys(
    opener: &Opener,
    topic: &str,
    patience: Duration,
    scan: &Scan,
) -> Openings {
    let end = end_of(Instant::now(), patience);
    let mut openings = Openings::new();
    loop {
        let mut waits = false;
        for (id, sample) in &scan.samples {
            if openings.get(id) != Some(&None) {
                let failure = try_open(opener, topic, sample).err();
                let may_change = |failure: &OpenFailure| {
                    failure.may_still_open() && Reason::of(failure) != Some(Reason::Unanswered)
                };
                waits |= failure.as_ref().is_some_and(may_change);
                openings.insert(*id, failure.as_ref().and_then(Reason::of));
            }
        }
        if !waits || Instant::now() >= end {
            return openings;
        }
        sleep(LOOK).await;
    }
}

fn try_open(opener: &Opener, topic: &str, sample: &Sample) -> Result<Vec<u8>, OpenFailure> {
    match sample {
        Sample::Key(key) => opener.try_open_key(topic, key),
        Sample::Value(value) => opener.try_open_value(topic, value),
    }
}

/// Prints the results.
struct Report<'a> {
    args: &'a Args,
    owners: BTreeMap<KeyId, Owner>,
    parked: Vec<Parked>,
    openings: Option<Openings>,
    ui: Ui,
}

impl Report<'_> {
    fn partition(
        &self,
        partition: i32,
        spans: Option<&BTreeMap<Need, Span>>,
    ) -> Result<(), CliError> {
        let spans = spans.into_iter().flatten();
        let groups = spans.map(|(need, span)| self.group(partition, *need, span));
        let mut groups: Vec<_> = groups.collect();
        groups.sort_by_key(|group| group.first.offset);
        let closed = groups.iter().filter(|group| group.opens != Some(true));
        let readable_from = closed
            .map(|group| group.last.offset.saturating_add(1))
            .max();
        let first = groups.first().map(|group| group.first.offset);
        let readable_from = self.openings.as_ref().and(readable_from.or(first));
        let parked = self.parked.iter();
        let parked = parked.filter(|parked| parked.partition == partition);
        if self.args.json {
            for group in &groups {
                self.json(group)?;
            }
            for parked in parked {
                self.json(parked)?;
            }
            return self.json(&Summary {
                partition,
                readable_from,
            });
        }
        let records = groups.iter().map(|group| group.records).sum::<u64>();
        let topic = &self.args.topic;
        self.ui.result(format!(
            "partition {partition} of {topic}: {}",
            counted(records, "record")
        ))?;
        for group in &groups {
            self.ui.result(format!("  {group}"))?;
        }
        for parked in parked {
            self.ui.result(format!("  {parked}"))?;
        }
        match readable_from {
            Some(offset) => self
                .ui
                .result(format!("  a new consumer can read from offset {offset}")),
            None => Ok(()),
        }
    }

    fn json(&self, line: &impl Serialize) -> Result<(), CliError> {
        let line = serde_json::to_string(line).map_err(CliError::from_error)?;
        self.ui.result(line)
    }

    fn group(&self, partition: i32, need: Need, span: &Span) -> Group<'_> {
        let id = match need {
            Need::Key(id) => Some(id),
            _ => None,
        };
        let reason = self.openings.as_ref().map(|openings| match need {
            Need::Key(id) => openings.get(&id).copied(),
            Need::OtherKey => None,
            Need::NotSealed => Some(Some(Reason::Foreign)),
            Need::Nothing => Some(None),
        });
        // `None`: nothing was tried.
        let reason = reason.flatten();
        Group {
            partition,
            kind: match need {
                Need::Key(_) | Need::OtherKey => "sealed",
                Need::NotSealed => "not-sealed",
                Need::Nothing => "null",
            },
            key: id.map(|id| id.to_string()),
            owner: id.and_then(|id| self.owners.get(&id)),
            records: span.records,
            bytes: span.bytes,
            first: span.first.into(),
            last: span.last.into(),
            opens: reason.map(|reason| reason.is_none()),
            reason: reason.flatten().map(Reason::name),
        }
    }
}

impl From<Place> for Shown {
    fn from(place: Place) -> Self {
        let since_epoch = place
            .timestamp
            .and_then(|millis| u64::try_from(millis).ok());
        let timestamp = since_epoch
            .map(Duration::from_millis)
            .map(Timestamp::from_unix);
        Self {
            offset: place.offset,
            timestamp: timestamp.map(|timestamp| timestamp.to_string()),
        }
    }
}

impl std::fmt::Display for Group<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", counted(self.records, "record"))?;
        match (self.kind, &self.key) {
            ("sealed", Some(key)) => {
                write!(f, "under data key {key}")?;
                match self.owner {
                    Some(Owner { node, step }) => write!(f, " ({node}, step {step})")?,
                    None => f.write_str(" (of an unknown node)")?,
                }
            }
            ("sealed", None) => f.write_str("under further data keys")?,
            ("null", _) => f.write_str("without a value")?,
            _ => f.write_str("not sealed")?,
        }
        let (first, last) = (&self.first, &self.last);
        write!(f, ": offsets {} to {}", first.offset, last.offset)?;
        if let (Some(first), Some(last)) = (&first.timestamp, &last.timestamp) {
            write!(f, ", {first} to {last}")?;
        }
        write!(f, ", {}", counted(self.bytes, "byte"))?;
        match (self.opens, self.reason) {
            (Some(true), _) => f.write_str("; can be opened"),
            (Some(false), Some(reason)) => write!(f, "; cannot be opened: {reason}"),
            _ => Ok(()),
        }
    }
}
