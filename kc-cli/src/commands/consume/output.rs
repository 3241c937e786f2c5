use std::io;
use std::num::NonZeroU64;

use kc::Header;
use kc::OpenedRecord;
use kc::core::backend::Record;
use tokio::io::{AsyncWriteExt, Stdout};

use super::format::Layout;
use crate::error::CliError;
use crate::logging::Progress;

/// Most records that are printed at once.
const MAX_BATCH: usize = 500;

/// Prints records and counts them.
#[derive(Debug)]
pub(super) struct Output {
    stdout: Stdout,
    layout: Layout,
    wanted: Option<NonZeroU64>,
    written: u64,
    buffer: Vec<u8>,
    progress: Progress,
}

/// What is printed of a record.
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

impl<'a> From<&'a OpenedRecord> for Shown<'a> {
    fn from(record: &'a OpenedRecord) -> Self {
        Self {
            topic: &record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &record.headers,
            outcome: record
                .foreign
                .as_ref()
                .map_or("plaintext", |outcome| outcome.name()),
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
        Self {
            stdout: tokio::io::stdout(),
            layout,
            wanted,
            written: 0,
            buffer: Vec::new(),
            progress,
        }
    }

    /// How many records have been printed.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// How many records may be printed next; none if all that were wanted are.
    pub(super) fn room(&self) -> usize {
        let left = self.wanted.map(|wanted| wanted.get() - self.written);
        let left = left.map_or(MAX_BATCH, |left| usize::try_from(left).unwrap_or(MAX_BATCH));
        left.min(MAX_BATCH)
    }

    /// Prints records. False if nobody reads them any more.
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
