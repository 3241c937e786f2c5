use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::error::FilesError;
use crate::event::ReceiveEvent;
use crate::folder::{Folder, OnConflict, Written};
use crate::ledger::{Arrival, FileId, Incomplete, Ledger};
use crate::path::FilePath;
use crate::status::tell;
use crate::undecryptable::{SealedRecord, UndecryptableFolder};
use crate::wire::Chunk;

/// The maximum number of files of which chunks are missing. Further ones are refused.
const MAX_INCOMPLETE: u64 = 10_000;
/// The number of files that are written at the same time, so that the disk makes several durable together.
const WRITERS: usize = 8;

/// The files that arrive in a folder, and what is known of them.
#[derive(Debug)]
pub(super) struct Store {
    folder: Folder,
    ledger: Ledger,
    on_conflict: OnConflict,
    max_file_bytes: u64,
    reserve: u64,
    /// Whether complete files are processed.
    processes: bool,
    /// Where records are kept that cannot be opened.
    undecryptable: Option<UndecryptableFolder>,
}

/// A record that has arrived.
pub(super) struct Message<'a> {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// The value, or the reason why it is not readable.
    pub(super) value: Result<&'a [u8], Unopened<'a>>,
}

/// A record that could not be opened, and the reason.
pub(super) struct Unopened<'a> {
    pub(super) reason: String,
    pub(super) record: SealedRecord<'a>,
}

/// The result of records that are durable.
pub(super) struct Applied {
    pub(super) events: Vec<ReceiveEvent>,
    /// The number of records.
    pub(super) records: usize,
}

/// The chunks of a file that arrived together.
struct Group<'a> {
    file: Incomplete,
    has_part: bool,
    chunks: Vec<(u64, &'a [u8])>,
}

impl Store {
    /// Opens the store of a folder; `limits` are the maximum size of a file, and the bytes that must stay free.
    pub(super) fn open(
        path: &Path,
        on_conflict: OnConflict,
        (max_file_bytes, reserve): (u64, u64),
        processes: bool,
    ) -> Result<Self, FilesError> {
        let folder = Folder::open(path)?;
        let ledger = Ledger::open(path)?;
        folder.clean(&ledger.parts()?)?;
        Ok(Self {
            folder,
            ledger,
            on_conflict,
            max_file_bytes,
            reserve,
            processes,
            undecryptable: None,
        })
    }

    /// Keeps records that cannot be opened in a folder.
    pub(super) fn keeping(self, undecryptable: Option<UndecryptableFolder>) -> Self {
        Self {
            undecryptable,
            ..self
        }
    }

