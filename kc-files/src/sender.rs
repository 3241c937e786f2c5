mod schedule;
mod upload;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kc::Node;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::schedule::{Schedule, Seen};
use self::upload::{Context, Outcome, upload};
use crate::error::FilesError;
use crate::event::SendEvent;
use crate::path::FilePath;
use crate::registry::{Change, Registry, Writer};
use crate::scan::{Found, place, scan};
use crate::selection::Selection;
use crate::status::{SendStatus, tell};
use crate::watch::{Notice, Watch};
use crate::wire::{DEFAULT_CHUNK_BYTES, MAX_CHUNK_BYTES, Wire};

/// The time between two scans of a folder whose changes are reported, in case that a report is missing.
const RESCAN: Duration = Duration::from_secs(300);
/// The time between two writes of the status.
const STATUS: Duration = Duration::from_secs(2);
/// The time after which a file is tried again that the broker did not take.
const RETRY: Duration = Duration::from_secs(2);
/// The number of times that a file which changes while it is sent is tried, without watching.
const ATTEMPTS: u32 = 5;
/// The number of found files that wait.
const MAX_FOUND: usize = 256;

type OnEvent = dyn Fn(&SendEvent) + Send + Sync;

/// Sends the files of a folder and of its sub-folders to a topic, each version of a file once.
///
/// The registry in `<folder>/.kc-files` remembers what was sent to which topic. A file whose size and time of change are
/// those in the registry is not read; a file of another time is sent only if its content differs. A kill of the process at
/// any moment loses nothing: a file that was sent in part is sent again, and its receiver drops the chunks that it has.
///
/// ```no_run
/// # async fn run() -> Result<(), kc_files::FilesError> {
/// let node = kc::Node::open("microscope").await?;
/// let sender = kc_files::FileSender::new("scans", "images")
///     .include("*.tif")
///     .on_event(|event| println!("{event:?}"));
/// let summary = sender.watch(&node, async { tokio::signal::ctrl_c().await.unwrap() }).await?;
/// println!("{} files sent", summary.sent);
/// # Ok(())
/// # }
/// ```
#[must_use = "files are sent by `send_all` or `watch`"]
pub struct FileSender {
    folder: PathBuf,
    topic: String,
    include: Vec<String>,
    exclude: Vec<String>,
    hidden: bool,
    chunk_bytes: u32,
    wire: Wire,
    parallel: usize,
    memory: usize,
    settle: Duration,
    poll: Option<Duration>,
    plain: bool,
    on_event: Arc<OnEvent>,
}

/// What a [`FileSender`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SendSummary {
    /// The number of files that were sent.
    pub sent: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The number of files that were found unchanged since they were sent.
    pub unchanged: u64,
    /// The number of files that could not be sent.
    pub failed: u64,
    /// The number of files that were found but not sent before the end was requested.
    pub unfinished: u64,
}

