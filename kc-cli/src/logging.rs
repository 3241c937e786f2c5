//! Logs on stderr, and the progress of long tasks.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use kc::core::text::counted;
use tracing_subscriber::EnvFilter;

use crate::ui;
use crate::ui::Ui;

/// The format of logs and messages on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// A JSON object in each line
    Json,
}

/// The part of a log filter that turns off the logs of libraries. Kafka clients log each failed attempt, and cryptoki
/// logs each unknown mechanism, but kc reports the final result itself. The logs of `kc::outage` are off, too, because
/// the program reports outages itself. With `-vv`, the logs of the Kafka clients and of `kc::outage` are shown.
const LIBRARIES_OFF: &str = "cryptoki=off,krafka=off,librdkafka=off,kafka=off,kc::outage=off";

/// Starts the logs with the filter in `RUST_LOG`. If this variable is not set or its filter is not valid, the filter
/// follows from `-v` and `-q`. These flags never suppress the warning of `kc broker` that other hosts can read and
/// delete its records.
pub(crate) fn start(verbose: u8, quiet: bool, format: LogFormat) {
    let by_flags = match (quiet, verbose) {
        (true, _) => format!("error,kc_broker::exposed=warn,{LIBRARIES_OFF}"),
        (false, 0) => format!("warn,{LIBRARIES_OFF}"),
        (false, 1) => format!("info,{LIBRARIES_OFF}"),
        (false, _) => "debug,cryptoki=off,krafka=info,librdkafka=info,kafka=info".to_owned(),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(by_flags));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(|| Stderr);
    match format {
        LogFormat::Text => logs.with_ansi(ui::colours()).init(),
        LogFormat::Json => logs.json().init(),
    }
}

/// The time after which the progress line is drawn again, even if nothing was transferred.
const TICK: Duration = Duration::from_millis(200);
const OF_SIZE: &str = "{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {msg}, {eta} to go";
const OF_STEPS: &str = "{bar:30} {pos} of {len}, {eta} to go";
const ENDLESS: &str = "{spinner} {bytes}, {bytes_per_sec}, {msg}, {elapsed}";

static LINES: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Runs `print`, which writes to stdout or stderr, while the progress line is hidden.
pub(crate) fn beside<T>(print: impl FnOnce() -> T) -> T {
    LINES.suspend(print)
}

/// Standard error, for the lines of logs. Lines that cannot be written are dropped: a full disk or a closed pipe does
/// not stop the program's work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = beside(|| io::stderr().lock().write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().lock().flush();
        Ok(())
    }
}

/// A progress line with the records and bytes that were transferred so far, or with the steps that were done. It is
/// shown only on a terminal, until this value is dropped.
#[derive(Debug)]
pub(crate) struct Progress {
    line: ProgressBar,
    records: u64,
}

impl Progress {
    /// Begins a transfer of `bytes` bytes. `bytes` is `None` if the number is unknown.
    pub(crate) fn new(ui: Ui, bytes: Option<u64>) -> Self {
        if !ui.shows_progress() {
            return Self::hidden();
        }
        let template = if bytes.is_some() { OF_SIZE } else { ENDLESS };
        let line = bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        Self::shown(line, template)
    }

    /// Begins a task of `steps` steps.
    pub(crate) fn of_steps(ui: Ui, steps: usize) -> Self {
        if !ui.shows_progress() {
            return Self::hidden();
        }
        Self::shown(ProgressBar::new(steps as u64), OF_STEPS)
    }

    fn shown(line: ProgressBar, template: &str) -> Self {
        let style = ProgressStyle::with_template(template);
        let line = LINES.add(line);
        line.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        line.enable_steady_tick(TICK);
        Self { line, records: 0 }
    }

    /// Begins a transfer to stdout; shows nothing if stdout is a terminal.
    pub(crate) fn to_stdout(ui: Ui) -> Self {
        if io::stdout().is_terminal() {
            Self::hidden()
        } else {
            Self::new(ui, None)
        }
    }

    /// Begins a transfer of the input: the file `file`, or stdin if `file` is `None` or `-`. Shows nothing if a person
    /// types the input at a terminal.
    pub(crate) fn of_input(ui: Ui, file: Option<&Path>) -> Self {
        let file = file.filter(|path| *path != Path::new("-"));
        if file.is_none() && io::stdin().is_terminal() {
            return Self::hidden();
        }
        let metadata = file.and_then(|path| path.metadata().ok());
        let size = metadata.filter(|found| found.is_file());
        Self::new(ui, size.map(|found| found.len()))
    }

    /// Begins a transfer of files, whose bytes are [announced](Self::announce) as they are found.
    pub(crate) fn of_files(ui: Ui) -> Self {
        if !ui.shows_progress() {
            return Self::hidden();
        }
        let shown = Self::shown(ProgressBar::new(0), OF_SIZE);
        shown.say(counted(0_u64, "file"));
        shown
    }

    /// Adds to the bytes that are to be transferred.
    pub(crate) fn announce(&self, bytes: u64) {
        self.line.inc_length(bytes);
    }

    /// Takes from the bytes that are to be transferred.
    pub(crate) fn revoke(&self, bytes: u64) {
        self.line.dec_length(bytes);
    }

    /// Counts bytes as transferred.
    pub(crate) fn transfer(&self, bytes: u64) {
        self.line.inc(bytes);
    }

    /// Shows a text beside the figures.
    pub(crate) fn say(&self, text: String) {
        self.line.set_message(text);
    }

    /// Returns a progress line that is never shown.
    pub(crate) fn hidden() -> Self {
        Self {
            line: ProgressBar::hidden(),
            records: 0,
        }
    }

    /// Counts a step as done.
    pub(crate) fn step(&self) {
        self.line.inc(1);
    }

    /// Counts `records` records with `bytes` bytes as transferred.
    pub(crate) fn advance(&mut self, records: usize, bytes: usize) {
        self.records = self.records.saturating_add(records as u64);
        self.line.inc(bytes as u64);
        self.line.set_message(counted(self.records, "record"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.line.finish_and_clear();
    }
}
