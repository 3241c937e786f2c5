//! `kc produce`.

mod deliveries;
mod lines;

use std::path::PathBuf;
use std::time::Duration;

use kc::core::chain::Usage;
use kc::{Node, Producer, Record};

use self::deliveries::Deliveries;
use self::lines::Lines;
use crate::args::{ConnectionArgs, NodeArg, PinArg, duration};
use crate::error::{CliError, Exit};
use crate::logging::Progress;
use crate::session::Session;
use crate::stop::{Stop, Until};
use crate::topic::{await_topic, require_data_topic_of};
use crate::ui::Ui;

/// How long to wait for acknowledgements at the end.
const FLUSH_DEADLINE: Duration = Duration::from_secs(30);

/// Encrypt lines and send them
///
/// A record for each line, its bytes as they are, without the line feed. When all are sent, the program
/// stays and hands out the keys to consumers, until Ctrl-C.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic
    topic: String,

    /// The file to send; - or nothing is stdin
    file: Option<PathBuf>,

    #[command(flatten)]
    node: NodeArg,

    /// What stands before the first S in a line is the Kafka key [default: no keys]
    #[arg(long, value_name = "S", value_parser = clap::builder::NonEmptyStringValueParser::new(), help_heading = "Records")]
    key_separator: Option<String>,

    /// Do not seal Kafka keys: the broker sees them, and can compact the topic by them
    #[arg(long, requires = "key_separator", help_heading = "Records")]
    plain_keys: bool,

    /// Do not stay for ever: end when nothing was acknowledged and no key asked for during so long
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Records")]
    exit_after: Option<Duration>,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Sends a file, then hands out keys.
pub(crate) async fn run(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    require_data_topic_of(&args.node.node, &args.topic)?;
    let options = args.pin.of(args.connection.node(&args.node.node, ui));
    let mut until = Until::new(stop.clone(), None);
    let Ok(session) = Session::open(options, "produce", ui, &mut until).await? else {
        ui.say("sent 0 records");
        return Ok(());
    };
    let produced = produce(&session, args, ui, stop).await;
    let closed = session.close().await;
    produced.and(closed)
}

async fn produce(session: &Session, args: Args, ui: Ui, mut stop: Stop) -> Result<(), CliError> {
    let open = session.node();
    let separator = args.key_separator.map(String::into_bytes);
    let starting = async {
        session.require(&args.topic, &[Usage::Encrypt]).await?;
        await_topic(open.backend().as_ref(), open.servers(), &args.topic, true).await?;
        open.sealer(&args.topic).await?;
        let producer = open.producer();
        let producer = if args.plain_keys {
            producer.plain_keys()
        } else {
            producer
        };
        Ok::<_, CliError>(producer.await?)
    };
    let producer = tokio::select! {
        producer = starting => producer?,
        () = stop.requested() => {
            ui.say("sent 0 records");
            return Ok(());
        }
    };
    let lines = Lines::open(args.file.as_deref(), separator)?;
    let mut progress = Progress::of_input(ui, args.file.as_deref());
    let mut deliveries = Deliveries::default();
    let pumped = pump(
        &producer,
        &args.topic,
        lines,
        (&mut deliveries, &mut progress),
        &mut stop,
    )
    .await;
    let flushed = deliveries.drain(FLUSH_DEADLINE).await;
    drop(progress);
    ui.say(format!("sent {} records", deliveries.acknowledged()));
    let staying = match (pumped, flushed) {
        (Ok(Pumped::All), Ok(())) => {
            stay(open, args.exit_after, &mut stop, ui).await;
            Ok(())
        }
        (Ok(Pumped::Interrupted { left: None }), Ok(())) => Ok(()),
        (Ok(Pumped::Interrupted { left: Some(bytes) }), Ok(())) => {
            Err(not_all_sent(bytes, deliveries.acknowledged()))
        }
        (Err(error), _) | (Ok(_), Err(error)) => Err(error),
    };
    if let Err(error) = producer.close_within(FLUSH_DEADLINE).await
        && staying.is_ok()
    {
        return Err(error.into());
    }
    staying
}

enum Pumped {
    All,
    Interrupted {
        /// The bytes of the file that were not sent; `None` for other input, which may have no end.
        left: Option<u64>,
    },
}

/// Sends until the end of input or a signal. A record whose sending has begun is never given up, so
/// that the count is right.
async fn pump(
    producer: &Producer,
    topic: &str,
    mut lines: Lines,
    (deliveries, progress): (&mut Deliveries, &mut Progress),
    stop: &mut Stop,
) -> Result<Pumped, CliError> {
    loop {
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(Pumped::Interrupted { left: lines.left() }),
            acknowledged = deliveries.next(), if !deliveries.is_empty() => acknowledged?,
            line = lines.next(), if !deliveries.is_full() => {
                let Some(line) = line else {
                    return Ok(Pumped::All);
                };
                let line = line?;
                progress.advance(1, line.len());
                let record = Record::to(topic).value(line.value);
                let record = match line.key {
                    Some(key) => record.key(key),
                    None => record,
                };
                deliveries.push(producer.enqueue(record).await?);
            }
        }
    }
}

/// Hands out keys until a signal, or until none was asked for during so long.
async fn stay(node: &Node, exit_after: Option<Duration>, stop: &mut Stop, ui: Ui) {
    if exit_after == Some(Duration::ZERO) {
        return;
    }
    ui.note("all sent; staying to hand out the keys, Ctrl-C ends it");
    tokio::select! {
        () = stop.requested() => {}
        () = node.serve_keys(exit_after.unwrap_or(Duration::MAX)) => {}
    }
}

/// What a file comes to that was sent in part.
fn not_all_sent(bytes: u64, sent: u64) -> CliError {
    let text = format!("interrupted: {bytes} bytes of the file were not sent");
    CliError::new(Exit::Interrupted, text).advise(format!(
        "`tail -n +{} FILE | kc produce ...` sends the rest",
        sent + 1
    ))
}
