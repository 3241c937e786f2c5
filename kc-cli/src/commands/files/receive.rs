//! `kc files receive`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use kc::core::chain::Usage;
use kc::core::text::counted;
use kc::{Undecryptable, UndecryptableError};
use kc_files::{FileReceiver, OnConflict, ReceiveSummary};
use serde_json::json;

use super::display::Display;
use super::peer::PeerArgs;
use crate::args::{ConnectionArgs, CopiesArg, PinArg, duration, shown_duration, size};
use crate::error::CliError;
use crate::kafka_config::For;
use crate::session::Session;
use crate::stop::{Ended, Stop, Until};
use crate::topic::{await_topic, require_data_topic_of};
use crate::ui::Ui;

/// Receive files into a folder and decrypt them, each once
///
/// A file gets its name when it is complete and its hash is right. The command remembers in DIR/.kc-files which parts it
/// has, and after a crash continues where it stopped. A group must have one receiver. The first run starts at the first
/// record of the topic.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic
    topic: String,

    /// The folder; it is created if it does not exist
    dir: PathBuf,

    #[command(flatten)]
    peer: PeerArgs,

    /// End after N complete files
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Files")]
    count: Option<u64>,

    /// End with exit code 3 after this time, counted from the start of the command
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Files")]
    timeout: Option<Duration>,

    /// What happens to a file whose name another file in the folder has; a file of the same content is left as it is
    #[arg(long, value_enum, default_value = "rename", help_heading = "Files")]
    on_conflict: Conflict,

    /// The maximum size of a file; larger files are refused
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1T", help_heading = "Files")]
    max_file: u64,

    /// The consumer group; it must have no other members [default: the group of the node]
    #[arg(long, value_name = "G", help_heading = "Records")]
    group: Option<String>,

    /// Receive from senders that do not encrypt (kc files send --plain)
    #[arg(long, conflicts_with_all = ["undecryptable", "undecryptable_dir", "patience"], help_heading = "Records")]
    plain: bool,

    /// What happens to parts of files that cannot be opened: see `kc consume --help`. With park, a file whose data key is
    /// late becomes complete when the key has arrived
    #[arg(long, value_name = "[REASON=]POLICY,...", value_parser = policies, default_value = "park,foreign=skip",
        help_heading = "Records")]
    undecryptable: String,

    /// Keep parts of files that cannot be opened in this folder, as OpenMSIStream does in ENCRYPTED_MESSAGES, in place of
    /// parking them: `kc files reproduce` sends them again
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with = "undecryptable",
        help_heading = "Records"
    )]
    undecryptable_dir: Option<PathBuf>,

    /// The time that a part waits for its data key before the policy of --undecryptable applies [default: the node's
    /// setting patience, else 30s]
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Records")]
    patience: Option<Duration>,

    /// Print each event as a JSON object on a line
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    copies: CopiesArg,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Conflict {
    /// The file that arrives gets another name, such as "data (1).csv"
    Rename,
    /// The file that arrives replaces the other one
    Overwrite,
    /// The file that arrives is dropped
    Skip,
}

impl From<Conflict> for OnConflict {
    fn from(conflict: Conflict) -> Self {
        match conflict {
            Conflict::Rename => Self::Rename,
            Conflict::Overwrite => Self::Overwrite,
            Conflict::Skip => Self::Skip,
        }
    }
}

/// Checks `--undecryptable`. The node's settings are applied before.
fn policies(text: &str) -> Result<String, UndecryptableError> {
    text.parse::<Undecryptable>().map(|_| text.to_owned())
}

impl Args {
    fn receiver(&self, display: &Arc<Display>) -> FileReceiver {
        let mut receiver = FileReceiver::new(&self.topic, &self.dir)
            .undecryptable(&self.undecryptable)
            .on_conflict(self.on_conflict.into())
            .max_file_bytes(self.max_file);
        if let Some(count) = self.count {
            receiver = receiver.count(count);
        }
        if let Some(group) = self.group.as_deref().or_else(|| self.peer.group()) {
            receiver = receiver.group(group);
        }
        if let Some(folder) = &self.undecryptable_dir {
            receiver = receiver.undecryptable_folder(folder);
        }
        if let Some(patience) = self.patience {
            receiver = receiver.patience(patience);
        }
        if self.plain {
            receiver = receiver.plain();
        }
        let display = Arc::clone(display);
        receiver.on_event(move |event| display.receiving(event))
    }

