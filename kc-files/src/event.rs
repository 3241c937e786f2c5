use serde::Serialize;

use crate::path::FilePath;

/// What happens to the files of a [`FileSender`](crate::FileSender). As JSON, an event is an object whose `event` is the
/// name of the variant in kebab-case.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SendEvent {
    /// A file is to be sent.
    Started {
        /// The file.
        file: FilePath,
        /// Its size in bytes.
        bytes: u64,
    },
    /// The broker has acknowledged a chunk.
    Progress {
        /// The file.
        file: FilePath,
        /// The size of the chunk in bytes.
        bytes: u64,
    },
    /// The broker has acknowledged all chunks of a file, and the registry has the file.
    Sent {
        /// The file.
        file: FilePath,
        /// Its size in bytes.
        bytes: u64,
        /// The number of its chunks.
        chunks: u32,
    },
    /// A file was sent earlier, and has not changed since.
    Unchanged {
        /// The file.
        file: FilePath,
    },
    /// A file changed while it was sent. It is sent again, once it no longer changes.
    Changed {
        /// The file.
        file: FilePath,
    },
    /// A file cannot be sent. In a watched folder, it is tried again when it changes.
    Failed {
        /// The path, as far as it is readable.
        file: String,
        /// The reason.
        reason: String,
    },
    /// A record was too large. Its file, and those that follow, are sent in smaller chunks.
    Fitted {
        /// The size of a chunk in bytes.
        chunk_bytes: u32,
    },
    /// The broker does not take records at present. The sender tries again.
    Delayed {
        /// The reason.
        reason: String,
    },
}

/// What happens to the files of a [`FileReceiver`](crate::FileReceiver). As JSON, an event is an object whose `event` is
/// the name of the variant in kebab-case.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ReceiveEvent {
    /// The first chunk of a file has arrived.
    Started {
        /// The file.
        file: FilePath,
        /// The size of the file in bytes; at most a chunk more if the chunk that has arrived does not say it.
        bytes: u64,
        /// The number of its chunks.
        chunks: u32,
    },
    /// Chunks of a file are durable on disk.
    Progress {
        /// The file.
        file: FilePath,
        /// The size of the chunks in bytes.
        bytes: u64,
    },
    /// A file is complete: its hash is right, and it has its name.
    Complete {
        /// The file, as its sender names it.
        file: FilePath,
        /// The file, as it is named in the folder. Differs from `file` if another file had the name.
        saved: FilePath,
        /// Its size in bytes.
        bytes: u64,
    },
    /// A file is complete, but not written, because the folder has a file of the same name and content, or because of
    /// [`OnConflict::Skip`](crate::OnConflict::Skip).
    Skipped {
        /// The file.
        file: FilePath,
        /// Whether the file in the folder has the same content.
        same: bool,
    },
    /// A file is refused or cannot be completed. Its chunks are dropped.
    Failed {
        /// The file.
        file: FilePath,
        /// The reason.
        reason: String,
    },
    /// A record is not a chunk of a file that may be written. It is acknowledged and left out.
    Refused {
        /// The partition of the record.
        partition: i32,
        /// The offset of the record.
        offset: i64,
        /// The reason.
        reason: String,
    },
    /// A record could not be opened, and is kept in the folder of
    /// [`FileReceiver::undecryptable_folder`](crate::FileReceiver::undecryptable_folder). It is acknowledged.
    Kept {
        /// The partition of the record.
        partition: i32,
        /// The offset of the record.
        offset: i64,
        /// The reason.
        reason: String,
        /// What the names of the record's files have in common.
        saved: String,
    },
}

/// What happens to the records of a [`Reproducer`](crate::Reproducer). As JSON, an event is an object whose `event` is the
/// name of the variant in kebab-case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ReproduceEvent {
    /// The broker has acknowledged a record.
    Reproduced {
        /// The name of the file with the value.
        file: String,
        /// The size of the sealed value in bytes.
        bytes: u64,
    },
    /// A file is not a record that may be sent.
    LeftOut {
        /// The name of the file, as far as it is readable.
        file: String,
        /// The reason.
        reason: String,
    },
}