    /// Writes the chunks of records, and returns when they are durable. Ends early after `limit` complete files.
    pub(super) fn apply<'a>(
        &self,
        messages: impl Iterator<Item = Message<'a>>,
        limit: Option<u64>,
    ) -> Result<Applied, FilesError> {
        let mut draft = self.ledger.begin()?;
        let mut events = Vec::new();
        let mut groups: BTreeMap<FileId, Group<'a>> = BTreeMap::new();
        let (mut records, mut complete, mut bytes) = (0, 0, 0);
        for message in messages {
            if limit.is_some_and(|limit| complete >= limit) {
                break;
            }
            records += 1;
            if let (Err(unopened), Some(folder)) = (&message.value, &self.undecryptable) {
                self.require_room(unopened.record.value.len() as u64)?;
                events.push(ReceiveEvent::Kept {
                    partition: message.partition,
                    offset: message.offset,
                    reason: unopened.reason.clone(),
                    saved: folder.store(&unopened.record)?,
                });
                continue;
            }
            let chunk = match self.check(&message, &draft) {
                Ok(Ok((id, chunk))) => {
                    let arrival = draft.add(id, &chunk)?;
                    let Arrival::New { first } = arrival else {
                        continue;
                    };
                    (id, chunk, first)
                }
                Ok(Err(reason)) => {
                    let (partition, offset) = (message.partition, message.offset);
                    draft.refuse(&format!("partition {partition}, offset {offset}"), &reason)?;
                    events.push(ReceiveEvent::Refused {
                        partition,
                        offset,
                        reason,
                    });
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (id, chunk, first) = chunk;
            let Some(file) = draft.file(id).cloned() else {
                continue;
            };
            if first {
                events.push(ReceiveEvent::Started {
                    file: chunk.path.clone(),
                    bytes: chunk.file_bytes(),
                    chunks: chunk.count,
                });
            }
            complete += u64::from(file.is_complete());
            bytes += chunk.data.len() as u64;
            let group = groups.entry(id).or_insert_with(|| Group {
                file: file.clone(),
                has_part: !first,
                chunks: Vec::new(),
            });
            group.file = file;
            group.chunks.push((chunk.offset, chunk.data));
        }
        self.require_room(bytes)?;
        let written = self.write(&groups)?;
        self.folder.sync()?;
        let mut ended = Vec::new();
        for (id, written) in written {
            let Some(group) = groups.get(&id) else {
                continue;
            };
            let file = group.file.path.clone();
            let bytes = group.chunks.iter().map(|(_, data)| data.len() as u64).sum();
            events.push(ReceiveEvent::Progress {
                file: file.clone(),
                bytes,
            });
            let saved = match &written {
                Written::Complete { saved, .. } => Some(saved),
                Written::Present(saved) => saved.as_ref(),
                _ => None,
            };
            // A run that was killed may have written a file that is present without noting that it is to be processed.
            if let Some(saved) = saved.filter(|_| self.processes) {
                draft.leave_to_processor(saved)?;
            }
            let (event, refused) = match written {
                Written::Partial => continue,
                Written::Complete { saved, bytes } => {
                    (ReceiveEvent::Complete { file, saved, bytes }, None)
                }
                Written::Present(_) => (ReceiveEvent::Skipped { file, same: true }, None),
                Written::Dropped => (ReceiveEvent::Skipped { file, same: false }, None),
                Written::Refused(reason) => {
                    let refused = Some(reason.clone());
                    (ReceiveEvent::Failed { file, reason }, refused)
                }
            };
            events.push(event);
            draft.end(id, refused.as_deref())?;
            ended.push(id);
        }
        draft.commit()?;
        for id in ended {
            self.folder.discard(id)?;
        }
        Ok(Applied { events, records })
    }

    /// Parses a record. The inner error is the reason why it is refused.
    fn check<'a>(
        &self,
        message: &Message<'a>,
        draft: &crate::ledger::Draft<'_>,
    ) -> Result<Result<(FileId, Chunk<'a>), String>, FilesError> {
        let value = match &message.value {
            Ok(value) => *value,
            Err(unopened) => return Ok(Err(unopened.reason.clone())),
        };
        let chunk = match Chunk::parse(value) {
            Ok(chunk) => chunk,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if chunk.largest_file() > self.max_file_bytes {
            let (path, size) = (&chunk.path, chunk.largest_file());
            let limit = self.max_file_bytes;
            return Ok(Err(format!(
                "{path} may have {size} bytes, which is more than {limit}"
            )));
        }
        if chunk.count == 1 && chunk.file_hash != sha512(chunk.data) {
            return Ok(Err(format!("{} does not have its hash", chunk.path)));
        }
        let id = FileId::of(&chunk);
        if draft.incomplete() >= MAX_INCOMPLETE && !draft.knows(id)? {
            let reason = format!(
                "{MAX_INCOMPLETE} files have arrived in part: {}",
                chunk.path
            );
            return Ok(Err(reason));
        }
        Ok(Ok((id, chunk)))
    }

    fn require_room(&self, bytes: u64) -> Result<(), FilesError> {
        let free = self.folder.free()?;
        if free < self.reserve.saturating_add(bytes) {
            return Err(FilesError::DiskFull {
                path: self.folder.path().to_owned(),
                free,
                reserve: self.reserve,
            });
        }
        Ok(())
    }

    /// Writes groups, several at the same time.
    fn write(
        &self,
        groups: &BTreeMap<FileId, Group<'_>>,
    ) -> Result<Vec<(FileId, Written)>, FilesError> {
        let next = Mutex::new(groups.iter());
        let done = Mutex::new(Vec::with_capacity(groups.len()));
        let work = || {
            loop {
                let group = next.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((id, group)) = group else {
                    return;
                };
                let written = self.folder.write(
                    *id,
                    &group.file,
                    &group.chunks,
                    group.has_part,
                    self.on_conflict,
                );
                let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                done.push(written.map(|written| (*id, written)));
            }
        };
        thread::scope(|scope| {
            for _ in 1..groups.len().min(WRITERS) {
                // This thread does the work of a thread that cannot be started.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
        let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.into_iter().collect()
    }

    pub(super) fn tell(&self, folder: &Path) -> Result<(), FilesError> {
        tell(folder, "receive", &self.ledger.status()?);
        Ok(())
    }

    /// Returns a file that is complete and not yet processed. `done` is one that was processed.
    pub(super) fn next_to_process(
        &self,
        done: Option<&FilePath>,
    ) -> Result<Option<FilePath>, FilesError> {
        if let Some(done) = done {
            let draft = self.ledger.begin()?;
            draft.processed(done)?;
            draft.commit()?;
        }
        self.ledger.unprocessed()
    }

    pub(super) fn incomplete(&self) -> Result<u64, FilesError> {
        Ok(self.ledger.begin()?.incomplete())
    }
}

fn sha512(data: &[u8]) -> [u8; 64] {
    use sha2::{Digest, Sha512};
    Sha512::digest(data).into()
}

#[cfg(test)]
mod tests;
