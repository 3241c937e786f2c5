use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kc::core::backend::DeliveryFuture;
use kc::{BackendErrorKind, ProduceError, Producer, Record};
use sha2::{Digest, Sha512};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::OnEvent;
use super::schedule::Seen;
use crate::digest::{hash_while, hex};
use crate::error::FilesError;
use crate::event::SendEvent;
use crate::path::FilePath;
use crate::registry::{Change, Entry, Registry};
use crate::scan::{Stamp, open};
use crate::wire::{Chunk, Extras, Hash, MAX_CHUNKS, Wire, time_of};

/// The bytes that the names, the hashes, the envelopes and the batch add to a chunk, at most.
const RESERVE: u32 = 8 << 10;
/// Chunks are not made smaller than this to fit the limit of the broker, in bytes.
const MIN_FITTED: u32 = 8 << 10;

/// What all uploads share.
pub(super) struct Context {
    pub(super) root: Arc<Path>,
    pub(super) topic: String,
    pub(super) registry: Registry,
    pub(super) changes: mpsc::Sender<Change>,
    pub(super) producer: Producer,
    /// The size of the chunks of the next file; it becomes smaller if the broker refuses records as too large.
    pub(super) chunk_bytes: AtomicU32,
    pub(super) wire: Wire,
    /// A permit for each KiB of chunks that are not acknowledged.
    pub(super) memory: Arc<Semaphore>,
    /// The time for which a file must not change before it is sent; `None` to send files as they are.
    pub(super) settle: Option<Duration>,
    pub(super) emit: Arc<OnEvent>,
    /// Set when the run has ended, so that no thread goes on reading.
    pub(super) stopped: AtomicBool,
}

/// The result of an upload.
pub(super) enum Outcome {
    /// All chunks are acknowledged.
    Sent,
    /// The registry has the file as it is.
    Unchanged,
    /// The file does not exist any more.
    Gone,
    /// The file may still be written to.
    Unsettled(Stamp),
    /// The file has changed while it was read.
    Changed,
    /// The file cannot be read.
    Failed(String),
    /// The broker does not take records at present.
    Delayed(kc::Error),
    /// The records were too large. The next files have smaller chunks; the size in bytes, if this upload has changed it.
    TooLarge(Option<u32>),
}

/// A file that is ready to be sent.
struct Ready {
    file: Arc<File>,
    stamp: Stamp,
    hash: Hash,
    /// The content of a file that has one chunk.
    content: Option<Vec<u8>>,
}

/// A chunk that was read, with its hash.
struct Part {
    data: Vec<u8>,
    hash: Hash,
    hasher: Sha512,
}

/// Sends a file, unless the registry has it.
pub(super) async fn upload(
    context: &Arc<Context>,
    path: &FilePath,
    seen: Seen,
) -> Result<Outcome, FilesError> {
    let chunk_bytes = context.chunk_bytes.load(Ordering::Relaxed);
    let ready = {
        let (context, path) = (Arc::clone(context), path.clone());
        blocking(move || look(&context, &path, seen, chunk_bytes)).await??
    };
    let ready = match ready {
        Ok(ready) => ready,
        Err(outcome) => return Ok(outcome),
    };
    let bytes = ready.stamp.size;
    let chunks = bytes.div_ceil(u64::from(chunk_bytes)).max(1);
    let Some(count) = u32::try_from(chunks).ok().filter(|&it| it <= MAX_CHUNKS) else {
        let reason = format!("it has more than {MAX_CHUNKS} chunks: choose larger ones");
        return Ok(Outcome::Failed(reason));
    };
    let file = path.clone();
    (context.emit)(&SendEvent::Started { file, bytes });
    let entry = Entry {
        size: bytes,
        mtime_ns: ready.stamp.mtime_ns,
        hash: hex(&ready.hash),
    };
    match send(context, path, ready, (count, chunk_bytes)).await {
        Ok(true) => {
            let file = path.clone();
            let event = SendEvent::Sent {
                file,
                bytes,
                chunks: count,
            };
            let change = Change::Sent(path.clone(), entry, event);
            let queued = context.changes.send(change).await;
            queued.map_err(|_| FilesError::Thread)?;
            Ok(Outcome::Sent)
        }
        Ok(false) => Ok(Outcome::Changed),
        Err(Failure::Read(error)) => Ok(Outcome::Failed(error.to_string())),
        Err(Failure::Send(error)) if error.is_retriable() => Ok(Outcome::Delayed(error.into())),
        Err(Failure::Send(error)) => {
            let used = u32::try_from(bytes).map_or(chunk_bytes, |bytes| bytes.min(chunk_bytes));
            match fitted(used).filter(|_| is_too_large(&error)) {
                Some(smaller) => {
                    let before = context.chunk_bytes.fetch_min(smaller, Ordering::Relaxed);
                    Ok(Outcome::TooLarge(Some(smaller).filter(|it| *it < before)))
                }
                None => Err(kc::Error::from(error).into()),
            }
        }
        Err(Failure::Thread) => Err(FilesError::Thread),
    }
}

