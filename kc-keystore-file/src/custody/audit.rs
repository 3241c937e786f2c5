use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kc_core::custody::Given;
use kc_core::store::{KeyStore, StoreError, StoreErrorKind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{IN_USE_ADVICE, folder};
use crate::FileError;

/// The maximum length of a line, in bytes, without the line feed.
pub(super) const MAX_LINE: usize = 1 << 20;
/// The number of entries after which a checkpoint follows.
const ENTRIES_PER_CHECKPOINT: u64 = 100;
/// The maximum number of ids in one entry. The ids of more keys are logged in several entries.
const IDS_PER_ENTRY: usize = 4_000;

/// The value of `previous` in the first line.
pub(super) const NO_LINE: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A line about keys that were given to a node.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) at: String,
    root_topic: String,
    ids: Vec<String>,
    requester: String,
    root: String,
    pub(super) previous: String,
}

/// A line that signs the lines before it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checkpoint {
    /// The number of entries before this line.
    pub(super) checkpoint: u64,
    /// The time of the last of them.
    pub(super) at: String,
    pub(super) previous: String,
    pub(super) key: String,
    pub(super) signature: String,
}

impl Checkpoint {
    /// Returns whether a line is a checkpoint. Any other line is an entry.
    pub(super) fn is_at(line: &[u8]) -> bool {
        line.starts_with(b"{\"checkpoint\":")
    }
}

/// Returns the hash of a line as the next line contains it.
pub(super) fn hash_of(line: &[u8]) -> String {
    let hash = Sha256::digest(line);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a log line by line.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
}

/// A step of [`Lines`].
pub(super) enum Line<'a> {
    Whole(&'a [u8]),
    /// The log ends without a line feed.
    Torn,
    TooLong,
    End,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(log: R) -> Self {
        Self {
            reader: BufReader::new(log),
            line: Vec::new(),
        }
    }

    pub(super) fn next(&mut self) -> io::Result<Line<'_>> {
        self.line.clear();
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX) + 1;
        let mut reader = self.reader.by_ref().take(limit);
        let len = reader.read_until(b'\n', &mut self.line)?;
        Ok(match self.line.strip_suffix(b"\n") {
            Some(line) => Line::Whole(line),
            None if len == 0 => Line::End,
            None if len > MAX_LINE => Line::TooLong,
            None => Line::Torn,
        })
    }
}

/// The audit log, open and locked.
pub(super) struct AuditLog {
    path: PathBuf,
    file: File,
    keystore: Arc<dyn KeyStore>,
    state: State,
    /// False if a line may have been written in part.
    is_whole: bool,
}

struct State {
    /// The length of all whole lines, in bytes.
    len: u64,
    entries: u64,
    /// The number of entries after the last checkpoint.
    unsigned: u64,
    /// The time of the last entry.
    at: String,
    /// The hash of the last line.
    last: String,
}