    fn timed_out(&self, summary: &ReceiveSummary) -> CliError {
        let limit = shown_duration(self.timeout.unwrap_or_default());
        let received = match self.count {
            Some(count) => format!("{} of {}", summary.arrived(), counted(count, "file")),
            None => counted(summary.arrived(), "file"),
        };
        CliError::unresolved(format!(
            "stopped after {limit} (--timeout): received {received}"
        ))
        .advise(self.next_step(summary))
    }

    fn next_step(&self, summary: &ReceiveSummary) -> String {
        let dir = self.dir.display();
        if let Some(folder) = self.undecryptable_dir.as_ref().filter(|_| summary.kept > 0) {
            return format!(
                "data keys are missing: when the sender or `kc node serve` hands them out, \
                 `kc files reproduce {} {}` sends the parts again",
                folder.display(),
                self.topic
            );
        }
        if summary.waiting > 0 || summary.left_out > 0 {
            format!(
                "data keys are missing: start the sender, or `kc node serve` with its node, then this command again; \
                 `kc files status {dir}` shows what is missing"
            )
        } else {
            format!(
                "start the command again: it continues where it stopped; `kc files status {dir}` shows what is missing"
            )
        }
    }
}

pub(crate) async fn run(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let node = args.peer.node()?;
    require_data_topic_of(&node, &args.topic)?;
    let mut until = Until::new(stop, args.timeout);
    let connection = args.peer.connection(&args.connection, For::Receivers);
    let options = args.pin.of(args.copies.of(connection.node(&node, ui)));
    let session = match Session::open(options, "files receive", ui, &mut until).await? {
        Ok(session) => session,
        Err(Ended::Interrupted) => return Ok(()),
        Err(Ended::TimedOut) => return Err(args.timed_out(&ReceiveSummary::default())),
    };
    let received = receive(&session, &args, &mut until, ui).await;
    let closed = session.close().await;
    received.and(closed)
}

async fn receive(
    session: &Session,
    args: &Args,
    until: &mut Until,
    ui: Ui,
) -> Result<(), CliError> {
    let open = session.node();
    let starting = async {
        if !args.plain {
            let usages = [Usage::EncryptRequest, Usage::EncryptSubscribe];
            session.require(&args.topic, &usages).await?;
        }
        await_topic(open.backend().as_ref(), open.servers(), &args.topic, true).await
    };
    match until.or(starting).await {
        Ok(started) => drop(started?),
        Err(Ended::Interrupted) => return Ok(()),
        Err(Ended::TimedOut) => return Err(args.timed_out(&ReceiveSummary::default())),
    }
    if args.count.is_none() {
        let (dir, topic) = (args.dir.display(), &args.topic);
        ui.note(format!(
            "receiving files from {topic} into {dir}; Ctrl-C ends it"
        ));
    }
    let display = Arc::new(Display::new(ui, args.json));
    let mut ended = None;
    let end = async {
        ended = until.or(std::future::pending::<()>()).await.err();
    };
    let ran = args.receiver(&display).run(open, end).await;
    let printed = display.close();
    let summary = ran?;
    summarize(&summary, &display, ui);
    printed?;
    match ended {
        Some(Ended::TimedOut) => Err(args.timed_out(&summary)),
        Some(Ended::Interrupted) if summary.incomplete > 0 || summary.waiting > 0 => {
            let text = format!(
                "interrupted: {} incomplete, {} without data keys",
                counted(summary.incomplete, "file"),
                counted(summary.waiting, "part")
            );
            Err(CliError::unresolved(text).advise(args.next_step(&summary)))
        }
        _ => Ok(()),
    }
}

fn summarize(summary: &ReceiveSummary, display: &Display, ui: Ui) {
    let ReceiveSummary {
        complete,
        bytes,
        skipped,
        failed,
        incomplete,
        waiting,
        left_out,
        kept,
        ..
    } = *summary;
    display.event(&json!({
        "event": "summary", "complete": complete, "bytes": bytes, "skipped": skipped, "failed": failed,
        "incomplete": incomplete, "waiting": waiting, "left_out": left_out, "kept": kept,
    }));
    let mut text = format!(
        "received {} ({})",
        counted(complete, "file"),
        counted(bytes, "byte")
    );
    for (number, what) in [
        (skipped, "not written because their names are taken"),
        (failed, "refused"),
        (incomplete, "incomplete"),
        (kept, "parts kept, because data keys are missing"),
    ] {
        if number > 0 {
            text.push_str(&format!("; {number} {what}"));
        }
    }
    if left_out > 0 {
        let parts = counted(left_out, "part");
        text.push_str(&format!(
            "; {parts} parked or left out, by the policies of --undecryptable"
        ));
    }
    ui.say(text);
}
