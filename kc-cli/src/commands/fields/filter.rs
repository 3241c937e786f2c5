//! `kc fields encrypt`, `decrypt` and `rewrap`: filters of JSON lines.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use kc::Node;
use kc::core::text::counted;
use kc_fields::{FieldCipher, FieldError, MAX_RECORD_BYTES, Outcome, Purpose, Rules};
use tokio::sync::mpsc;

use crate::args::{
    ConnectionArgs, CopiesArg, PinArg, duration, node_or_environment, shown_duration,
};
use crate::error::{CliError, Exit};
use crate::session::Session;
use crate::stop::{Stop, Until};
use crate::ui::Ui;

/// The maximum number of lines that are converted together: a multiple of the fields in a request to Transit.
const BATCH: usize = 996;
/// The maximum number of bytes of the lines that are converted together; a single line may be longer.
const BATCH_BYTES: usize = 1 << 20;
/// The maximum number of lines that are read ahead.
const READ_AHEAD: usize = 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file with the rules
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,

    /// The topic of the records: it chooses the rules, and tokens belong to it [default: the topic that the rules name,
    /// if they name only one]
    #[arg(long)]
    topic: Option<String>,

    /// The node whose data keys seal the fields of engine kc: its id (found as ./ID.config, ./ID/ID.config, or in
    /// $KC_HOME), the path of its .config file, or a folder that holds exactly one .config file [default: $KC_NODE]
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    node: Option<String>,

    /// The time for which on_missing_key = "hold" waits for a data key
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    patience: Duration,

    /// After encrypting with engine kc, end when no request for a data key was answered for this time; 0s ends at once
    /// [default: run until Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    exit_after: Option<Duration>,

    #[command(flatten)]
    copies: CopiesArg,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn encrypt(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    run(args, Purpose::Encrypt, ui, stop).await
}

pub(super) async fn decrypt(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    run(args, Purpose::Decrypt, ui, stop).await
}

pub(super) async fn rewrap(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    run(args, Purpose::Rewrap, ui, stop).await
}

async fn run(args: Args, purpose: Purpose, ui: Ui, mut stop: Stop) -> Result<(), CliError> {
    let rules = Rules::read(&args.rules)?;
    let topic = topic(&args, &rules)?;
    if !rules.need_node() || purpose == Purpose::Rewrap {
        let cipher = FieldCipher::builder(&rules, purpose).open().await?;
        return filter(&cipher, &topic, purpose, ui, &mut stop).await;
    }
    let node = node_or_environment(args.node.as_deref())?;
    let options = args.pin.of(args.copies.of(args.connection.node(&node, ui)));
    let mut until = Until::new(stop.clone(), None);
    let Ok(session) = Session::open(options, "fields", ui, &mut until).await? else {
        return Err(interrupted());
    };
    let converted = with_node(&session, &args, &rules, (&topic, purpose), ui, &mut stop).await;
    let closed = session.close().await;
    converted.and(closed)
}

async fn with_node(
    session: &Session,
    args: &Args,
    rules: &Rules,
    (topic, purpose): (&str, Purpose),
    ui: Ui,
    stop: &mut Stop,
) -> Result<(), CliError> {
    let node = session.node();
    let opening = FieldCipher::builder(rules, purpose)
        .node(node)
        .patience(args.patience)
        .open();
    let cipher = tokio::select! {
        cipher = opening => cipher?,
        () = stop.requested() => return Err(interrupted()),
    };
    filter(&cipher, topic, purpose, ui, stop).await?;
    if purpose != Purpose::Encrypt {
        return Ok(());
    }
    stay(node, args.exit_after, ui, stop).await;
    Ok(())
}

/// Hands out data keys until no request was answered for a time, or until a signal.
pub(super) async fn stay(node: &Node, exit_after: Option<Duration>, ui: Ui, stop: &mut Stop) {
    match exit_after {
        Some(quiet) if quiet.is_zero() => return,
        Some(quiet) => ui.note(format!(
            "the node hands out data keys until no request was answered for {}",
            shown_duration(quiet)
        )),
        None => {
            ui.note("the node hands out data keys until Ctrl-C; `kc node serve` continues later")
        }
    }
    tokio::select! {
        () = node.serve_keys(exit_after.unwrap_or(Duration::MAX)) => {}
        () = stop.requested() => {}
    }
}

fn topic(args: &Args, rules: &Rules) -> Result<String, CliError> {
    let topic = args.topic.as_deref().or(rules.only_topic());
    topic.map(str::to_owned).ok_or_else(|| {
        CliError::usage("the rules do not name exactly one topic")
            .advise("give --topic TOPIC, the topic of the records")
    })
}

/// What was converted until now.
#[derive(Default)]
struct Totals {
    records: u64,
    fields: usize,
    missing_keys: usize,
}