impl fmt::Debug for FileSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSender")
            .field("folder", &self.folder)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl FileSender {
    /// Creates a sender of all files in `folder`, except hidden ones, to `topic`.
    pub fn new(folder: impl Into<PathBuf>, topic: impl Into<String>) -> Self {
        Self {
            folder: folder.into(),
            topic: topic.into(),
            include: Vec::new(),
            exclude: Vec::new(),
            hidden: false,
            chunk_bytes: DEFAULT_CHUNK_BYTES,
            wire: Wire::default(),
            parallel: 8,
            memory: 64 << 20,
            settle: Duration::from_secs(2),
            poll: None,
            plain: false,
            on_event: Arc::new(|_| {}),
        }
    }

    /// Sends only files that match this glob, or another one that was given. A glob without `/` applies to names, another
    /// one to paths below the folder; `**` stands for any folders.
    pub fn include(mut self, glob: impl Into<String>) -> Self {
        self.include.push(glob.into());
        self
    }

    /// Sends no files that match this glob.
    pub fn exclude(mut self, glob: impl Into<String>) -> Self {
        self.exclude.push(glob.into());
        self
    }

    /// Sends hidden files, too: those whose name, or whose folder's name, begins with a dot.
    pub fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }

    /// Sets the size of a chunk in bytes: 1 to [`MAX_CHUNK_BYTES`], by default 512 KiB. If the broker or the client refuses
    /// a record as too large (`message.max.bytes`, `max_request_size`), the file is sent again in smaller chunks.
    pub fn chunk_bytes(mut self, bytes: u32) -> Self {
        self.chunk_bytes = bytes.clamp(1, MAX_CHUNK_BYTES);
        self
    }

    /// Sets the form of the records; by default OpenMSIStream can read them.
    pub fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// Sets the number of files that are sent at the same time; 8 by default.
    pub fn parallel(mut self, files: usize) -> Self {
        self.parallel = files.max(1);
        self
    }

    /// Sets the time for which a file must not change before it is sent, unless the system reports that it was closed;
    /// 2 s by default.
    pub fn settle(mut self, time: Duration) -> Self {
        self.settle = time;
        self
    }

    /// Looks for changes at this interval, instead of waiting for reports of the system. File systems of other hosts
    /// need this.
    pub fn poll(mut self, interval: Duration) -> Self {
        self.poll = Some(interval.max(Duration::from_millis(50)));
        self
    }

    /// Sends without encryption, for receivers that cannot decrypt.
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Calls `listener` at each event, from several threads. It should return soon.
    pub fn on_event(mut self, listener: impl Fn(&SendEvent) + Send + Sync + 'static) -> Self {
        self.on_event = Arc::new(listener);
        self
    }

    /// Sends the files that the folder has now. Returns when the broker has acknowledged all of them, or, early, when
    /// `stop` is ready.
    ///
    /// Cancel safe: a file that was sent in part is sent again by the next call.
    ///
    /// # Errors
    /// Returns [`FilesError`] if the folder cannot be used, or if the broker does not take records.
    pub async fn send_all(
        self,
        node: &Node,
        stop: impl Future<Output = ()>,
    ) -> Result<SendSummary, FilesError> {
        self.run(node, None, stop).await
    }

    /// Sends the files that the folder has, and those that are written to it later, until `stop` is ready. While the
    /// broker is away, the sender waits.
    ///
    /// Cancel safe: a file that was sent in part is sent again by the next call.
    ///
    /// # Errors
    /// Returns [`FilesError`] if the folder cannot be used, or if the broker refuses records.
    pub async fn watch(
        self,
        node: &Node,
        stop: impl Future<Output = ()>,
    ) -> Result<SendSummary, FilesError> {
        let watching = match self.poll {
            Some(interval) => Watching::Poll(interval),
            None => Watching::Reports(Watch::start(&absolute(&self.folder)?)?),
        };
        self.run(node, Some(watching), stop).await
    }

    async fn run(
        self,
        node: &Node,
        watching: Option<Watching>,
        stop: impl Future<Output = ()>,
    ) -> Result<SendSummary, FilesError> {
        let root: Arc<Path> = absolute(&self.folder)?.into();
        let selection = Selection::new(&self.include, &self.exclude, self.hidden)?;
        let registry = Registry::open(&root, &self.topic)?;
        let producer = node.producer();
        let producer = if self.plain {
            producer.plain()
        } else {
            producer
        };
        let totals = Arc::new(Mutex::new(SendSummary::default()));
        let emit: Arc<OnEvent> = {
            let (totals, on_event) = (Arc::clone(&totals), Arc::clone(&self.on_event));
            Arc::new(move |event| {
                count(&totals, event);
                on_event(event);
            })
        };
        let writer = registry.writer({
            let emit = Arc::clone(&emit);
            move |event| emit(event)
        })?;
        let context = Arc::new(Context {
            root: Arc::clone(&root),
            topic: self.topic,
            registry: registry.clone(),
            changes: writer.changes().clone(),
            producer: producer.await?,
            chunk_bytes: AtomicU32::new(self.chunk_bytes),
            wire: self.wire,
            memory: Arc::new(Semaphore::new(self.memory >> 10)),
            settle: watching.is_some().then_some(self.settle),
            emit,
            stopped: AtomicBool::new(false),
        });
        let mut run = Run {
            context,
            selection: Arc::new(selection),
            parallel: self.parallel,
            settle: self.settle,
            uploads: JoinSet::new(),
            schedule: Schedule::default(),
            attempts: HashMap::new(),
            unusable: HashMap::new(),
        };
        let ran = run.run(watching, stop, &writer).await;
        let unfinished = run.unfinished();
        run.context.stopped.store(true, Ordering::Relaxed);
        run.uploads.shutdown().await;
        drop(run);
        let closed = tokio::task::spawn_blocking(move || writer.close()).await;
        closed.unwrap_or(Err(FilesError::Thread))?;
        let (sent, failed) = registry.summary()?;
        let status = SendStatus {
            sent,
            failed,
            ..SendStatus::default()
        };
        tell(&root, "send", &status);
        ran?;
        let mut summary = lock(&totals).clone();
        summary.unfinished = unfinished;
        Ok(summary)
    }
}

