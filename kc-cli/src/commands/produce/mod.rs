//! `kc produce`.

mod deliveries;
mod lines;
mod too_large;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use kc::BackendErrorKind::RecordTooLarge;
use kc::core::chain::Usage;
use kc::core::text::counted;
use kc::{Header, Node, ProduceError, Producer, Record};
use tokio::time::{Instant, timeout_at};

use self::deliveries::{Deliveries, Undelivered};
use self::lines::{Form, Line, Lines};
use self::too_large::{Policy, TooLarge};
use super::keeping;
use crate::args::{ConnectionArgs, CopiesArg, NodeArg, PinArg, ValueForm, duration};
use crate::error::{CliError, Exit};
use crate::logging::Progress;
use crate::session::Session;
use crate::stop::{Stop, Until};
use crate::topic::{await_topic, require_topic_to_send_to};
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

    /// The form of the input: text is one record per line; json is one JSON object per line, as `kc consume --json`
    /// prints it: its key, value and headers are used
    #[arg(long, value_enum, default_value = "text", help_heading = "Records")]
    format: InputFormat,

    /// The form of keys and values in JSON input: text means strings, json means strings for keys and any JSON for
    /// values, and base64 means strings with base64 [default: base64]
    #[arg(long, value_enum, help_heading = "Records")]
    value: Option<ValueForm>,

    /// The text that stands for null: a key or a value that is exactly this text is sent as null
    #[arg(long, value_name = "TEXT", help_heading = "Records")]
    null_marker: Option<String>,

    /// A header for each record; brokers can read headers. The option can be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = header, help_heading = "Records")]
    headers: Vec<(String, String)>,

    /// Send all records to this partition [default: the partition of the key, or any]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..), help_heading = "Records")]
    partition: Option<i32>,

    /// The policy for records that are larger than the client or the broker accepts: fail ends the run, skip leaves
    /// them out, and dead-letter:TOPIC sends a description of each to TOPIC, with its key and its headers if they fit
    #[arg(long, value_name = "fail|skip|dead-letter:TOPIC", default_value = "fail", value_parser = Policy::from_str, help_heading = "Records")]
    on_too_large: Policy,

    /// Do not seal Kafka keys, so that the broker can read them and compact the topic
    #[arg(long, requires = "key_separator", help_heading = "Records")]
    plain_keys: bool,

    /// After all records are acknowledged, end when no request for a data key was answered for this time; 0s ends at
    /// once [default: run until Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Records")]
    exit_after: Option<Duration>,

    /// End when this custodian has all data keys: the id of a node whose .config is on this host, its path, or the
    /// fingerprint of its signing key. Fails if the custodian has not requested them within the time of --exit-after
    /// after the last acknowledgement, or within 60 s
    #[arg(long, value_name = "NODE|FINGERPRINT", help_heading = "Records")]
    custodian: Option<String>,

    #[command(flatten)]
    copies: CopiesArg,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormat {
    /// A line is a value, or a key and a value
    Text,
    /// A line is a JSON object
    Json,
}

impl Args {
    fn form(&self) -> Result<Form, CliError> {
        let bytes = |text: &Option<String>| text.as_ref().map(|text| text.as_bytes().to_vec());
        match self.format {
            InputFormat::Text if self.value.is_some() => {
                Err(CliError::usage("--value applies only to --format json"))
            }
            InputFormat::Text => Ok(Form::Text {
                separator: bytes(&self.key_separator),
                null_marker: bytes(&self.null_marker),
            }),
            InputFormat::Json if self.key_separator.is_some() || self.null_marker.is_some() => Err(
                CliError::usage("--key-separator and --null-marker apply only to --format text"),
            ),
            InputFormat::Json => Ok(Form::Json(self.value.unwrap_or(ValueForm::Base64))),
        }
    }

    /// Returns the record of a line.
    fn record<'a>(&'a self, line: &'a Line) -> Record<'a> {
        let given = self.headers.iter().map(|(name, value)| Header {
            name: name.clone(),
            value: Some(value.as_bytes().to_vec()),
        });
        let mut record =
            Record::to(&self.topic).headers(given.chain(line.headers.iter().cloned()).collect());
        if let Some(key) = &line.key {
            record = record.key(key);
        }
        if let Some(value) = &line.value {
            record = record.value(value);
        }
        match self.partition {
            Some(partition) => record.partition(partition),
            None => record,
        }
    }
}

