//! `kc consume` with a node, which opens the records.

use std::collections::VecDeque;
use std::time::Duration;

use kc::core::chain::Usage;
use kc::core::text::counted;
use kc::{Consumer, ConsumerRecord};
use tokio::time::timeout;

use super::hints::{AtEnd, Silence};
use super::output::{Output, Shown};
use super::{Args, End};
use crate::commands::ends::{Ends, Start};
use crate::error::CliError;
use crate::session::{CLOSE_DEADLINE, Session};
use crate::stop::{Ended, Until};
use crate::topic::await_topic;
use crate::ui::Ui;

/// The time between two checks while no record arrives. A check finds out which printed records the reader of
/// stdout has taken, and how many records wait for data keys.
const LOOK: Duration = Duration::from_millis(500);
/// The time that a write to stdout may still take after a signal or the time limit, so that the number of printed
/// records is known. It is short, because the reader of stdout may have stopped reading.
const PRINT_GRACE: Duration = Duration::from_secs(2);
/// If the values of the records in a write have at least this many bytes in total, no further record is added.
const PRINTED_BYTES: usize = 64 << 10;

/// Prints the records that a node can open.
pub(super) async fn run(
    args: &Args,
    node: &str,
    mut output: Output,
    mut until: Until,
    ui: Ui,
) -> Result<(), CliError> {
    let options = args.pin.of(args.copies.of(args.connection.node(node, ui)));
    let session = match Session::open(options, "consume", ui, &mut until).await? {
        Ok(session) => session,
        Err(Ended::Interrupted) => return Ok(()),
        Err(Ended::TimedOut) => return Err(args.timed_out(0)),
    };
    let (mut consumer, ends) = match until.or(join(args, &session)).await {
        Ok(Ok(joined)) => joined,
        not_joined => {
            let closed = session.close().await;
            return match not_joined {
                Ok(joined) => joined.map(drop).and(closed),
                Err(Ended::Interrupted) => closed,
                Err(Ended::TimedOut) => Err(args.timed_out(0)),
            };
        }
    };
    let mut at_end = AtEnd::new(args.from_beginning && !args.until_end);
    let mut silence = Silence::new(&args.topic, session.node().actors().scheme());
    let end = read(
        args,
        &mut consumer,
        ends,
        &mut output,
        &mut until,
        (&mut at_end, &mut silence, ui),
    )
    .await;
    at_end.end(&args.topic, ui);
    let waiting = consumer.waiting();
    let left_out = consumer.left_out();
    if left_out > 0 {
        let left_out = counted(left_out, "record");
        ui.say(format!(
            "{left_out} of {} left out or moved, by the policies of --undecryptable",
            args.topic
        ));
    }
    // The consumer and the session close at the same time, so that closing takes at most one deadline.
    let (left, closed) = tokio::join!(consumer.close_within(CLOSE_DEADLINE), session.close());
    let end = end?;
    left?;
    summary(args, end, (waiting, &silence), output.written()).and(closed)
}

/// Checks that the node's chain allows the node to request data keys of the topic, waits until the topic exists, and
/// joins the group. For a regular expression, the chain is checked later, for each topic.
async fn join(args: &Args, session: &Session) -> Result<(Consumer, Option<Ends>), CliError> {
    let open = session.node();
    let topics = args.topics()?;
    let mut partitions = None;
    let is_new = if topics.is_open() {
        false
    } else {
        let usages = [Usage::EncryptRequest, Usage::EncryptSubscribe];
        session.require(&args.topic, &usages).await?;
        let found = await_topic(open.backend().as_ref(), open.servers(), &args.topic, true).await?;
        partitions = Some(found.partitions);
        found.later
    };
    let mut consumer = args.treatment(open.consumer([&args.topic]))?;
    for skip in &args.skip_until {
        let partition = args.partition_of(*skip, partitions)?;
        consumer = consumer.skip_until(&args.topic, partition, skip.offset);
    }
    let from_beginning = args.from_beginning || is_new;
    if from_beginning {
        consumer = consumer.from_beginning();
    }
    let assignment = args.assignment();
    if let Some(assignment) = assignment {
        consumer = consumer.without_group(assignment);
    }
    let ends = if args.until_end {
        let (scheme, management) = (open.actors().scheme(), open.management_topics());
        let is_left_out =
            |topic: &str| !scheme.is_data_topic(topic) || management.names().contains(&topic);
        let group = args.group.as_deref().unwrap_or(open.group());
        let start = Start {
            assignment,
            group: assignment.is_none().then_some(group),
            from_beginning: from_beginning || open.starts_from_beginning(),
            is_left_out: &is_left_out,
        };
        Some(Ends::at_start(open.backend().as_ref(), &topics, start).await?)
    } else {
        None
    };
    if let Some(group) = &args.group {
        consumer = consumer.group(group);
    }
    if args.plain_keys {
        consumer = consumer.plain_keys();
    }
    if args.no_commit {
        consumer = consumer.no_commit();
    }
    let consumer = consumer.join().await?;
    tracing::info!("the consumer reads {}", args.topic);
    Ok((consumer, ends))
}

