//! `kc fields transform`: from topic to topic, at least once.

use std::path::PathBuf;
use std::time::Duration;

use kc::core::text::counted;
use kc::{Consumer, ConsumerRecord, Header, Producer, Record};
use kc_fields::{FieldCipher, FieldError, Outcome, Purpose, Rules};
use tokio::time::sleep;

use super::filter::stay;
use crate::args::{ConnectionArgs, CopiesArg, NodeArg, PinArg, duration};
use crate::error::{CliError, Exit};
use crate::session::Session;
use crate::stop::{Stop, Until};
use crate::topic::{await_topic, require_topic_to_send_to};
use crate::ui::Ui;

/// The time before records are converted again whose data keys are missing, or whose server does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// The maximum time to wait for acknowledgements at the end.
const FLUSH_DEADLINE: Duration = Duration::from_secs(30);
/// The header that says why a record is in the dead-letter topic.
const REASON: &str = "kc-fields-error";

/// Encrypt or decrypt the fields of all records of a topic, into another topic
///
/// Keys, headers, partitions and the order in each partition stay. Several processes with the same node settings and --group
/// share the partitions. Each record is written at least once: after a crash, the last records may be written again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic that is read
    #[arg(long, value_name = "TOPIC")]
    from: String,

    /// The topic that is written; it needs at least as many partitions
    #[arg(long, value_name = "TOPIC")]
    to: String,

    /// The file with the rules
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,

    /// Decrypt instead of encrypting
    #[arg(long)]
    decrypt: bool,

    /// The topic by which the rules are chosen, and to which tokens belong [default: the topic that the rules name, if
    /// they name only one; else the topic with the encrypted records]
    #[arg(long)]
    topic: Option<String>,

    /// The consumer group [default: the group of the node]
    #[arg(long)]
    group: Option<String>,

    /// Without a committed position, begin with the first record instead of new ones
    #[arg(long)]
    from_beginning: bool,

    /// End after this number of records [default: run until Ctrl-C]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Send records that cannot be converted to this topic, unchanged, with the reason in the header kc-fields-error
    /// [default: end with an error]
    #[arg(long, value_name = "TOPIC")]
    dead_letter: Option<String>,

    /// The time for which on_missing_key = "hold" waits for a data key before the records are tried again
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    patience: Duration,

    /// After --count records were encrypted with engine kc, end when no request for a data key was answered for this
    /// time; 0s ends at once [default: run until Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "count")]
    exit_after: Option<Duration>,

    #[command(flatten)]
    node: NodeArg,

    #[command(flatten)]
    copies: CopiesArg,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let rules = Rules::read(&args.rules)?;
    let node = &args.node.node;
    for topic in [Some(&args.from), Some(&args.to), args.dead_letter.as_ref()]
        .into_iter()
        .flatten()
    {
        require_topic_to_send_to(node, topic)?;
    }
    if args.from == args.to || args.dead_letter.as_ref() == Some(&args.from) {
        return Err(CliError::usage(
            "the records would be read again and again: name another topic than --from",
        ));
    }
    let options = args.pin.of(args.copies.of(args.connection.node(node, ui)));
    let mut until = Until::new(stop.clone(), None);
    let Ok(session) = Session::open(options, "fields", ui, &mut until).await? else {
        return Ok(());
    };
    let done = transform(&session, &args, &rules, ui, stop).await;
    let closed = session.close().await;
    done.and(closed)
}

async fn transform(
    session: &Session,
    args: &Args,
    rules: &Rules,
    ui: Ui,
    mut stop: Stop,
) -> Result<(), CliError> {
    let node = session.node();
    let starting = async {
        let backend = node.backend().as_ref();
        let from = await_topic(backend, node.servers(), &args.from, false).await?;
        let to = await_topic(backend, node.servers(), &args.to, false).await?;
        if to.partitions < from.partitions {
            let (has, needs) = (counted(to.partitions, "partition"), from.partitions);
            return Err(CliError::new(
                Exit::Broker,
                format!("{} has only {has}, {} has {needs}", args.to, args.from),
            )
            .advise("add partitions: each record keeps its partition"));
        }
        let purpose = if args.decrypt {
            Purpose::Decrypt
        } else {
            Purpose::Encrypt
        };
        let cipher = FieldCipher::builder(rules, purpose)
            .node(node)
            .patience(args.patience);
        let cipher = cipher.open().await?;
        let mut consumer = node.consumer([args.from.as_str()]).plain();
        if let Some(group) = &args.group {
            consumer = consumer.group(group);
        }
        if args.from_beginning {
            consumer = consumer.from_beginning();
        }
        Ok((
            cipher,
            node.producer().plain().await?,
            consumer.join().await?,
        ))
    };
    let (cipher, producer, mut consumer) = tokio::select! {
        started = starting => started?,
        () = stop.requested() => return Ok(()),
    };
    ui.note("each record is written at least once: after a crash, the last records may be written again");
    let encrypted = if args.decrypt { &args.from } else { &args.to };
    let mut run = Run {
        args,
        topic: args
            .topic
            .as_deref()
            .or(rules.only_topic())
            .unwrap_or(encrypted),
        cipher,
        producer,
        ui,
        done: 0,
        fields: 0,
        dead: 0,
    };
    let pumped = run.pump(&mut consumer, &mut stop).await;
    let (records, fields) = (counted(run.done, "record"), counted(run.fields, "field"));
    ui.say(format!(
        "transformed {records} with {fields}; {} to the dead-letter topic",
        counted(run.dead, "record")
    ));
    let closed = consumer
        .close_within(FLUSH_DEADLINE)
        .await
        .map_err(CliError::from);
    let flushed = run
        .producer
        .close_within(FLUSH_DEADLINE)
        .await
        .map_err(CliError::from);
    pumped.and(closed).and(flushed)?;
    if args.count.is_some() && !args.decrypt && rules.need_node() {
        stay(node, args.exit_after, ui, &mut stop).await;
    }
    Ok(())
}

