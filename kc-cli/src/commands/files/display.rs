//! Events as lines on stdout: of JSON, or for people, with a progress line on a terminal.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kc::core::text::counted;
use kc_files::{FilePath, ReceiveEvent, ReproduceEvent, SendEvent};
use serde::Serialize;

use crate::error::CliError;
use crate::logging::Progress;
use crate::ui::Ui;

/// Shows what happens to files. Events may come from several threads.
pub(super) struct Display {
    ui: Ui,
    json: bool,
    shown: Mutex<Shown>,
}

struct Shown {
    progress: Progress,
    /// The announced bytes of the files that are received at present.
    announced: HashMap<FilePath, u64>,
    files: u64,
    /// The first failure of a write to stdout.
    failure: Option<CliError>,
}

impl Shown {
    fn announce(&mut self, file: &FilePath, bytes: u64) {
        self.progress.announce(bytes);
        self.announced.insert(file.clone(), bytes);
    }

    /// Replaces the announced bytes of a file by its real size.
    fn correct(&mut self, file: &FilePath, bytes: u64) {
        if let Some(announced) = self.announced.remove(file) {
            self.progress.revoke(announced.saturating_sub(bytes));
        }
    }
}

impl Display {
    pub(super) fn new(ui: Ui, json: bool) -> Self {
        Self {
            ui,
            json,
            shown: Mutex::new(Shown {
                progress: Progress::of_files(ui),
                announced: HashMap::new(),
                files: 0,
                failure: None,
            }),
        }
    }

    pub(super) fn sending(&self, event: &SendEvent) {
        if self.json {
            self.event(event);
        }
        match event {
            SendEvent::Started { bytes, .. } => self.with(|shown| shown.progress.announce(*bytes)),
            SendEvent::Progress { bytes, .. } => self.with(|shown| shown.progress.transfer(*bytes)),
            SendEvent::Sent { file, bytes, .. } => {
                self.done(&format!("sent {file} ({})", counted(*bytes, "byte")));
            }
            SendEvent::Changed { file } => {
                self.note(&format!(
                    "{file} changed while it was sent: it will be sent again"
                ));
            }
            SendEvent::Failed { file, reason } => {
                self.say(&format!("cannot send {file}: {reason}"));
            }
            SendEvent::Fitted { chunk_bytes } => self.note(&format!(
                "a record was too large for the broker or for max_request_size: continuing with chunks of {chunk_bytes} \
                 bytes; --chunk sets the size"
            )),
            SendEvent::Delayed { reason } => self.note(&format!("waiting: {reason}")),
            _ => {}
        }
    }

    pub(super) fn receiving(&self, event: &ReceiveEvent) {
        if self.json {
            self.event(event);
        }
        match event {
            ReceiveEvent::Started { file, bytes, .. } => {
                self.with(|shown| shown.announce(file, *bytes));
            }
            ReceiveEvent::Progress { file, bytes } => {
                self.with(|shown| {
                    // A former run has announced the file.
                    if !shown.announced.contains_key(file) {
                        shown.progress.announce(*bytes);
                    }
                    shown.progress.transfer(*bytes);
                });
            }
            ReceiveEvent::Complete { file, saved, bytes } => {
                self.with(|shown| shown.correct(file, *bytes));
                let bytes = counted(*bytes, "byte");
                self.done(&match file == saved {
                    true => format!("received {file} ({bytes})"),
                    false => format!("received {file} ({bytes}), saved as {saved}"),
                });
            }
            ReceiveEvent::Skipped { file, same: true } => {
                self.with(|shown| shown.announced.remove(file));
                self.done(&format!("received {file}, which is there already"));
            }
            ReceiveEvent::Skipped { file, same: false } => {
                self.with(|shown| shown.announced.remove(file));
                self.done(&format!(
                    "received {file}, left out because another file has its name"
                ));
            }
            ReceiveEvent::Failed { file, reason } => {
                self.with(|shown| shown.announced.remove(file));
                self.say(&format!("cannot complete {file}: {reason}"));
            }
            ReceiveEvent::Refused {
                partition,
                offset,
                reason,
            } => {
                self.say(&format!(
                    "record {offset} of partition {partition} left out: {reason}"
                ));
            }
            ReceiveEvent::Kept {
                partition,
                offset,
                reason,
                saved,
            } => {
                self.say(&format!(
                    "record {offset} of partition {partition} kept as {saved}: {reason}"
                ));
            }
            _ => {}
        }
    }

    pub(super) fn reproducing(&self, event: &ReproduceEvent) {
        if self.json {
            self.event(event);
        }
        if let ReproduceEvent::LeftOut { file, reason } = event {
            self.say(&format!("{file:?} left out: {reason}"));
        }
    }

    /// Prints an object of JSON, if JSON is wanted.
    pub(super) fn event(&self, event: &impl Serialize) {
        if self.json
            && let Ok(line) = serde_json::to_string(event)
        {
            self.print(&line);
        }
    }

    /// Ends the progress line.
    ///
    /// # Errors
    /// [`CliError`] if an event could not be written to stdout.
    pub(super) fn close(&self) -> Result<(), CliError> {
        self.with(|shown| {
            shown.progress = Progress::hidden();
            shown.failure.take().map_or(Ok(()), Err)
        })
    }

    fn done(&self, line: &str) {
        self.with(|shown| {
            shown.files += 1;
            shown.progress.say(counted(shown.files, "file"));
        });
        if !self.json {
            self.print(line);
        }
    }

    fn print(&self, line: &str) {
        if let Err(error) = self.ui.result(line) {
            self.with(|shown| shown.failure.get_or_insert(error).exit());
        }
    }

    fn note(&self, line: &str) {
        self.ui.note(line);
    }

    fn say(&self, line: &str) {
        self.ui.say(line);
    }

    fn with<T>(&self, change: impl FnOnce(&mut Shown) -> T) -> T {
        change(&mut self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
