//! `kc files send`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use kc::core::chain::Usage;
use kc::core::text::counted;
use kc_files::wire::{MAX_CHUNK_BYTES, Wire};
use kc_files::{FileSender, SendSummary};
use serde_json::json;

use super::display::Display;
use super::peer::PeerArgs;
use crate::args::{ConnectionArgs, CopiesArg, PinArg, duration, size};
use crate::commands::keeping;
use crate::error::{CliError, Exit, io_failed};
use crate::kafka_config::For;
use crate::session::Session;
use crate::stop::{Stop, Until};
use crate::topic::{await_topic, require_topic_to_send_to};
use crate::ui::Ui;

/// Send the files of a folder and of its sub-folders, encrypted, each once
///
/// The command sends the files that the folder has, then those that are written to it, until Ctrl-C. While it runs, it
/// hands out the data keys to receivers. It remembers in DIR/.kc-files what it has sent, and after a crash continues
/// where it stopped. A file that changes is sent again. Hidden files are left out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder
    dir: PathBuf,

    /// The topic
    topic: String,

    #[command(flatten)]
    peer: PeerArgs,

    /// End when the broker has acknowledged all files that the folder has now
    #[arg(long, help_heading = "Files")]
    once: bool,

    /// Send only files that match this pattern, such as '*.csv' or 'run1/**'; the option can be repeated
    #[arg(long, value_name = "GLOB", help_heading = "Files")]
    include: Vec<String>,

    /// Send no files that match this pattern; the option can be repeated
    #[arg(long, value_name = "GLOB", help_heading = "Files")]
    exclude: Vec<String>,

    /// Send hidden files, too: those whose name, or whose folder's name, begins with a dot
    #[arg(long, help_heading = "Files")]
    hidden: bool,

    /// The time for which a file must not change before it is sent, unless the system reports that it was closed
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2s", conflicts_with = "once",
        help_heading = "Files")]
    settle: Duration,

    /// Look for changes at this interval: network file systems do not report changes of other hosts
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "once", help_heading = "Files")]
    poll: Option<Duration>,

    /// The size of the chunks in which files are sent, up to 16M; if the broker or max_request_size does not
    /// allow records of this size, smaller ones are chosen
    #[arg(long, value_name = "SIZE", value_parser = chunk, default_value = "512K", help_heading = "Records")]
    chunk: u32,

    /// The form of the records: openmsistream can be read by OpenMSIStream, too; kc adds the permissions, the exact time
    /// of change and the size
    #[arg(
        long,
        value_enum,
        default_value = "openmsistream",
        help_heading = "Records"
    )]
    wire: WireArg,

    /// The number of files that are sent at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), default_value = "8",
        help_heading = "Records")]
    parallel: u16,

    /// Send without encryption: brokers can read the files
    #[arg(long, conflicts_with_all = ["custodian", "exit_after"], help_heading = "Records")]
    plain: bool,

    /// With --once: after all files are acknowledged, continue to hand out data keys until no receiver has asked for one
    /// for this time [default: end at once]
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "once", help_heading = "Records")]
    exit_after: Option<Duration>,

    /// At the end, wait until this custodian has all data keys: the id of a node whose .config is on this host, its path,
    /// or the fingerprint of its signing key. Fails if the custodian has not requested them within the time of
    /// --exit-after, or within 60 s
    #[arg(long, value_name = "NODE|FINGERPRINT", help_heading = "Records")]
    custodian: Option<String>,

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
pub(crate) enum WireArg {
    /// The records of OpenMSIStream
    #[value(name = "openmsistream")]
    OpenMsiStream,
    /// The records of OpenMSIStream, with an additional element
    Kc,
}

impl From<WireArg> for Wire {
    fn from(wire: WireArg) -> Self {
        match wire {
            WireArg::OpenMsiStream => Self::OpenMsiStream,
            WireArg::Kc => Self::Kc,
        }
    }
}

/// Parses `--chunk`.
fn chunk(text: &str) -> Result<u32, String> {
    let bytes = u32::try_from(size(text)?).unwrap_or(u32::MAX);
    match bytes {
        1..=MAX_CHUNK_BYTES => Ok(bytes),
        _ => Err("expected a size from 1 byte to 16M".to_owned()),
    }
}