fn is_too_large(error: &ProduceError) -> bool {
    matches!(error, ProduceError::Backend(error) if error.kind() == BackendErrorKind::RecordTooLarge)
}

/// Returns a smaller size of a chunk: with what is added to it, it has at most half the bytes, and a power of two, as limits
/// usually are. Returns `None` if no smaller chunk is of use.
fn fitted(bytes: u32) -> Option<u32> {
    let half = bytes.saturating_add(RESERVE) / 2;
    let power = 1_u32.checked_shl(half.checked_ilog2()?)?;
    power
        .checked_sub(RESERVE)
        .filter(|fitted| *fitted >= MIN_FITTED)
}

enum Failure {
    Read(io::Error),
    Send(ProduceError),
    Thread,
}

impl From<FilesError> for Failure {
    fn from(_: FilesError) -> Self {
        Self::Thread
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, FilesError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| FilesError::Thread)
}

/// Looks whether a file is to be sent, and hashes it.
fn look(
    context: &Context,
    path: &FilePath,
    seen: Seen,
    chunk_bytes: u32,
) -> Result<Result<Ready, Outcome>, FilesError> {
    match examine(context, path, seen, chunk_bytes) {
        Ok(examined) => examined,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Err(Outcome::Gone))
        }
        Err(error) => Ok(Err(Outcome::Failed(error.to_string()))),
    }
}

fn examine(
    context: &Context,
    path: &FilePath,
    seen: Seen,
    chunk_bytes: u32,
) -> io::Result<Result<Result<Ready, Outcome>, FilesError>> {
    let file = open(&context.root.join(path.as_str()))?;
    let stamp = Stamp::of(&file)?;
    let known = match context.registry.get(path) {
        Ok(known) => known,
        Err(error) => return Ok(Err(error)),
    };
    let same = |known: &Entry| known.size == stamp.size && known.mtime_ns == stamp.mtime_ns;
    if known.as_ref().is_some_and(same) {
        return Ok(Ok(Err(Outcome::Unchanged)));
    }
    let is_new = |settle| {
        let age = time_of(stamp.mtime_ns).and_then(|it| SystemTime::now().duration_since(it).ok());
        age.is_none_or(|age| age < settle)
    };
    let is_settled = seen == Seen::Closed || seen == Seen::As(stamp);
    if context.settle.is_some_and(is_new) && !is_settled {
        return Ok(Ok(Err(Outcome::Unsettled(stamp))));
    }
    let (hash, content) = if stamp.size <= u64::from(chunk_bytes) {
        let mut content = vec![0; usize::try_from(stamp.size).unwrap_or(usize::MAX)];
        if !read_whole(&file, &mut content, 0)? {
            return Ok(Ok(Err(Outcome::Changed)));
        }
        (Sha512::digest(&content).into(), Some(content))
    } else {
        let (hash, bytes) = hash_while(&file, || !context.stopped.load(Ordering::Relaxed))?;
        if bytes != stamp.size {
            return Ok(Ok(Err(Outcome::Changed)));
        }
        (hash, None)
    };
    if Stamp::of(&file)? != stamp {
        return Ok(Ok(Err(Outcome::Changed)));
    }
    if known.is_some_and(|known| known.hash == hex(&hash)) {
        let entry = Entry {
            size: stamp.size,
            mtime_ns: stamp.mtime_ns,
            hash: hex(&hash),
        };
        let touched = Change::Touched(path.clone(), entry);
        return Ok(match context.changes.blocking_send(touched) {
            Ok(()) => Ok(Err(Outcome::Unchanged)),
            Err(_) => Err(FilesError::Thread),
        });
    }
    let file = Arc::new(file);
    Ok(Ok(Ok(Ready {
        file,
        stamp,
        hash,
        content,
    })))
}