struct Run<'a> {
    args: &'a Args,
    topic: &'a str,
    cipher: FieldCipher,
    producer: Producer,
    ui: Ui,
    /// The numbers of records that were written, of fields in them, and of dead letters.
    done: u64,
    fields: usize,
    dead: u64,
}

impl Run<'_> {
    /// Converts records until a signal or the last one. A record is acknowledged only after its copy is.
    async fn pump(&mut self, consumer: &mut Consumer, stop: &mut Stop) -> Result<(), CliError> {
        loop {
            let done = self.done + self.dead;
            let left = self
                .args
                .count
                .map_or(u64::MAX, |count| count.saturating_sub(done));
            if left == 0 {
                return Ok(());
            }
            let batch = tokio::select! {
                biased;
                () = stop.requested() => return Ok(()),
                batch = consumer.next_batch() => batch,
            };
            let Some(batch) = batch else {
                return Ok(());
            };
            let mut batch = batch?;
            batch.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            let converted = tokio::select! {
                converted = self.convert(&batch) => converted,
                () = stop.requested() => return Ok(()),
            };
            // A signal does not interrupt the sending, so that few records are written again.
            self.write(&batch, converted).await?;
        }
    }

    /// Converts the values of a batch; null stays null. Repeats this as long as another attempt may succeed: meanwhile
    /// the consumer pauses.
    async fn convert(&self, batch: &[ConsumerRecord]) -> Vec<Converted> {
        let mut is_told = false;
        loop {
            let values = batch.iter().filter(|record| !record.is_null());
            let mut values: Vec<Vec<u8>> = values.map(|record| record.value().to_vec()).collect();
            let results = if self.args.decrypt {
                self.cipher.decrypt_batch(self.topic, &mut values).await
            } else {
                self.cipher.encrypt_batch(self.topic, &mut values).await
            };
            let mut failures = results.iter().filter_map(|result| result.as_ref().err());
            let Some(error) = failures.find(|error| error.is_retriable()) else {
                let mut values = values.into_iter().zip(results);
                let convert = |record: &ConsumerRecord| {
                    if record.is_null() {
                        return Ok((None, 0));
                    }
                    let (value, result) = values.next().unzip();
                    let fields = result
                        .transpose()?
                        .map_or(0, |outcome: Outcome| outcome.fields);
                    Ok((value, fields))
                };
                return batch.iter().map(convert).collect();
            };
            if !is_told {
                self.ui.say(format!(
                    "waiting: {error}; meanwhile nothing is written, and nothing is lost"
                ));
                is_told = true;
            }
            sleep(PAUSE).await;
        }
    }

    /// Writes the converted records, and acknowledges them when all are written. A record that cannot be converted goes to
    /// the dead-letter topic, or ends the run before it.
    async fn write(
        &mut self,
        batch: &[ConsumerRecord],
        converted: Vec<Converted>,
    ) -> Result<(), CliError> {
        let mut outgoing = Vec::with_capacity(batch.len());
        let mut poison = None;
        let (mut done, mut fields, mut dead) = (0, 0, 0);
        for (record, converted) in batch.iter().zip(converted) {
            match (converted, &self.args.dead_letter) {
                (Ok((value, converted)), _) => {
                    done += 1;
                    fields += converted;
                    let copy = copy(record, &self.args.to, value, record.headers().to_vec());
                    outgoing.push(copy.partition(record.partition()));
                }
                (Err(error), Some(topic)) => {
                    dead += 1;
                    let reason = Header {
                        name: REASON.to_owned(),
                        value: Some(error.to_string().into_bytes()),
                    };
                    let headers = record.headers().iter().cloned().chain([reason]).collect();
                    let value = (!record.is_null()).then(|| record.value().to_vec());
                    outgoing.push(copy(record, topic, value, headers));
                }
                (Err(error), None) => {
                    let place = format!(
                        "{}, partition {}, offset {}",
                        record.topic(),
                        record.partition(),
                        record.offset()
                    );
                    poison = Some(
                        CliError::failure(format!("{place}: {error}")).advise(format!(
                            "{}; --dead-letter TOPIC goes on without such records",
                            error.advice()
                        )),
                    );
                    break;
                }
            }
        }
        let written = outgoing.len();
        self.producer.send_batch(outgoing).await?;
        for record in batch.iter().take(written) {
            record.ack();
        }
        self.done += done;
        self.fields += fields;
        self.dead += dead;
        poison.map_or(Ok(()), Err)
    }
}

/// The new value of a record, and the number of its converted fields.
type Converted = Result<(Option<Vec<u8>>, usize), FieldError>;

/// Returns a record with the key of another one.
fn copy<'r>(
    record: &'r ConsumerRecord,
    topic: &'r str,
    value: Option<Vec<u8>>,
    headers: Vec<Header>,
) -> Record<'r> {
    let copy = Record::to(topic).headers(headers);
    let copy = match record.key() {
        Some(key) => copy.key(key),
        None => copy,
    };
    match value {
        Some(value) => copy.value(value),
        None => copy,
    }
}
