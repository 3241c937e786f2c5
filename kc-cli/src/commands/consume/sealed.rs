use std::collections::VecDeque;
use std::time::Duration;

use kc::core::chain::Usage;
use kc::{Consumer, ConsumerRecord};
use tokio::time::timeout;

use super::hints::{AtEnd, Silence};
use super::output::{Output, Shown};
use super::{Args, End};
use crate::error::CliError;
use crate::session::{CLOSE_DEADLINE, Session};
use crate::stop::{Ended, Until};
use crate::topic::{Found, await_topic};
use crate::ui::Ui;

/// How often is looked after what is printed but not read, and what waits for keys.
const LOOK: Duration = Duration::from_millis(500);
/// How long records may still be printed after a signal, so that what was printed is known: whoever reads
/// stdout may have stopped.
const PRINT_GRACE: Duration = Duration::from_secs(2);
/// How many bytes of values are printed at once, and one record more.
const PRINTED_BYTES: usize = 64 << 10;

/// Prints what a node can open.
pub(super) async fn run(
    args: &Args,
    node: &str,
    mut output: Output,
    mut until: Until,
    ui: Ui,
) -> Result<(), CliError> {
    let options = args.pin.of(args.connection.node(node, ui));
    let session = match Session::open(options, "consume", ui, &mut until).await? {
        Ok(session) => session,
        Err(Ended::Interrupted) => return Ok(()),
        Err(Ended::TimedOut) => return Err(args.timed_out(0)),
    };
    let mut consumer = match until.or(join(args, &session)).await {
        Ok(Ok(consumer)) => consumer,
        not_joined => {
            let closed = session.close().await;
            return match not_joined {
                Ok(joined) => joined.map(drop).and(closed),
                Err(Ended::Interrupted) => closed,
                Err(Ended::TimedOut) => Err(args.timed_out(0)),
            };
        }
    };
    let mut at_end = AtEnd::new(args.from_beginning);
    let end = read(
        args,
        &mut consumer,
        &mut output,
        &mut until,
        (&mut at_end, ui),
    )
    .await;
    at_end.end(&args.topic, ui);
    let waiting = consumer.waiting();
    // At the same time, so that both together take no longer than one may.
    let (left, closed) = tokio::join!(consumer.close_within(CLOSE_DEADLINE), session.close());
    let end = end?;
    left?;
    summary(args, end, waiting, output.written()).and(closed)
}

/// Joins the group, if the node may have keys of the topic. Of what a regular expression matches, each record
/// tells.
async fn join(args: &Args, session: &Session) -> Result<Consumer, CliError> {
    let open = session.node();
    let topics = args.topics()?;
    let found = if topics.is_open() {
        Found::AtOnce
    } else {
        let usages = [Usage::EncryptRequest, Usage::EncryptSubscribe];
        session.require(&args.topic, &usages).await?;
        await_topic(open.backend().as_ref(), open.servers(), &args.topic, true).await?
    };
    let mut consumer = open.consumer([&args.topic]).foreign(args.policy());
    if args.from_beginning || found == Found::Later {
        consumer = consumer.from_beginning();
    }
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
    tracing::info!("reading {}", args.topic);
    Ok(consumer)
}

/// What a run comes to.
fn summary(args: &Args, end: End, waiting: usize, written: u64) -> Result<(), CliError> {
    match end {
        End::Outside(Ended::TimedOut) => Err(args.timed_out(written)),
        End::Outside(Ended::Interrupted) if waiting > 0 => Err(CliError::unresolved(format!(
            "{waiting} records of {} were left waiting for their keys; the next run gets them again",
            args.topic
        ))),
        End::Counted | End::Closed | End::Outside(Ended::Interrupted) => Ok(()),
    }
}

async fn read(
    args: &Args,
    consumer: &mut Consumer,
    output: &mut Output,
    until: &mut Until,
    (at_end, ui): (&mut AtEnd, Ui),
) -> Result<End, CliError> {
    let mut printed = Printed::default();
    let mut silence = Silence::default();
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
        let nothing = records.is_empty() && consumer.waiting() == 0;
        at_end.observe(nothing, &args.topic, ui);
        silence.observe(consumer.waiting(), records.is_empty(), &args.topic, ui);
        let mut records = VecDeque::from(records);
        while !records.is_empty() {
            let now: Vec<_> = records.drain(..fitting(&records, output.room())).collect();
            let printing = output.write(now.iter().map(Shown::from));
            match until.or_after(PRINT_GRACE, printing).await {
                Ok(Ok(true)) => printed.add(now, output.bytes()),
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
    }
}

/// Returns how many records to print at once: so few that a slow reader has them soon, and no more than there is room
/// for.
fn fitting(records: &VecDeque<ConsumerRecord>, room: usize) -> usize {
    let mut bytes = 0;
    let fit = |record: &&ConsumerRecord| {
        let fits = bytes < PRINTED_BYTES;
        bytes += record.value().len();
        fits
    };
    records.iter().take(room).take_while(fit).count()
}

/// Records that were printed and are not acknowledged: a pipe holds some that its reader has not taken, and may never
/// take.
#[derive(Debug, Default)]
struct Printed(VecDeque<(Vec<ConsumerRecord>, u64)>);

impl Printed {
    /// Adds records; with them, so many bytes have been printed.
    fn add(&mut self, records: Vec<ConsumerRecord>, bytes: u64) {
        self.0.push_back((records, bytes));
    }

    /// Acknowledges those that have left the pipe.
    fn ack_read(&mut self, output: &Output) {
        let read = output.read();
        while let Some((records, _)) = self.0.pop_front_if(|(_, bytes)| *bytes <= read) {
            ack(&records);
        }
    }

    /// Acknowledges all if the reader is there, for it will take them; else those that have left the pipe.
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