/// Parses a header: `NAME=VALUE`.
fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

/// Sends the lines of the input, then hands out data keys.
pub(crate) async fn run(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    require_topic_to_send_to(&args.node.node, &args.topic)?;
    if let Some(topic) = args.on_too_large.topic() {
        require_topic_to_send_to(&args.node.node, topic)?;
    }
    let form = args.form()?;
    let custodian = match &args.custodian {
        Some(name) => keeping::keys_of(name)?,
        None => Vec::new(),
    };
    let options = args
        .pin
        .of(args.copies.of(args.connection.node(&args.node.node, ui)));
    let mut until = Until::new(stop.clone(), None);
    let Ok(session) = Session::open(options, "produce", ui, &mut until).await? else {
        ui.say("sent 0 records");
        return Ok(());
    };
    let produced = produce(&session, &args, (form, custodian), ui, stop).await;
    let closed = session.close().await;
    produced.and(closed)
}

async fn produce(
    session: &Session,
    args: &Args,
    (form, custodian): (Form, Vec<String>),
    ui: Ui,
    mut stop: Stop,
) -> Result<(), CliError> {
    let open = session.node();
    let starting = async {
        session.require(&args.topic, &[Usage::Encrypt]).await?;
        await_topic(open.backend().as_ref(), open.servers(), &args.topic, true).await?;
        if let Some(letters) = args.on_too_large.topic() {
            session.require(letters, &[Usage::Encrypt]).await?;
            await_topic(open.backend().as_ref(), open.servers(), letters, true).await?;
        }
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
    let lines = Lines::open(args.file.as_deref(), form)?;
    let mut progress = Progress::of_input(ui, args.file.as_deref());
    let mut sending = Sending {
        args,
        producer: &producer,
        deliveries: Deliveries::default(),
        too_large: TooLarge::new(&args.on_too_large, ui),
        again: VecDeque::new(),
    };
    let pumped = sending.pump(lines, &mut progress, &mut stop).await;
    let flushed = sending.drain().await;
    drop(progress);
    let deliveries = sending.deliveries;
    // The plural does not depend on the number, because scripts look for this line.
    ui.say(format!("sent {} records", deliveries.acknowledged()));
    sending.too_large.summary();
    let staying = match (pumped, flushed) {
        (Ok(Pumped::All), Ok(())) => stay(open, args, &custodian, &mut stop, ui).await,
        (Ok(Pumped::Interrupted { left: None }), Ok(())) => match &args.custodian {
            None => Ok(()),
            Some(name) => Err(keeping::not_all_kept(name)),
        },
        (Ok(Pumped::Interrupted { left: Some(bytes) }), Ok(())) => {
            let lines = deliveries.acknowledged() + sending.too_large.count();
            Err(not_all_sent(bytes, lines))
        }
        (Err(error), _) | (Ok(_), Err(error)) => Err(error),
    };
    match producer.close_within(FLUSH_DEADLINE).await {
        // The producer returns its first failure, although the line was handled.
        Err(error) if error.kind() == RecordTooLarge && sending.too_large.count() > 0 => staying,
        closed => staying.and(closed.map_err(CliError::from)),
    }
}

/// The result of sending lines.
enum Pumped {
    All,
    Interrupted {
        /// The number of bytes of the file that were not sent; `None` if all were sent, or for other input, which may
        /// have no end.
        left: Option<u64>,
    },
}

/// Records on their way to the broker.
struct Sending<'a> {
    args: &'a Args,
    producer: &'a Producer,
    deliveries: Deliveries,
    too_large: TooLarge<'a>,
    /// Lines that the broker refused as too large, possibly because of other records in the same batch.
    again: VecDeque<Line>,
}

