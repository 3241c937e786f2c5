mod store;

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use kc::{ConsumerBuilder, ConsumerRecord, Node};
use tokio::time::{MissedTickBehavior, interval};

use self::store::{Applied, Message, Store, Unopened};
use crate::error::FilesError;
use crate::event::ReceiveEvent;
use crate::folder::OnConflict;
use crate::processor::{CompleteFile, FileProcessor};
use crate::undecryptable::{SealedRecord, UndecryptableFolder};

/// The time between two writes of the status.
const STATUS: Duration = Duration::from_secs(2);
/// No further records are added to those that are written together, if they have this many bytes.
const TOGETHER_BYTES: usize = 32 << 20;
/// The maximum number of records that are written together.
const TOGETHER: usize = 4096;
/// The time for leaving the group at the end.
const CLOSE_DEADLINE: Duration = Duration::from_secs(10);

type OnEvent = dyn Fn(&ReceiveEvent) + Send + Sync;

/// Receives files from a topic into a folder, each once.
///
/// Chunks may arrive in any order, from several partitions, and repeatedly. They are written to temporary files in
/// `<folder>/.kc-files`. A record is acknowledged when its chunk is durable on disk. When a file is complete and its hash
/// is right, it gets its name, its time of change and its permissions. A kill of the process at any moment loses nothing.
///
/// Names that arrive are not trusted: see [`FilePath`](crate::FilePath). No symbolic link in the folder is followed.
///
/// ```no_run
/// # async fn run() -> Result<(), kc_files::FilesError> {
/// let node = kc::Node::open("archive").await?;
/// let receiver = kc_files::FileReceiver::new("images", "incoming")
///     .on_event(|event| println!("{event:?}"));
/// let summary = receiver.run(&node, async { tokio::signal::ctrl_c().await.unwrap() }).await?;
/// println!("{} files complete", summary.complete);
/// # Ok(())
/// # }
/// ```
#[must_use = "files are received by `run`"]
pub struct FileReceiver {
    topic: String,
    folder: PathBuf,
    group: Option<String>,
    undecryptable: String,
    undecryptable_folder: Option<PathBuf>,
    patience: Option<Duration>,
    on_conflict: OnConflict,
    count: Option<u64>,
    max_file_bytes: u64,
    reserve: u64,
    plain: bool,
    processor: Option<Arc<dyn FileProcessor>>,
    on_event: Arc<OnEvent>,
}

/// What a [`FileReceiver`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiveSummary {
    /// The number of complete files that were written.
    pub complete: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The number of complete files that were not written, because the folder has them or their name.
    pub skipped: u64,
    /// The number of files and records that were refused.
    pub failed: u64,
    /// The number of files of which chunks are missing.
    pub incomplete: u64,
    /// The number of chunks that wait for data keys and are not parked.
    pub waiting: usize,
    /// The number of records that were parked or left out, by the policies for records that cannot be opened.
    pub left_out: u64,
    /// The number of records that could not be opened and are kept in the
    /// [`undecryptable_folder`](FileReceiver::undecryptable_folder).
    pub kept: u64,
}

impl ReceiveSummary {
    /// Returns the number of files that are complete, written or not.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.complete + self.skipped
    }

    fn add(&mut self, event: &ReceiveEvent) {
        match event {
            ReceiveEvent::Complete { bytes, .. } => {
                self.complete += 1;
                self.bytes += bytes;
            }
            ReceiveEvent::Skipped { .. } => self.skipped += 1,
            ReceiveEvent::Failed { .. } | ReceiveEvent::Refused { .. } => self.failed += 1,
            ReceiveEvent::Kept { .. } => self.kept += 1,
            ReceiveEvent::Started { .. } | ReceiveEvent::Progress { .. } => {}
        }
    }
}