/// Fills a buffer from a place of a file. Returns `false` if the file is too short.
fn read_whole(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, offset) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends the chunks of a file, and waits for the acknowledgements. Returns `false` if the file has changed meanwhile.
async fn send(
    context: &Arc<Context>,
    path: &FilePath,
    mut ready: Ready,
    (count, chunk_bytes): (u32, u32),
) -> Result<bool, Failure> {
    let mut unacknowledged = FuturesUnordered::new();
    let mut hasher = Sha512::new();
    let chunk_bytes = u64::from(chunk_bytes);
    let extras = match context.wire {
        Wire::OpenMsiStream => None,
        Wire::Kc => Some(Extras {
            mode: Some(ready.stamp.mode),
            mtime_ns: Some(ready.stamp.mtime_ns),
            size: Some(ready.stamp.size),
        }),
    };
    for index in 1..=count {
        let offset = u64::from(index - 1) * chunk_bytes;
        let length = chunk_bytes.min(ready.stamp.size - offset);
        let kib = u32::try_from(length.div_ceil(1024)).unwrap_or(u32::MAX);
        let room = Arc::clone(&context.memory).acquire_many_owned(kib);
        let permit = acknowledge_until(context, path, &mut unacknowledged, room).await?;
        let permit = permit.map_err(|_| Failure::Thread)?;
        let part = match ready.content.take() {
            Some(data) => Part {
                data,
                hash: ready.hash,
                hasher,
            },
            None => {
                let file = Arc::clone(&ready.file);
                let reading = blocking(move || read_part(&file, offset, length, hasher));
                let part = acknowledge_until(context, path, &mut unacknowledged, reading).await??;
                match part.map_err(Failure::Read)? {
                    Some(part) => part,
                    None => return Ok(false),
                }
            }
        };
        hasher = part.hasher;
        let chunk = Chunk {
            path: path.clone(),
            file_hash: ready.hash,
            index,
            count,
            offset,
            data: &part.data,
            modified: ready.stamp.mtime_ns as f64 / 1e9,
            extras,
        };
        let record = Record::to(context.topic.as_str())
            .key(chunk.key())
            .value(chunk.encode(&part.hash));
        drop(part.data);
        let queued = context.producer.enqueue(record).await;
        let delivery = queued.map_err(Failure::Send)?;
        unacknowledged.push(acknowledged(delivery, permit, length));
    }
    while let Some(bytes) = unacknowledged.next().await {
        report(context, path, bytes?);
    }
    let file = Arc::clone(&ready.file);
    let after = blocking(move || Stamp::of(&file)).await?;
    let is_same = count == 1 || Hash::from(hasher.finalize()) == ready.hash;
    Ok(is_same && after.map_err(Failure::Read)? == ready.stamp)
}

async fn acknowledged(
    delivery: DeliveryFuture,
    permit: OwnedSemaphorePermit,
    bytes: u64,
) -> Result<u64, Failure> {
    let delivered = delivery.await;
    drop(permit);
    match delivered {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::Send(error.into())),
    }
}

fn report(context: &Context, path: &FilePath, bytes: u64) {
    let file = path.clone();
    (context.emit)(&SendEvent::Progress { file, bytes });
}

/// Waits for `work`, and handles acknowledgements meanwhile, which give memory free.
async fn acknowledge_until<T>(
    context: &Context,
    path: &FilePath,
    unacknowledged: &mut FuturesUnordered<impl Future<Output = Result<u64, Failure>>>,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            Some(bytes) = unacknowledged.next() => report(context, path, bytes?),
        }
    }
}

fn read_part(
    file: &File,
    offset: u64,
    length: u64,
    mut hasher: Sha512,
) -> io::Result<Option<Part>> {
    let mut data = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    if !read_whole(file, &mut data, offset)? {
        return Ok(None);
    }
    hasher.update(&data);
    let hash = Sha512::digest(&data).into();
    Ok(Some(Part { data, hash, hasher }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fitted_chunks_become_smaller_and_leave_room_for_the_envelope() {
        let sizes = std::iter::successors(Some(4 << 20), |bytes| fitted(*bytes));
        let expected = [4096, 2040, 1016, 504, 248, 120, 56, 24, 8].map(|kib| kib << 10);
        assert_eq!(Vec::from_iter(sizes), expected);
        assert_eq!(fitted(u32::MAX), Some((1 << 30) - RESERVE));
        assert_eq!((fitted(0), fitted(8 << 10)), (None, None));
    }
}
