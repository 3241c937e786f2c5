use std::io;
use std::num::NonZeroU64;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kc::Header;
use kc::OpenedRecord;
use kc::core::backend::Record;
use serde::Serialize;
use tokio::io::{AsyncWriteExt, Stdout};

use super::Format;
use crate::error::CliError;
use crate::ui::harmless;

/// Most records that are printed at once.
const MAX_BATCH: usize = 500;

/// Prints records and counts them.
#[derive(Debug)]
pub(super) struct Output {
    stdout: Stdout,
    format: Format,
    wanted: Option<NonZeroU64>,
    written: u64,
    buffer: Vec<u8>,
}

/// What is printed of a record.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    key: Option<&'a [u8]>,
    value: Option<&'a [u8]>,
    headers: &'a [Header],
    outcome: &'static str,
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
    pub(super) fn new(format: Format, wanted: Option<NonZeroU64>) -> Self {
        Self {
            stdout: tokio::io::stdout(),
            format,
            wanted,
            written: 0,
            buffer: Vec::new(),
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
            match self.format {
                Format::Text => self.buffer.extend(record.value.unwrap_or_default()),
                Format::Json => {
                    let line = serde_json::to_string(&Line::from(record));
                    let line = line.map_err(CliError::from_error)?;
                    self.buffer.extend(harmless(&line).as_bytes());
                }
            }
            self.buffer.push(b'\n');
        }
        let printed = async {
            self.stdout.write_all(&self.buffer).await?;
            self.stdout.flush().await
        };
        match printed.await {
            Ok(()) => {
                self.written = self.written.saturating_add(count as u64);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(CliError::failure(format!(
                "cannot write to stdout: {error}"
            ))),
        }
    }
}

/// A line of JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    topic: &'a str,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<HeaderLine<'a>>,
    outcome: &'static str,
}

#[derive(Debug, Serialize)]
struct HeaderLine<'a> {
    name: &'a str,
    value: Option<String>,
}

impl<'a> From<Shown<'a>> for Line<'a> {
    fn from(record: Shown<'a>) -> Self {
        let encode = |bytes: &[u8]| BASE64.encode(bytes);
        let header = |header: &'a Header| HeaderLine {
            name: &header.name,
            value: header.value.as_deref().map(encode),
        };
        Self {
            topic: record.topic,
            partition: record.partition,
            offset: record.offset,
            timestamp: record.timestamp,
            key: record.key.map(encode),
            value: record.value.map(encode),
            headers: record.headers.iter().map(header).collect(),
            outcome: record.outcome,
        }
    }
}
