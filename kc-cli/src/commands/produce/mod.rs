//! `kc produce`.

mod deliveries;
mod lines;

use std::path::PathBuf;
use std::time::Duration;

use kc::core::chain::Usage;
use kc::core::text::counted;
use kc::{Node, Producer, Record};

use self::deliveries::Deliveries;
use self::lines::Lines;
use crate::args::{ConnectionArgs, CopiesArg, NodeArg, PinArg, duration};
use crate::error::{CliError, Exit};
use crate::logging::Progress;
use crate::session::Session;
use crate::stop::{Stop, Until};
use crate::topic::{await_topic, require_data_topic_of};
use crate::ui::Ui;

/// The maximum time to wait for acknowledgements after the last record was sent.
const FLUSH_DEADLINE: Duration = Duration::from_secs(30);

/// Encrypt lines and send them
///
/// Each line becomes the value of a record, byte for byte, without its line feed. After the last record the program
/// continues to run and hands out the data keys to consumers, until Ctrl-C.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic
    topic: String,

    /// The file to send; - is stdin [default: stdin]
    file: Option<PathBuf>,

    #[command(flatten)]
    node: NodeArg,

    /// The separator between the Kafka key and the value in each line; a line without the separator has no
    /// key [default: no keys]
    #[arg(long, value_name = "S", value_parser = clap::builder::NonEmptyStringValueParser::new(), help_heading = "Records")]
    key_separator: Option<String>,

    /// Do not seal Kafka keys, so that the broker can read them and compact the topic
    #[arg(long, requires = "key_separator", help_heading = "Records")]
    plain_keys: bool,

    /// After all records are acknowledged, end when no request for a data key was answered for this time; 0s ends at
    /// once [default: run until Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Records")]
    exit_after: Option<Duration>,

    #[command(flatten)]
    copies: CopiesArg,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// Sends the lines of the input, then hands out data keys.
pub(crate) async fn run(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    require_data_topic_of(&args.node.node, &args.topic)?;
    let options = args
        .pin
        .of(args.copies.of(args.connection.node(&args.node.node, ui)));
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
    // The plural does not depend on the number, because scripts look for this line.
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

/// The result of sending lines.
enum Pumped {
    All,
    Interrupted {
        /// The number of bytes of the file that were not sent; `None` for other input, which may have no end.
        left: Option<u64>,
    },
}

/// Sends lines until the end of the input, or until a signal. A signal does not interrupt the queuing of a record, so
/// that the printed number of sent records is correct.
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

/// Hands out data keys until a signal, or until no request for a data key was answered for the time `exit_after`.
async fn stay(node: &Node, exit_after: Option<Duration>, stop: &mut Stop, ui: Ui) {
    if exit_after == Some(Duration::ZERO) {
        return;
    }
    ui.note(
        "all records are sent; the program continues to hand out the data keys; Ctrl-C ends it",
    );
    tokio::select! {
        () = stop.requested() => {}
        () = node.serve_keys(exit_after.unwrap_or(Duration::MAX)) => {}
    }
}

/// Returns the error for a file of which only a part was sent.
fn not_all_sent(bytes: u64, sent: u64) -> CliError {
    let text = format!(
        "interrupted: {} of the file not sent",
        counted(bytes, "byte")
    );
    CliError::new(Exit::Interrupted, text).advise(format!(
        "`tail -n +{} FILE | kc produce ...` sends the rest",
        sent + 1
    ))
}