/// Returns the error of a run that reached the time limit, or that was interrupted while records waited for data keys.
fn summary(
    args: &Args,
    end: End,
    (waiting, silence): (usize, &Silence),
    written: u64,
) -> Result<(), CliError> {
    let next_run = args.next_run();
    match end {
        End::Outside(Ended::TimedOut) if waiting > 0 => {
            let text = args.timeout_text(written);
            let text = format!("{text}; {waiting} more without data keys{next_run}");
            Err(CliError::unresolved(text).advise(silence.explanation()))
        }
        End::Outside(Ended::TimedOut) => Err(args.timed_out(written)),
        End::Outside(Ended::Interrupted) if waiting > 0 => {
            let waiting = counted(waiting, "record");
            let text = format!(
                "interrupted: the data keys of {waiting} of {} have not arrived{next_run}",
                args.topic
            );
            Err(CliError::unresolved(text).advise(silence.explanation()))
        }
        End::Counted | End::Reached | End::Closed | End::Outside(Ended::Interrupted) => Ok(()),
    }
}

async fn read(
    args: &Args,
    consumer: &mut Consumer,
    mut ends: Option<Ends>,
    output: &mut Output,
    until: &mut Until,
    (at_end, silence, ui): (&mut AtEnd, &mut Silence, Ui),
) -> Result<End, CliError> {
    let mut printed = Printed::default();
    loop {
        let next = match until.or(timeout(LOOK, consumer.next_batch())).await {
            Ok(next) => next,
            Err(outside) => {
                printed.ack_rest(output);
                return Ok(End::Outside(outside));
            }
        };
        let records = match next {
            Err(_) if output.is_deserted() => {
                printed.ack_read(output);
                return Ok(End::Closed);
            }
            Err(_) => Vec::new(),
            Ok(Some(Ok(records))) => records,
            Ok(Some(Err(error))) => {
                printed.ack_rest(output);
                return Err(error.into());
            }
            Ok(None) => return Err(CliError::failure("the node is closed")),
        };
        let nothing = records.is_empty() && consumer.waiting() == 0 && consumer.left_out() == 0;
        at_end.observe(nothing, &args.topic, ui);
        silence.observe(consumer.waiting(), records.is_empty(), &args.topic, ui);
        let mut records = VecDeque::from(records);
        while !records.is_empty() {
            let now: Vec<_> = records.drain(..fitting(&records, output.room())).collect();
            let printing = output.write(now.iter().map(Shown::from));
            match until.or_after(PRINT_GRACE, printing).await {
                Ok(Ok(true)) => {
                    if let Some(ends) = &mut ends {
                        for record in &now {
                            ends.passed(record.topic(), record.partition(), record.offset());
                        }
                    }
                    printed.add(now, output.bytes());
                }
                Ok(Ok(false)) => {
                    printed.ack_read(output);
                    return Ok(End::Closed);
                }
                Ok(Err(error)) => return Err(error),
                Err(outside) => {
                    printed.ack_rest(output);
                    return Ok(End::Outside(outside));
                }
            }
            if output.is_done() {
                printed.ack_rest(output);
                return Ok(End::Counted);
            }
            printed.ack_read(output);
        }
        printed.ack_read(output);
        if let Some(ends) = &mut ends
            && consumer.waiting() == 0
        {
            if let Err(outside) = until.or(ends.check_if_quiet()).await {
                printed.ack_rest(output);
                return Ok(End::Outside(outside));
            }
            if ends.are_reached() {
                printed.ack_rest(output);
                return Ok(End::Reached);
            }
        }
    }
}

/// Returns the number of records for the next write: at most `room`, and no further record after
/// [`PRINTED_BYTES`] bytes of values, so that a slow reader takes the records soon.
fn fitting(records: &VecDeque<ConsumerRecord>, room: usize) -> usize {
    let mut bytes = 0;
    let fit = |record: &&ConsumerRecord| {
        let fits = bytes < PRINTED_BYTES;
        bytes += record.value().len();
        fits
    };
    records.iter().take(room).take_while(fit).count()
}

/// Records that were printed and are not yet acknowledged, because they may still be in a pipe whose reader never takes
/// them.
#[derive(Debug, Default)]
struct Printed(VecDeque<(Vec<ConsumerRecord>, u64)>);

impl Printed {
    /// Adds records. `bytes` is the number of bytes that were printed so far, including these records.
    fn add(&mut self, records: Vec<ConsumerRecord>, bytes: u64) {
        self.0.push_back((records, bytes));
    }

    /// Acknowledges the records that the reader has taken from the pipe.
    fn ack_read(&mut self, output: &Output) {
        let read = output.read();
        while let Some((records, _)) = self.0.pop_front_if(|(_, bytes)| *bytes <= read) {
            ack(&records);
        }
    }

    /// Acknowledges all records if the reader still exists, because it will take them. Otherwise acknowledges only the
    /// records that it has taken from the pipe.
    fn ack_rest(mut self, output: &Output) {
        if output.is_deserted() {
            self.ack_read(output);
        } else {
            self.0.iter().for_each(|(records, _)| ack(records));
        }
    }
}

fn ack(records: &[ConsumerRecord]) {
    for record in records {
        record.ack();
    }
}