impl Args {
    fn sender(&self, display: &Arc<Display>) -> FileSender {
        let mut sender = FileSender::new(&self.dir, &self.topic)
            .chunk_bytes(self.chunk)
            .wire(self.wire.into())
            .parallel(self.parallel.into())
            .settle(self.settle);
        for glob in &self.include {
            sender = sender.include(glob);
        }
        for glob in &self.exclude {
            sender = sender.exclude(glob);
        }
        if self.hidden {
            sender = sender.hidden();
        }
        if self.plain {
            sender = sender.plain();
        }
        if let Some(interval) = self.poll {
            sender = sender.poll(interval);
        }
        let display = Arc::clone(display);
        sender.on_event(move |event| display.sending(event))
    }
}

/// Sends files, then waits for the custodian or hands out data keys.
pub(crate) async fn run(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    if !args.dir.is_dir() {
        let error = std::io::Error::from(std::io::ErrorKind::NotADirectory);
        let error = args.dir.read_dir().err().unwrap_or(error);
        return Err(io_failed("read the folder", args.dir.display(), &error)
            .advise("give the folder whose files are to be sent: kc files send DIR TOPIC"));
    }
    let node = args.peer.node()?;
    require_topic_to_send_to(&node, &args.topic)?;
    let keys = match &args.custodian {
        Some(name) => keeping::keys_of(name)?,
        None => Vec::new(),
    };
    let connection = args.peer.connection(&args.connection, For::Senders);
    let options = args.pin.of(args.copies.of(connection.node(&node, ui)));
    let mut until = Until::new(stop.clone(), None);
    let Ok(session) = Session::open(options, "files send", ui, &mut until).await? else {
        return Ok(());
    };
    let sent = send(&session, &args, &keys, ui, stop).await;
    let closed = session.close().await;
    sent.and(closed)
}

async fn send(
    session: &Session,
    args: &Args,
    keys: &[String],
    ui: Ui,
    mut stop: Stop,
) -> Result<(), CliError> {
    let open = session.node();
    let starting = async {
        if !args.plain {
            session.require(&args.topic, &[Usage::Encrypt]).await?;
        }
        await_topic(open.backend().as_ref(), open.servers(), &args.topic, true).await?;
        if !args.plain {
            open.sealer(&args.topic).await?;
        }
        Ok::<_, CliError>(())
    };
    tokio::select! {
        started = starting => started?,
        () = stop.requested() => return Ok(()),
    }
    let display = Arc::new(Display::new(ui, args.json));
    let sender = args.sender(&display);
    let end = {
        let mut stop = stop.clone();
        async move { stop.requested().await }
    };
    let ran = if args.once {
        sender.send_all(open, end).await
    } else {
        let (dir, topic) = (args.dir.display(), &args.topic);
        ui.note(format!(
            "sending the files of {dir} to {topic}, also later ones; Ctrl-C ends it"
        ));
        sender.watch(open, end).await
    };
    let printed = display.close();
    let summary = ran?;
    summarize(&summary, &display, ui);
    printed?;
    if summary.unfinished > 0 {
        let unfinished = counted(summary.unfinished, "file");
        return Err(CliError::new(
            Exit::Interrupted,
            format!("interrupted: {unfinished} not sent"),
        )
        .advise("start the command again: it sends what is missing"));
    }
    if let Some(name) = &args.custodian {
        // A first signal has ended the watching; a second one ends the program.
        let mut wait = match args.once {
            true => stop,
            false => Stop::never(),
        };
        keeping::wait(open, (name, keys), args.exit_after, &mut wait, ui).await?;
    } else if let Some(quiet) = args.exit_after {
        tokio::select! {
            () = stop.requested() => {}
            () = open.serve_keys(quiet) => {}
        }
    } else if args.once && summary.sent > 0 && !args.plain {
        ui.note(
            "receivers that do not have the data key yet get it while this node runs: `kc node serve`, or --exit-after",
        );
    }
    match summary.failed {
        0 => Ok(()),
        failed => Err(
            CliError::failure(format!("{} not sent", counted(failed, "file")))
                .advise("see the reasons above, or in `kc files status`"),
        ),
    }
}

fn summarize(summary: &SendSummary, display: &Display, ui: Ui) {
    let SendSummary {
        sent,
        bytes,
        unchanged,
        failed,
        ..
    } = *summary;
    display.event(&json!({
        "event": "summary", "sent": sent, "bytes": bytes, "unchanged": unchanged, "failed": failed,
    }));
    let mut text = format!(
        "sent {} ({})",
        counted(sent, "file"),
        counted(bytes, "byte")
    );
    if unchanged > 0 {
        text.push_str(&format!("; {unchanged} sent earlier and unchanged"));
    }
    if failed > 0 {
        text.push_str(&format!("; {failed} failed"));
    }
    ui.say(text);
}