/// How changes of a folder are found.
enum Watching {
    Reports(Watch),
    Poll(Duration),
}

fn absolute(folder: &Path) -> Result<PathBuf, FilesError> {
    folder
        .canonicalize()
        .map_err(|error| FilesError::io("read", folder, error))
}

fn lock(totals: &Mutex<SendSummary>) -> std::sync::MutexGuard<'_, SendSummary> {
    totals.lock().unwrap_or_else(PoisonError::into_inner)
}

fn count(totals: &Mutex<SendSummary>, event: &SendEvent) {
    let mut totals = lock(totals);
    match event {
        SendEvent::Sent { bytes, .. } => {
            totals.sent += 1;
            totals.bytes += bytes;
        }
        SendEvent::Unchanged { .. } => totals.unchanged += 1,
        SendEvent::Failed { .. } => totals.failed += 1,
        _ => {}
    }
}

/// A run of a sender.
struct Run {
    context: Arc<Context>,
    selection: Arc<Selection>,
    parallel: usize,
    settle: Duration,
    uploads: JoinSet<(FilePath, Result<Outcome, FilesError>)>,
    schedule: Schedule,
    /// The number of times that a file has changed while it was sent.
    attempts: HashMap<FilePath, u32>,
    /// Files that cannot be sent, and the reasons that were reported.
    unusable: HashMap<String, String>,
}

