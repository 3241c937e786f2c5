//! `kc files status`.

use std::path::PathBuf;

use kc::core::text::counted;
use kc_files::{FailedFile, FolderStatus, IncompleteFile};

use crate::error::CliError;
use crate::ui::Ui;

/// The number of files of each kind that are listed for people.
const LISTED: usize = 20;

/// Show which files of a folder were sent or received, which are incomplete, and which failed and why
///
/// The command needs neither a broker nor a node. While a sender or receiver runs, what it shows is at most a few seconds
/// old.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder
    dir: PathBuf,

    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let status = FolderStatus::read(&args.dir)?;
    if args.json {
        return ui.result(serde_json::to_string(&status).map_err(CliError::from_error)?);
    }
    if status.sent.is_none() && status.received.is_none() {
        return ui.result("no files were sent from this folder or received into it");
    }
    if let Some(sent) = &status.sent {
        let running = running(sent.running);
        ui.result(format!(
            "sender ({running}): {} sent",
            counted(sent.sent, "file")
        ))?;
        for file in sent.in_flight.iter().take(LISTED) {
            ui.result(format!("  on its way: {file}"))?;
        }
        failures(&sent.failed, ui)?;
    }
    if let Some(received) = &status.received {
        let running = running(received.running);
        ui.result(format!(
            "receiver ({running}): {} complete",
            counted(received.complete, "file")
        ))?;
        for file in received.incomplete.iter().take(LISTED) {
            ui.result(format!("  incomplete: {}", incomplete(file)))?;
        }
        more(received.incomplete.len(), ui)?;
        failures(&received.failed, ui)?;
    }
    Ok(())
}

fn running(running: bool) -> &'static str {
    match running {
        true => "running",
        false => "not running",
    }
}

fn incomplete(file: &IncompleteFile) -> String {
    let ranges = file
        .missing
        .iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
    let missing = Vec::from_iter(ranges).join(", ");
    let IncompleteFile {
        file,
        received,
        chunks,
        ..
    } = file;
    format!("{file}: {received} of {chunks} parts, missing {missing}")
}

fn failures(failed: &[FailedFile], ui: Ui) -> Result<(), CliError> {
    for FailedFile { file, reason } in failed.iter().take(LISTED) {
        ui.result(format!("  failed: {file}: {reason}"))?;
    }
    more(failed.len(), ui)
}

fn more(files: usize, ui: Ui) -> Result<(), CliError> {
    match files.saturating_sub(LISTED) {
        0 => Ok(()),
        more => ui.result(format!("  and {more} more: --json lists up to 1000")),
    }
}