/// Converts the lines of stdin. What was written to stdout was converted.
async fn filter(
    cipher: &FieldCipher,
    topic: &str,
    purpose: Purpose,
    ui: Ui,
    stop: &mut Stop,
) -> Result<(), CliError> {
    let mut lines = read_lines(io::stdin(), topic)?;
    let mut totals = Totals::default();
    let mut batch = Vec::new();
    let converted = loop {
        batch.clear();
        let more = tokio::select! {
            biased;
            () = stop.requested() => break Err(interrupted()),
            more = next_batch(&mut lines, &mut batch) => more,
        };
        let failed = more.err();
        if batch.is_empty() {
            break failed.map_or(Ok(()), Err);
        }
        let converting = async {
            match purpose {
                Purpose::Encrypt => cipher.encrypt_batch(topic, &mut batch).await,
                Purpose::Rewrap => cipher.rewrap_batch(topic, &mut batch).await,
                _ => cipher.decrypt_batch(topic, &mut batch).await,
            }
        };
        let results = tokio::select! {
            results = converting => results,
            () = stop.requested() => break Err(interrupted()),
        };
        match write(&batch, results, &mut totals) {
            Ok(true) => {}
            // A closed pipe is not a failure: its reader has read as much as it needs.
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
        if let Some(failed) = failed {
            break Err(failed);
        }
    };
    let verb = match purpose {
        Purpose::Encrypt => "encrypted",
        Purpose::Rewrap => "rewrapped",
        _ => "decrypted",
    };
    let fields = counted(totals.fields, "field");
    ui.note(format!(
        "{verb} {fields} in {}",
        counted(totals.records, "record")
    ));
    if totals.missing_keys > 0 {
        let tokens = counted(totals.missing_keys, "token");
        ui.note(format!(
            "the data keys of {tokens} are missing: the rules keep these tokens or replace them by null"
        ));
    }
    converted
}

/// Writes the converted lines up to the first failure. Returns whether stdout is still open.
fn write(
    batch: &[Vec<u8>],
    results: Vec<Result<Outcome, FieldError>>,
    totals: &mut Totals,
) -> Result<bool, CliError> {
    let mut out = io::stdout().lock();
    for (line, result) in batch.iter().zip(results) {
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => {
                out.flush().map_err(not_written)?;
                let number = totals.records + 1;
                let advice = error.advice();
                let exit = if error.is_retriable() {
                    Exit::Unresolved
                } else {
                    Exit::Failure
                };
                let message = format!("line {number}: {error}");
                return Err(CliError::new(exit, message).advise(advice));
            }
        };
        match out.write_all(line) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(false),
            written => written.map_err(not_written)?,
        }
        totals.records += 1;
        totals.fields += outcome.fields;
        totals.missing_keys += outcome.missing_keys;
    }
    match out.flush() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        flushed => flushed.map(|()| true).map_err(not_written),
    }
}

fn not_written(error: io::Error) -> CliError {
    CliError::failure(format!("cannot write to stdout: {error}"))
}

fn interrupted() -> CliError {
    CliError::new(
        Exit::Interrupted,
        "interrupted before all lines were converted",
    )
}

/// Waits for a line, then takes the lines that are there already.
async fn next_batch(
    lines: &mut mpsc::Receiver<Result<Vec<u8>, CliError>>,
    batch: &mut Vec<Vec<u8>>,
) -> Result<(), CliError> {
    let Some(first) = lines.recv().await else {
        return Ok(());
    };
    let mut bytes = 0;
    let mut line = first?;
    loop {
        bytes += line.len();
        batch.push(line);
        if batch.len() == BATCH || bytes >= BATCH_BYTES {
            return Ok(());
        }
        line = match lines.try_recv() {
            Ok(line) => line?,
            Err(_) => return Ok(()),
        };
    }
}

/// Reads lines with their line feeds on a thread of its own, because a read from a terminal cannot be interrupted.
fn read_lines(
    input: impl Read + Send + 'static,
    topic: &str,
) -> Result<mpsc::Receiver<Result<Vec<u8>, CliError>>, CliError> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let limit = u64::try_from(MAX_RECORD_BYTES).unwrap_or(u64::MAX) + 2;
    let read = move || {
        let mut input = BufReader::new(input);
        loop {
            let mut line = Vec::new();
            let read = input.by_ref().take(limit).read_until(b'\n', &mut line);
            let line = match read {
                Ok(0) => return,
                Ok(_) => Ok(line),
                Err(error) => Err(CliError::failure(format!("cannot read stdin: {error}"))),
            };
            let ended = line.is_err();
            if sender.blocking_send(line).is_err() || ended {
                return;
            }
        }
    };
    let name = format!("lines of {topic:.20}");
    thread::Builder::new()
        .name(name)
        .spawn(read)
        .map_err(|error| CliError::failure(format!("cannot start a thread: {error}")))?;
    Ok(receiver)
}