impl fmt::Debug for FileReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReceiver")
            .field("topic", &self.topic)
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl FileReceiver {
    /// Creates a receiver of all files that are sent to `topic`. The folder is created if it does not exist.
    pub fn new(topic: impl Into<String>, folder: impl Into<PathBuf>) -> Self {
        Self {
            topic: topic.into(),
            folder: folder.into(),
            group: None,
            undecryptable: "park,foreign=skip".to_owned(),
            undecryptable_folder: None,
            patience: None,
            on_conflict: OnConflict::default(),
            count: None,
            max_file_bytes: 1 << 40,
            reserve: 64 << 20,
            plain: false,
            processor: None,
            on_event: Arc::new(|_| {}),
        }
    }

    /// Sets the consumer group; by default that of the node. A group must have one receiver: the chunks of a file that are
    /// spread over the folders of two receivers complete it in neither.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// Sets the policies for chunks that cannot be opened, in the text form of [`kc::Undecryptable`]. The default is
    /// `park,foreign=skip`: a file whose data key is late becomes complete when the key has arrived.
    pub fn undecryptable(mut self, policies: impl Into<String>) -> Self {
        self.undecryptable = policies.into();
        self
    }

    /// Keeps records that cannot be opened within the [`patience`](Self::patience) in `folder`, as OpenMSIStream does, in
    /// place of parking them; [`Reproducer`](crate::Reproducer) sends them again. Records that are not sealed are left
    /// out. Replaces the policies of [`undecryptable`](Self::undecryptable). The folder is created if it does not exist.
    pub fn undecryptable_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.undecryptable_folder = Some(folder.into());
        self.undecryptable = "deliver,foreign=skip".to_owned();
        self
    }

    /// Sets the time that a chunk waits for its data key before the policies apply.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = Some(patience);
        self
    }

    /// Sets what happens to a file whose name another file has.
    pub fn on_conflict(mut self, on_conflict: OnConflict) -> Self {
        self.on_conflict = on_conflict;
        self
    }

    /// Ends [`run`](Self::run) after this number of complete files.
    pub fn count(mut self, files: u64) -> Self {
        self.count = Some(files);
        self
    }

    /// Sets the maximum size of a file in bytes; 1 TiB by default. Larger files are refused when they are announced.
    pub fn max_file_bytes(mut self, bytes: u64) -> Self {
        self.max_file_bytes = bytes;
        self
    }

    /// Sets the number of bytes of the disk that must stay free; 64 MiB by default. If fewer are free,
    /// [`run`](Self::run) ends with [`FilesError::DiskFull`] and loses nothing.
    pub fn reserve(mut self, bytes: u64) -> Self {
        self.reserve = bytes;
        self
    }

    /// Receives from senders that do not encrypt.
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Processes each file that arrives, one after the other, and each at least once; also a file that is there already
    /// with the same content.
    pub fn process(mut self, processor: impl FileProcessor + 'static) -> Self {
        self.processor = Some(Arc::new(processor));
        self
    }

    /// Calls `listener` at each event, when what it tells is durable. It should return soon.
    pub fn on_event(mut self, listener: impl Fn(&ReceiveEvent) + Send + Sync + 'static) -> Self {
        self.on_event = Arc::new(listener);
        self
    }

    /// Receives files until `stop` is ready, or until the number of files of [`count`](Self::count) is complete. A group
    /// that has no position starts at the first record of the topic.
    ///
    /// Cancel safe: what was not acknowledged arrives again.
    ///
    /// # Errors
    /// Returns [`FilesError`] if the folder or the disk cannot be used, another process receives into the folder, or the
    /// consumer fails.
    pub async fn run(
        self,
        node: &Node,
        stop: impl Future<Output = ()>,
    ) -> Result<ReceiveSummary, FilesError> {
        let consumer = self.consumer(node)?;
        let store = {
            let (path, on_conflict) = (self.folder.clone(), self.on_conflict);
            let limits = (self.max_file_bytes, self.reserve);
            let processes = self.processor.is_some();
            let undecryptable = self.undecryptable_folder.clone();
            let open = move || {
                let undecryptable = undecryptable.as_deref().map(UndecryptableFolder::open);
                let store = Store::open(&path, on_conflict, limits, processes)?;
                Ok::<_, FilesError>(store.keeping(undecryptable.transpose()?))
            };
            Arc::new(blocking(open).await??)
        };
        let mut consumer = consumer.join().await?;
        let mut stop = std::pin::pin!(stop);
        let mut told = interval(STATUS);
        told.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut summary = ReceiveSummary::default();
        let mut records = VecDeque::new();
        let ended = loop {
            tokio::select! {
                biased;
                () = &mut stop => break Ok(()),
                processed = self.process_all(&store) => if let Err(error) = processed {
                    break Err(error);
                },
            }
            let left = self
                .count
                .map(|count| count.saturating_sub(summary.arrived()));
            if left == Some(0) {
                break Ok(());
            }
            if records.is_empty() {
                let next = tokio::select! {
                    biased;
                    () = &mut stop => break Ok(()),
                    next = consumer.next_batch() => next,
                    _ = told.tick() => {
                        self.tell(&store).await?;
                        continue;
                    }
                };
                match next {
                    Some(Ok(batch)) => records.extend(batch),
                    Some(Err(error)) => break Err(kc::Error::from(error).into()),
                    None => break Ok(()),
                }
                let mut bytes = size(&records);
                // Errors come again with the next call.
                while bytes < TOGETHER_BYTES
                    && records.len() < TOGETHER
                    && let Some(Some(Ok(batch))) = consumer.next_batch().now_or_never()
                {
                    bytes += batch
                        .iter()
                        .map(|record| record.value().len())
                        .sum::<usize>();
                    records.extend(batch);
                }
            }
            let taken = std::mem::take(&mut records);
            let applying = Arc::clone(&store);
            let applied = blocking(move || {
                let applied = applying.apply(taken.iter().map(message), left);
                (taken, applied)
            });
            let (taken, applied) = applied.await?;
            let Applied {
                events,
                records: done,
            } = match applied {
                Ok(applied) => applied,
                Err(error) => break Err(error),
            };
            records = taken;
            for record in records.drain(..done) {
                record.ack();
            }
            for event in &events {
                summary.add(event);
                (self.on_event)(event);
            }
        };
        summary.waiting = consumer.waiting();
        summary.left_out = consumer.left_out();
        let left = consumer.close_within(CLOSE_DEADLINE).await;
        self.tell(&store).await?;
        summary.incomplete = store.incomplete()?;
        ended?;
        left.map_err(kc::Error::from)?;
        Ok(summary)
    }

    fn consumer(&self, node: &Node) -> Result<ConsumerBuilder, FilesError> {
        let mut consumer = node.consumer([&self.topic]).from_beginning();
        if self.plain {
            consumer = consumer.plain();
        } else {
            let treating = consumer.undecryptable_as(&self.undecryptable);
            consumer = treating.map_err(kc::Error::other)?;
        }
        if let Some(patience) = self.patience {
            consumer = consumer.patience(patience);
        }
        if let Some(group) = &self.group {
            consumer = consumer.group(group);
        }
        Ok(consumer)
    }

    async fn tell(&self, store: &Arc<Store>) -> Result<(), FilesError> {
        let (store, folder) = (Arc::clone(store), self.folder.clone());
        blocking(move || store.tell(&folder)).await?
    }

    /// Processes the files that are complete and not yet processed.
    async fn process_all(&self, store: &Arc<Store>) -> Result<(), FilesError> {
        let Some(processor) = &self.processor else {
            return Ok(());
        };
        let mut done = None;
        loop {
            let (store, processed) = (Arc::clone(store), done.take());
            let next = blocking(move || store.next_to_process(processed.as_ref())).await??;
            let Some(file) = next else {
                return Ok(());
            };
            let complete = CompleteFile::new(&self.folder, file.clone());
            if let Err(source) = processor.process(&complete).await {
                return Err(FilesError::Processing { file, source });
            }
            done = Some(file);
        }
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, FilesError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| FilesError::Thread)
}

fn size(records: &VecDeque<ConsumerRecord>) -> usize {
    records.iter().map(|record| record.value().len()).sum()
}

fn message(record: &ConsumerRecord) -> Message<'_> {
    Message {
        partition: record.partition(),
        offset: record.offset(),
        value: match record.failure() {
            None => Ok(record.value()),
            Some(failure) => Err(Unopened {
                reason: failure.to_string(),
                record: SealedRecord {
                    topic: record.topic(),
                    offset: record.offset(),
                    timestamp: record.timestamp(),
                    key: record.key(),
                    value: record.value(),
                },
            }),
        },
    }
}