impl Run {
    async fn run(
        &mut self,
        mut watching: Option<Watching>,
        stop: impl Future<Output = ()>,
        writer: &Writer,
    ) -> Result<(), FilesError> {
        let mut stop = std::pin::pin!(stop);
        let mut scanning = Some(self.scan(self.context.root.to_path_buf()));
        let mut rescan = false;
        let mut scans = interval(match &watching {
            Some(Watching::Poll(interval)) => *interval,
            _ => RESCAN,
        });
        scans.set_missed_tick_behavior(MissedTickBehavior::Delay);
        scans.reset();
        let mut told = interval(STATUS);
        told.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let is_watching = watching.is_some();
        loop {
            if scanning.is_none() {
                if rescan {
                    rescan = false;
                    scanning = Some(self.scan(self.context.root.to_path_buf()));
                } else if !is_watching && self.uploads.is_empty() && self.schedule.is_empty() {
                    return Ok(());
                }
            }
            let has_room = self.uploads.len() < self.parallel;
            let due = self.schedule.next().filter(|_| has_room);
            tokio::select! {
                biased;
                () = &mut stop => return Ok(()),
                Some(done) = self.uploads.join_next() => {
                    let (path, outcome) = done.map_err(|_| FilesError::Thread)?;
                    self.finish(path, outcome).await?;
                }
                notice = next_notice(&mut watching) => rescan |= self.notice(notice).await,
                _ = scans.tick(), if is_watching => rescan = true,
                _ = told.tick() => self.tell(writer)?,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    for path in self.schedule.take_due(self.parallel - self.uploads.len()) {
                        self.start(path);
                    }
                }
                found = async { scanning.as_mut()?.recv().await }, if has_room && scanning.is_some() => {
                    match found {
                        Some(Ok(found)) => self.found(found).await,
                        Some(Err(error)) => return Err(error),
                        None => scanning = None,
                    }
                }
            }
        }
    }

    /// Scans a folder on a thread of its own.
    fn scan(&self, start: PathBuf) -> mpsc::Receiver<Result<Found, FilesError>> {
        let (send, found) = mpsc::channel(MAX_FOUND);
        let (root, selection) = (Arc::clone(&self.context.root), Arc::clone(&self.selection));
        tokio::task::spawn_blocking(move || {
            let scanned = scan(&root, &start, &selection, |found| {
                send.blocking_send(Ok(found)).is_ok()
            });
            if let Err(error) = scanned {
                // The receiver is gone if the sender stops.
                let _ = send.blocking_send(Err(error));
            }
        });
        found
    }

    /// Handles a report about the folder. Returns whether the folder must be scanned again.
    async fn notice(&mut self, notice: Notice) -> bool {
        let (path, due, seen) = match notice {
            Notice::Rescan => return true,
            Notice::Ready(path) => (path, Instant::now(), Seen::Closed),
            Notice::Changed(path) => (path, Instant::now() + self.settle, Seen::Nothing),
        };
        // Files may have been written to a new folder before the system was asked to report on it.
        if path.is_dir() {
            return true;
        }
        match place(&self.context.root, &path, &self.selection) {
            Some(Found::File(path)) => self.schedule.at(path, due, seen),
            Some(found) => self.found(found).await,
            None => {}
        }
        false
    }

    async fn found(&mut self, found: Found) {
        match found {
            Found::File(path) if self.schedule.has(&path) => {}
            Found::File(path) => self.start(path),
            Found::Unusable { file, reason } => {
                if self.unusable.get(&file) != Some(&reason) {
                    self.unusable.insert(file.clone(), reason.clone());
                    self.fail(file, reason).await;
                }
            }
        }
    }

    async fn fail(&self, file: String, reason: String) {
        let change = Change::Failed(file.clone(), reason.clone());
        // The run ends with the error of the registry if it cannot be written.
        let _ = self.context.changes.send(change).await;
        (self.context.emit)(&SendEvent::Failed { file, reason });
    }

    fn start(&mut self, path: FilePath) {
        if let Some(seen) = self.schedule.begin(&path) {
            let context = Arc::clone(&self.context);
            self.uploads.spawn(async move {
                let outcome = upload(&context, &path, seen).await;
                (path, outcome)
            });
        }
    }

    async fn finish(
        &mut self,
        path: FilePath,
        outcome: Result<Outcome, FilesError>,
    ) -> Result<(), FilesError> {
        let is_watching = self.context.settle.is_some();
        let again = self.schedule.end(&path);
        match outcome? {
            Outcome::Sent => {
                self.attempts.remove(&path);
                self.unusable.remove(path.as_str());
            }
            Outcome::Unchanged => {
                if !is_watching {
                    (self.context.emit)(&SendEvent::Unchanged { file: path.clone() });
                }
            }
            Outcome::Gone => {
                self.attempts.remove(&path);
            }
            Outcome::Unsettled(stamp) => {
                self.schedule
                    .at(path, Instant::now() + self.settle, Seen::As(stamp));
                return Ok(());
            }
            Outcome::Changed => {
                let attempts = self.attempts.entry(path.clone()).or_default();
                *attempts += 1;
                if is_watching || *attempts < ATTEMPTS {
                    (self.context.emit)(&SendEvent::Changed { file: path.clone() });
                    self.schedule
                        .at(path, Instant::now() + self.settle, Seen::Nothing);
                } else {
                    let reason = "it changed each time that it was sent".to_owned();
                    self.fail(path.to_string(), reason).await;
                }
                return Ok(());
            }
            Outcome::Failed(reason) => {
                let file = path.to_string();
                if self.unusable.get(&file) != Some(&reason) {
                    self.unusable.insert(file.clone(), reason.clone());
                    self.fail(file, reason).await;
                }
            }
            Outcome::TooLarge(fitted) => {
                if let Some(chunk_bytes) = fitted {
                    (self.context.emit)(&SendEvent::Fitted { chunk_bytes });
                }
                self.schedule.at(path, Instant::now(), Seen::Closed);
                return Ok(());
            }
            Outcome::Delayed(error) => {
                if !is_watching {
                    return Err(error.into());
                }
                let reason = error.to_string();
                (self.context.emit)(&SendEvent::Delayed { reason });
                self.schedule.at(path, Instant::now() + RETRY, Seen::Closed);
                return Ok(());
            }
        }
        if again {
            self.schedule
                .at(path, Instant::now() + self.settle, Seen::Nothing);
        }
        Ok(())
    }

    fn tell(&self, writer: &Writer) -> Result<(), FilesError> {
        if writer.has_failed() {
            return Err(FilesError::Thread);
        }
        let (sent, failed) = self.context.registry.summary()?;
        let status = SendStatus {
            running: true,
            sent,
            failed,
            in_flight: self
                .schedule
                .active()
                .take(crate::MAX_LISTED)
                .cloned()
                .collect(),
        };
        tell(&self.context.root, "send", &status);
        Ok(())
    }

    fn unfinished(&self) -> u64 {
        (self.uploads.len() + self.schedule.len()) as u64
    }
}

async fn next_notice(watching: &mut Option<Watching>) -> Notice {
    match watching {
        Some(Watching::Reports(watch)) => watch.next().await,
        _ => std::future::pending().await,
    }
}
