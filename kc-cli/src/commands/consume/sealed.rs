use std::time::Duration;

use kc::core::chain::Usage;
use kc::{BackendError, ConsumeError, EncryptedConsumer, GroupStart};
use tokio::time::Instant;

use super::hint::AtEnd;
use super::output::{Output, Shown};
use super::{Args, End};
use crate::error::CliError;
use crate::session::{CLOSE_DEADLINE, Session};
use crate::topic::{Found, await_topic};
use crate::ui::Ui;
use crate::until::{Ended, Until};

const POLL: Duration = Duration::from_millis(500);
/// How often what was printed is committed.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// How long such a commit may take.
const COMMIT_DEADLINE: Duration = Duration::from_secs(30);
/// How long a batch may still be printed after a signal, so that what was printed is known: whoever reads
/// stdout may have stopped.
const PRINT_GRACE: Duration = Duration::from_secs(2);
/// How long records may wait for their keys without a word.
const SILENCE: Duration = Duration::from_secs(10);

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
    let read = read(
        args,
        &mut consumer,
        &mut output,
        &mut until,
        &mut at_end,
        ui,
    )
    .await;
    at_end.end(&args.topic, ui);
    let waiting = consumer.waiting();
    // At the same time, so that both together take no longer than one may.
    let (left, closed) = tokio::join!(leave(consumer, read.printed), session.close());
    let end = read.end?;
    left?;
    summary(args, end, waiting, output.written()).and(closed)
}

/// Joins the group, if the node may have keys of the topic. Of what a regular expression matches, each record
/// tells.
async fn join(args: &Args, session: &Session) -> Result<EncryptedConsumer, CliError> {
    let open = session.node();
    let topics = args.topics()?;
    let found = if topics.is_open() {
        Found::AtOnce
    } else {
        let usages = [Usage::EncryptRequest, Usage::EncryptSubscribe];
        session.require(&args.topic, &usages).await?;
        await_topic(open.backend().as_ref(), open.servers(), &args.topic, true).await?
    };
    let from_beginning = args.from_beginning || open.starts_from_beginning();
    let start = if from_beginning || found == Found::Later {
        GroupStart::Earliest
    } else {
        GroupStart::Latest
    };
    let group = args.group.as_deref();
    let consumer = open.consumer(group, &topics, start, args.policy()).await?;
    let consumer = if args.plain_keys {
        consumer.with_plain_keys()
    } else {
        consumer
    };
    tracing::info!("reading {}", args.topic);
    Ok(consumer)
}

/// Leaves the group; what the last poll gave is committed if it was printed.
async fn leave(consumer: EncryptedConsumer, printed: bool) -> Result<(), BackendError> {
    if printed {
        consumer.close(CLOSE_DEADLINE).await
    } else {
        consumer.abandon(CLOSE_DEADLINE).await
    }
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

/// How reading ended, and whether all that the last poll gave has been printed.
struct Read {
    end: Result<End, CliError>,
    printed: bool,
}

async fn read(
    args: &Args,
    consumer: &mut EncryptedConsumer,
    output: &mut Output,
    until: &mut Until,
    at_end: &mut AtEnd,
    ui: Ui,
) -> Read {
    let ended = |end, printed| Read { end, printed };
    let mut silence = Silence::default();
    let mut committed = Instant::now();
    loop {
        let records = match until.or(consumer.poll(output.room(), POLL)).await {
            Ok(Ok(records)) => records,
            Ok(Err(ConsumeError::Backend(error))) if error.is_retriable() => {
                tracing::warn!(%error, "trying again");
                tokio::time::sleep(POLL).await;
                continue;
            }
            Ok(Err(error)) => return ended(Err(error.into()), true),
            Err(outside) => return ended(Ok(End::Outside(outside)), true),
        };
        if !records.is_empty() {
            let printing = output.write(records.iter().map(Shown::from));
            match until.or_after(PRINT_GRACE, printing).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return ended(Ok(End::Closed), false),
                Ok(Err(error)) => return ended(Err(error), false),
                Err(outside) => return ended(Ok(End::Outside(outside)), false),
            }
            if output.room() == 0 {
                return ended(Ok(End::Counted), true);
            }
        }
        at_end.observe(
            records.is_empty() && consumer.waiting() == 0,
            &args.topic,
            ui,
        );
        silence.observe(consumer.waiting(), records.is_empty(), &args.topic, ui);
        if committed.elapsed() >= COMMIT_INTERVAL {
            match until.or(consumer.commit(COMMIT_DEADLINE)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "not committed yet"),
                Err(outside) => return ended(Ok(End::Outside(outside)), true),
            }
            committed = Instant::now();
        }
    }
}

/// Says once when records wait for keys and nobody has answered.
#[derive(Debug, Default)]
struct Silence {
    since: Option<Instant>,
    told: bool,
}

impl Silence {
    fn observe(&mut self, waiting: usize, nothing_opened: bool, topic: &str, ui: Ui) {
        if waiting == 0 || !nothing_opened {
            *self = Self::default();
            return;
        }
        let since = *self.since.get_or_insert_with(Instant::now);
        if !self.told && since.elapsed() >= SILENCE {
            self.told = true;
            ui.say(format!(
                "nobody has answered yet: {waiting} records of {topic} wait for their keys; is the producer \
                 running, or `kc node serve` on its node?"
            ));
        }
    }
}
