//! `kc files reproduce`.

use std::path::PathBuf;
use std::sync::Arc;

use kc::core::text::counted;
use kc_files::Reproducer;
use serde_json::json;

use super::display::Display;
use crate::args::{ConnectionArgs, CopiesArg, NodeArg, PinArg};
use crate::error::{CliError, Exit};
use crate::session::Session;
use crate::stop::{Stop, Until};
use crate::topic::{await_topic, require_data_topic_of};
use crate::ui::Ui;

/// Send records again that could not be opened, from a folder ENCRYPTED_MESSAGES
///
/// `kc files receive --undecryptable-dir` and OpenMSIStream write such folders. The records are sent sealed, as they are:
/// receivers open them when the node that has sealed them, or a custodian, hands out the data keys. Files that are not
/// sealed records of the topic are left out, with the reason.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder
    dir: PathBuf,

    /// The topic that the records come from
    topic: String,

    #[command(flatten)]
    node: NodeArg,

    /// Delete the files of each record when the broker has acknowledged it
    #[arg(long, help_heading = "Files")]
    delete: bool,

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

pub(crate) async fn run(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    require_data_topic_of(&args.node.node, &args.topic)?;
    let options = args
        .pin
        .of(args.copies.of(args.connection.node(&args.node.node, ui)));
    let mut until = Until::new(stop.clone(), None);
    let Ok(session) = Session::open(options, "files reproduce", ui, &mut until).await? else {
        return Ok(());
    };
    let reproduced = reproduce(&session, &args, ui, stop).await;
    let closed = session.close().await;
    reproduced.and(closed)
}

async fn reproduce(session: &Session, args: &Args, ui: Ui, mut stop: Stop) -> Result<(), CliError> {
    let open = session.node();
    let topic = await_topic(open.backend().as_ref(), open.servers(), &args.topic, true);
    tokio::select! {
        found = topic => drop(found?),
        () = stop.requested() => return Ok(()),
    }
    let display = Arc::new(Display::new(ui, args.json));
    let mut reproducer = Reproducer::new(&args.dir, &args.topic);
    if args.delete {
        reproducer = reproducer.delete();
    }
    let shown = Arc::clone(&display);
    let reproducer = reproducer.on_event(move |event| shown.reproducing(event));
    let ran = reproducer
        .run(open, async move { stop.requested().await })
        .await;
    let printed = display.close();
    let summary = ran?;
    display.event(&json!({
        "event": "summary", "reproduced": summary.reproduced, "bytes": summary.bytes, "left_out": summary.left_out,
    }));
    let sent = counted(summary.reproduced, "record");
    ui.say(match summary.left_out {
        0 => format!("sent {sent} again"),
        left_out => format!("sent {sent} again; left out {}", counted(left_out, "file")),
    });
    printed?;
    if summary.stopped {
        let text = format!("interrupted after {sent}");
        return Err(CliError::new(Exit::Interrupted, text)
            .advise("start the command again: receivers drop the parts of files that they have"));
    }
    Ok(())
}