impl AuditLog {
    /// Opens and locks the log, or creates it. Removes a line that a crash left incomplete.
    pub(super) fn open(path: PathBuf, keystore: Arc<dyn KeyStore>) -> Result<Self, StoreError> {
        let failed = |source| FileError::new("open", &path, source);
        let mut options = OpenOptions::new();
        folder::private(options.read(true).append(true).create(true));
        let file = options.open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let context = format!("lock {}", path.display());
                let error = StoreError::new(StoreErrorKind::InUse, context);
                return Err(error.with_advice(IN_USE_ADVICE));
            }
            Err(TryLockError::Error(source)) => return Err(failed(source).into()),
        }
        if let Some(parent) = path.parent() {
            folder::flush(parent)?;
        }
        let state = State::read(&path, &file)?;
        let len = file.metadata().map_err(failed)?.len();
        if len > state.len {
            file.set_len(state.len).map_err(failed)?;
            file.sync_data().map_err(failed)?;
            let removed = len - state.len;
            tracing::warn!(path = %path.display(), removed, "incomplete last line of the audit log removed");
        }
        Ok(Self {
            path,
            file,
            keystore,
            state,
            is_whole: true,
        })
    }

    /// Adds an entry durably, and a checkpoint if it is due.
    pub(super) fn log(&mut self, given: &Given) -> Result<(), StoreError> {
        let at = given.at.to_string();
        let ids: Vec<_> = given.ids.iter().map(ToString::to_string).collect();
        // At least one entry is written, even without an id.
        for ids in ids
            .chunks(IDS_PER_ENTRY)
            .chain(ids.is_empty().then_some(&[][..]))
        {
            self.append(&Entry {
                at: at.clone(),
                root_topic: given.root_topic.to_string(),
                ids: ids.to_vec(),
                requester: given.requester.fingerprint(),
                root: given.root.fingerprint(),
                previous: self.state.last.clone(),
            })?;
            self.state.entries += 1;
            self.state.unsigned += 1;
            self.state.at.clone_from(&at);
            if self.state.unsigned >= ENTRIES_PER_CHECKPOINT {
                self.sign()?;
            }
        }
        Ok(())
    }

    /// Adds a checkpoint durably.
    fn sign(&mut self) -> Result<(), StoreError> {
        let hash = self.state.last.clone();
        let no_key =
            || StoreError::new(StoreErrorKind::Missing, "find a key to sign the audit log");
        let keys = self.keystore.verifying_keys();
        let key = keys.first().ok_or_else(no_key)?;
        let signed = self.keystore.sign(key, hash.as_bytes())?;
        let signature = signed.strip_suffix(hash.as_bytes()).unwrap_or(&signed);
        self.append(&Checkpoint {
            checkpoint: self.state.entries,
            at: self.state.at.clone(),
            previous: hash,
            key: STANDARD.encode(key.to_bytes()),
            signature: STANDARD.encode(signature),
        })?;
        self.state.unsigned = 0;
        Ok(())
    }

    fn append(&mut self, line: &impl Serialize) -> Result<(), StoreError> {
        let context = || format!("write {}", self.path.display());
        let other = |source| StoreError::new(StoreErrorKind::Other, context()).with_source(source);
        let mut bytes = serde_json::to_vec(line).map_err(|error| other(error.to_string()))?;
        if bytes.len() > MAX_LINE {
            return Err(other("an entry is too long".to_owned()));
        }
        let failed = |source| FileError::new("write", &self.path, source);
        if !folder::is_at(&self.path, &self.file).map_err(failed)? {
            let error = StoreError::new(StoreErrorKind::Missing, context());
            return Err(error.with_advice(
                "the audit log was moved or deleted while it was open: restart the custodian",
            ));
        }
        if !self.is_whole {
            self.file.set_len(self.state.len).map_err(failed)?;
        }
        let hash = hash_of(&bytes);
        bytes.push(b'\n');
        self.is_whole = false;
        self.file.write_all(&bytes).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        self.is_whole = true;
        self.state.len += u64::try_from(bytes.len()).unwrap_or(0);
        self.state.last = hash;
        Ok(())
    }
}

impl Drop for AuditLog {
    /// Signs the entries after the last checkpoint.
    fn drop(&mut self) {
        if self.state.unsigned > 0
            && let Err(error) = self.sign()
        {
            let error = kc_core::text::with_sources(&error);
            tracing::warn!(path = %self.path.display(), error, "last entries of the audit log are not signed");
        }
    }
}

impl State {
    fn read(path: &Path, file: &File) -> Result<Self, StoreError> {
        let malformed = |problem: String| {
            let context = format!("read the audit log {}", path.display());
            StoreError::new(StoreErrorKind::Malformed, context).with_source(problem)
        };
        let mut state = Self {
            len: 0,
            entries: 0,
            unsigned: 0,
            at: String::new(),
            last: NO_LINE.to_owned(),
        };
        let (mut lines, mut last, mut last_entry) = (Lines::new(file), Vec::new(), Vec::new());
        loop {
            match lines
                .next()
                .map_err(|source| FileError::new("read", path, source))?
            {
                Line::Whole(line) => {
                    state.len += u64::try_from(line.len()).unwrap_or(0) + 1;
                    last.clear();
                    last.extend_from_slice(line);
                    if Checkpoint::is_at(line) {
                        state.unsigned = 0;
                    } else {
                        state.entries += 1;
                        state.unsigned += 1;
                        std::mem::swap(&mut last, &mut last_entry);
                        last.clone_from(&last_entry);
                    }
                }
                Line::Torn | Line::End => break,
                Line::TooLong => return Err(malformed("a line is too long".to_owned())),
            }
        }
        if state.len > 0 {
            state.last = hash_of(&last);
        }
        if state.entries > 0 {
            let entry = serde_json::from_slice::<Entry>(&last_entry);
            state.at = entry
                .map_err(|error| malformed(format!("last entry: {error}")))?
                .at;
        }
        Ok(state)
    }
}

#[cfg(test)]
impl AuditLog {
    /// Leaves a part of a line, as a write does that fails because the disk is full.
    pub(super) fn fail_to_write(&mut self) {
        self.file.write_all(b"{\"at\":").unwrap();
        self.is_whole = false;
    }
}
