//! `kc consume --raw`.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use kc::Assignment;
use kc::core::backend::{GroupConsumer, GroupStart, MAX_LOG_PARTITIONS, Record, TopicPartition};
use kc::core::text::with_sources;

use super::output::{Output, Shown};
use super::{Args, End};
use crate::commands::ends::{Ends, Start};
use crate::error::CliError;
use crate::stop::{Ended, Until};
use crate::topic::await_topic;
use crate::ui::Ui;
use crate::watch::report_outages;

const POLL: Duration = Duration::from_millis(500);
/// The number of failed polls in a row after which the failure is printed.
const REPORTED: u32 = 3;
/// The time limit for leaving the group.
const DEADLINE: Duration = Duration::from_secs(10);

/// Prints the records as the broker stores them. A Kafka client without encryption reads a topic without a group, so that a
/// slow reader cannot lose its membership. Many partitions, and the topics of a regular expression, are read in a new
/// group, which no other run uses.
pub(super) async fn run(
    args: &Args,
    mut output: Output,
    mut until: Until,
    ui: Ui,
) -> Result<(), CliError> {
    let connection = args.connection.connect(None, &args.copies, ui)?;
    let backend = &connection.backend;
    let topics = args.topics()?;
    let starting = async {
        let mut assignment = args.assignment();
        if !topics.is_open() {
            let servers = &connection.servers;
            let found = await_topic(backend.as_ref(), servers, &args.topic, false).await?;
            if found.partitions <= usize::try_from(MAX_LOG_PARTITIONS).unwrap_or(usize::MAX) {
                assignment = assignment.or(Some(Assignment::WHOLE));
            }
        }
        let start = Start {
            assignment,
            group: None,
            from_beginning: true,
            is_left_out: &|_| false,
        };
        let ends = if args.until_end {
            Some(Ends::at_start(backend.as_ref(), &topics, start).await?)
        } else {
            None
        };
        let consumer = match assignment {
            Some(assignment) => assignment.read(backend.as_ref(), &topics).await?,
            None => {
                let group = throwaway_group();
                let joining = backend.group_consumer(&group, &topics, GroupStart::Earliest);
                joining.await?
            }
        };
        // Without a group, no record comes again.
        let printed = assignment.is_none().then(Printed::default);
        Ok::<_, CliError>((consumer, ends, printed))
    };
    let (mut consumer, ends, printed) = match until.or(starting).await {
        Ok(started) => started?,
        Err(Ended::Interrupted) => return Ok(()),
        Err(Ended::TimedOut) => return Err(args.timed_out(0)),
    };
    let read = tokio::select! {
        read = read(consumer.as_mut(), ends, &mut output, &mut until, (printed, ui)) => read,
        never = report_outages(&connection, &args.topic, ui) => match never {},
    };
    if let Err(error) = consumer.close(DEADLINE).await {
        tracing::debug!(error = %with_sources(&error), "consumer group not left");
    }
    match read? {
        End::Outside(Ended::TimedOut) => Err(args.timed_out(output.written())),
        End::Counted | End::Reached | End::Closed | End::Outside(Ended::Interrupted) => Ok(()),
    }
}

async fn read(
    consumer: &mut dyn GroupConsumer,
    mut ends: Option<Ends>,
    output: &mut Output,
    until: &mut Until,
    (mut printed, ui): (Option<Printed>, Ui),
) -> Result<End, CliError> {
    let mut failures = 0_u32;
    loop {
        let records = match until.or(consumer.poll(POLL)).await {
            Ok(Ok(polled)) => {
                failures = 0;
                match &mut printed {
                    Some(printed) => printed.take_new(polled.records),
                    None => polled.records,
                }
            }
            Ok(Err(error)) if error.is_retriable() => {
                failures = failures.saturating_add(1);
                if failures == REPORTED {
                    ui.say(format!("{}; kc tries again", with_sources(&error)));
                }
                tokio::time::sleep(POLL).await;
                continue;
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(ended) => return Ok(End::Outside(ended)),
        };
        let mut records: &[Record] = &records;
        while !records.is_empty() {
            let (now, later) = records.split_at(records.len().min(output.room()));
            match until.or(output.write(now.iter().map(Shown::from))).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Ok(End::Closed),
                Ok(Err(error)) => return Err(error),
                Err(ended) => return Ok(End::Outside(ended)),
            }
            if output.is_done() {
                return Ok(End::Counted);
            }
            if let Some(ends) = &mut ends {
                for record in now {
                    ends.passed(&record.topic, record.partition, record.offset);
                }
            }
            records = later;
        }
        if let Some(ends) = &mut ends {
            if let Err(ended) = until.or(ends.check_if_quiet()).await {
                return Ok(End::Outside(ended));
            }
            if ends.are_reached() {
                return Ok(End::Reached);
            }
        }
    }
}

/// The offset after the last record that was taken for printing, by topic and partition. A member of a group that does not
/// poll for long, because the reader of stdout is slow, is removed from the group. The new group commits nothing, so the
/// member then gets all records again.
#[derive(Debug, Default)]
struct Printed(HashMap<TopicPartition, i64>);

impl Printed {
    /// Returns the records that have not been taken before.
    fn take_new(&mut self, mut records: Vec<Record>) -> Vec<Record> {
        records.retain(|record| {
            let at = record.at();
            let next = self.0.entry(at).or_default();
            let is_new = record.offset >= *next;
            if is_new {
                *next = record.next_offset();
            }
            is_new
        });
        records
    }
}

fn throwaway_group() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos();
    format!("kc-raw-{}-{now}", std::process::id())
}
