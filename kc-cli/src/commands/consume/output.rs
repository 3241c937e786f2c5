//! The records on stdout.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

use kc::core::backend::Record;
use kc::{ConsumerRecord, Header, OpenFailure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncWriteExt, Stdout};

use super::format::Layout;
use crate::error::CliError;
use crate::logging::Progress;

/// The largest number of records that are printed at once.
const MAX_BATCH: usize = 500;

/// Prints records and counts them.
#[derive(Debug)]
pub(super) struct Output {
    stdout: Stdout,
    is_pipe: bool,
    layout: Layout,
    wanted: Option<NonZeroU64>,
    written: u64,
    /// The number of printed bytes.
    bytes: u64,
    /// The largest number of records in the next write. For a pipe, this number is 1 at first and doubles with each
    /// write: a reader such as `head` may end after a few records, and the last record that the reader took must be
    /// known.
    batch: usize,
    buffer: Vec<u8>,
    progress: Progress,
}

/// The parts of a record that can be printed.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp: Option<i64>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [Header],
    pub(super) outcome: &'static str,
}

impl<'a> From<&'a ConsumerRecord> for Shown<'a> {
    fn from(record: &'a ConsumerRecord) -> Self {
        Self {
            topic: record.topic(),
            partition: record.partition(),
            offset: record.offset(),
            timestamp: record.timestamp(),
            key: record.key(),
            value: (!record.is_null()).then(|| record.value()),
            headers: record.headers(),
            outcome: record.failure().map_or("plaintext", OpenFailure::name),
        }
    }
}

impl<'a> From<&'a Record> for Shown<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &record.headers,
            outcome: "raw",
        }
    }
}

impl Output {
    pub(super) fn new(layout: Layout, wanted: Option<NonZeroU64>, progress: Progress) -> Self {
        let stdout = tokio::io::stdout();
        let is_pipe = is_pipe(&stdout).unwrap_or_default();
        Self {
            stdout,
            is_pipe,
            layout,
            wanted,
            written: 0,
            bytes: 0,
            batch: if is_pipe { 1 } else { MAX_BATCH },
            buffer: Vec::new(),
            progress,
        }
    }

    /// Returns the number of printed records.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Returns the number of printed bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the number of printed bytes that the reader has taken; bytes that are still in a pipe do not count.
    pub(super) fn read(&self) -> u64 {
        if !self.is_pipe {
            return self.bytes;
        }
        let unread = rustix::io::ioctl_fionread(&self.stdout).unwrap_or(0);
        self.bytes.saturating_sub(unread)
    }

    /// Returns whether stdout is a pipe whose reader is gone.
    pub(super) fn is_deserted(&self) -> bool {
        let mut pipe = [PollFd::new(&self.stdout, PollFlags::empty())];
        let polled = poll(&mut pipe, Some(&Timespec::default()));
        let [pipe] = pipe;
        self.is_pipe && polled.is_ok() && pipe.revents().contains(PollFlags::ERR)
    }

    /// Returns the largest number of records for the next write; 0 if all wanted records are printed.
    pub(super) fn room(&self) -> usize {
        let left = self.wanted.map(|wanted| wanted.get() - self.written);
        let left = left.map_or(MAX_BATCH, |left| usize::try_from(left).unwrap_or(MAX_BATCH));
        left.min(self.batch)
    }

    /// Returns whether all wanted records are printed.
    pub(super) fn is_done(&self) -> bool {
        self.wanted
            .is_some_and(|wanted| self.written >= wanted.get())
    }

    /// Prints records. Returns false if the reader of stdout is gone.
    pub(super) async fn write<'a>(
        &mut self,
        records: impl ExactSizeIterator<Item = Shown<'a>>,
    ) -> Result<bool, CliError> {
        let count = records.len();
        self.buffer.clear();
        for record in records {
            self.layout.write(&record, &mut self.buffer)?;
        }
        let printed = async {
            self.stdout.write_all(&self.buffer).await?;
            self.stdout.flush().await
        };
        match printed.await {
            Ok(()) => {
                self.written = self.written.saturating_add(count as u64);
                self.bytes = self.bytes.saturating_add(self.buffer.len() as u64);
                self.batch = (2 * self.batch).min(MAX_BATCH);
                self.progress.advance(count, self.buffer.len());
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(CliError::failure(format!(
                "cannot write to stdout: {error}"
            ))),
        }
    }
}

fn is_pipe(stdout: &Stdout) -> io::Result<bool> {
    let stdout = File::from(stdout.as_fd().try_clone_to_owned()?);
    Ok(stdout.metadata()?.file_type().is_fifo())
}
