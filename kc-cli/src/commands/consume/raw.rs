//! `kc consume --raw`.

use std::time::{Duration, SystemTime};

use kc::core::backend::{GroupConsumer, GroupStart, Record};
use kc::core::text::with_sources;

use super::output::{Output, Shown};
use super::{Args, End};
use crate::error::CliError;
use crate::stop::{Ended, Until};
use crate::topic::await_topic;
use crate::ui::Ui;

const POLL: Duration = Duration::from_millis(500);
/// The time limit for leaving the group.
const DEADLINE: Duration = Duration::from_secs(10);

/// Prints the records as the broker stores them. A Kafka client without encryption reads them in a new group, which no
/// other run uses.
pub(super) async fn run(
    args: &Args,
    mut output: Output,
    mut until: Until,
    ui: Ui,
) -> Result<(), CliError> {
    let connection = args.connection.connect(None, ui)?;
    let backend = connection.backend;
    let topics = args.topics()?;
    let starting = async {
        if !topics.is_open() {
            await_topic(backend.as_ref(), &connection.servers, &args.topic, false).await?;
        }
        let group = throwaway_group();
        let consumer = backend.group_consumer(&group, &topics, GroupStart::Earliest);
        Ok::<_, CliError>(consumer.await?)
    };
    let mut consumer = match until.or(starting).await {
        Ok(consumer) => consumer?,
        Err(Ended::Interrupted) => return Ok(()),
        Err(Ended::TimedOut) => return Err(args.timed_out(0, 0)),
    };
    let read = read(consumer.as_mut(), &mut output, &mut until).await;
    if let Err(error) = consumer.close(DEADLINE).await {
        tracing::debug!(error = %with_sources(&error), "consumer group not left");
    }
    match read? {
        End::Outside(Ended::TimedOut) => Err(args.timed_out(output.written(), 0)),
        End::Counted | End::Closed | End::Outside(Ended::Interrupted) => Ok(()),
    }
}

async fn read(
    consumer: &mut dyn GroupConsumer,
    output: &mut Output,
    until: &mut Until,
) -> Result<End, CliError> {
    loop {
        let records = match until.or(consumer.poll(POLL)).await {
            Ok(Ok(polled)) => polled.records,
            Ok(Err(error)) if error.is_retriable() => {
                tracing::warn!(error = %with_sources(&error), "records cannot be read; kc tries again");
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
            records = later;
        }
    }
}

fn throwaway_group() -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.unwrap_or_default().as_nanos();
    format!("kc-raw-{}-{now}", std::process::id())
}