impl Sending<'_> {
    /// Sends lines until the end of the input, or until a signal. A signal does not interrupt the queuing of a record,
    /// so that the printed number of sent records is correct.
    async fn pump(
        &mut self,
        mut lines: Lines,
        progress: &mut Progress,
        stop: &mut Stop,
    ) -> Result<Pumped, CliError> {
        loop {
            if self.deliveries.is_empty() {
                self.send_again().await?;
            }
            let may_read = !self.deliveries.is_full() && self.again.is_empty();
            tokio::select! {
                biased;
                () = stop.requested() => return Ok(Pumped::Interrupted { left: lines.left() }),
                delivered = self.deliveries.next(), if !self.deliveries.is_empty() => {
                    self.settle(delivered)?;
                }
                line = lines.next(), if may_read => {
                    let Some(line) = line else {
                        return Ok(Pumped::All);
                    };
                    let line = line?;
                    progress.advance(1, line.len());
                    self.send(line).await?;
                }
            }
        }
    }

    async fn send(&mut self, line: Line) -> Result<(), CliError> {
        match self.producer.enqueue(self.args.record(&line)).await {
            Ok(delivery) => {
                self.deliveries.push(line, delivery);
                Ok(())
            }
            Err(ProduceError::Backend(error)) if error.kind() == RecordTooLarge => {
                self.too_large.handle(self.producer, &line, error).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Handles the result of a record that was sent.
    fn settle(&mut self, delivered: Result<(), Undelivered>) -> Result<(), CliError> {
        match delivered {
            Ok(()) => Ok(()),
            Err(Undelivered::Failed(error)) => Err(error),
            Err(Undelivered::TooLarge(line)) => {
                self.again.push_back(line);
                Ok(())
            }
        }
    }

    /// Sends lines again, each alone: librdkafka fails all records of a batch if the batch is too large.
    async fn send_again(&mut self) -> Result<(), CliError> {
        while let Some(line) = self.again.front() {
            match self.producer.send(self.args.record(line)).await {
                Ok(_) => self.deliveries.count_acknowledged(),
                Err(ProduceError::Backend(error)) if error.kind() == RecordTooLarge => {
                    self.too_large.handle(self.producer, line, error).await?;
                }
                Err(error) => return Err(error.into()),
            }
            self.again.pop_front();
        }
        Ok(())
    }

    /// Waits until all records are acknowledged, for at most [`FLUSH_DEADLINE`].
    async fn drain(&mut self) -> Result<(), CliError> {
        let end = Instant::now() + FLUSH_DEADLINE;
        while !self.deliveries.is_empty() {
            match timeout_at(end, self.deliveries.next()).await {
                Ok(delivered) => self.settle(delivered)?,
                Err(_) => return Err(self.late()),
            }
        }
        match timeout_at(end, self.send_again()).await {
            Ok(sent) => sent,
            Err(_) => Err(self.late()),
        }
    }

    /// Returns the error if records are not acknowledged within [`FLUSH_DEADLINE`].
    fn late(&self) -> CliError {
        let waiting = self.deliveries.len() + self.again.len();
        let text = format!(
            "{} not acknowledged within {} s",
            counted(waiting, "record"),
            FLUSH_DEADLINE.as_secs()
        );
        CliError::new(Exit::Broker, text)
            .advise("the records may have arrived, so sending them again may repeat them")
    }
}

/// Hands out data keys: until the custodian has all of them if one is named, else until a signal, or until no request for
/// a data key was answered for the time of `--exit-after`.
///
/// # Errors
/// [`Exit::Unresolved`] if the custodian does not request the data keys in time.
async fn stay(
    node: &Node,
    args: &Args,
    custodian: &[String],
    stop: &mut Stop,
    ui: Ui,
) -> Result<(), CliError> {
    if let Some(name) = &args.custodian {
        return keeping::wait(node, (name, custodian), args.exit_after, stop, ui).await;
    }
    if args.exit_after == Some(Duration::ZERO) {
        return Ok(());
    }
    ui.note("the input has ended; the program continues to hand out the data keys; Ctrl-C ends it");
    tokio::select! {
        () = stop.requested() => {}
        () = node.serve_keys(args.exit_after.unwrap_or(Duration::MAX)) => {}
    }
    Ok(())
}

/// Returns the error for a file of which only the first `lines` were sent or left out.
fn not_all_sent(bytes: u64, lines: u64) -> CliError {
    let text = format!(
        "interrupted: {} of the file not sent",
        counted(bytes, "byte")
    );
    CliError::new(Exit::Interrupted, text).advise(format!(
        "`tail -n +{} FILE | kc produce ...` sends the rest",
        lines + 1
    ))
}
