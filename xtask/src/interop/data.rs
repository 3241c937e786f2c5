//! The messages that all programs send, and their digests.

use std::fmt::Write as _;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Messages that are sent one after the other. Every driver of a peer makes the same bytes of the same batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// The beginning of the keys.
    pub(super) seed: &'static str,
    pub(super) count: usize,
    /// The length of most values, in bytes. Others are four times as long, or of one byte, empty, or null.
    pub(super) size: usize,
}

/// A message: a key and a value.
type Message = (Option<Vec<u8>>, Option<Vec<u8>>);

/// The messages that a program has read, or should read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) count: usize,
    /// The SHA-256 over the sorted messages.
    pub(super) digest: String,
}

impl Batch {
    fn messages(self) -> impl Iterator<Item = Message> {
        (0..self.count).map(move |i| {
            let key = format!("{}-{i:08}", self.seed).into_bytes();
            (
                Some(key),
                self.length(i).map(|length| self.bytes(i, length)),
            )
        })
    }

    fn length(self, i: usize) -> Option<usize> {
        if i % 50 == 49 {
            return None;
        }
        Some(match i % 10 {
            3 => 1,
            5 => 0,
            7 => 4 * self.size,
            _ => self.size,
        })
    }

    fn bytes(self, i: usize, length: usize) -> Vec<u8> {
        let blocks = (0..length.div_ceil(32))
            .flat_map(|j| Sha256::digest(format!("{}:{i}:{j}", self.seed)).to_vec());
        blocks.take(length).collect()
    }

    /// Returns the messages as `kc produce --format json` reads them.
    pub(super) fn lines(self) -> String {
        self.messages()
            .fold(String::new(), |mut lines, (key, value)| {
                let [key, value] = [key, value].map(|part| part.map(|part| STANDARD.encode(part)));
                // A write to memory cannot fail.
                let _ = writeln!(lines, "{}", json!({ "key": key, "value": value }));
                lines
            })
    }
}

impl Report {
    /// Returns the report of a program that has read all messages of these batches.
    pub(super) fn of(batches: &[Batch]) -> Self {
        Self::of_messages(batches.iter().flat_map(|batch| batch.messages()))
    }

    /// Returns the same report with empty values in place of nulls.
    pub(super) fn with_empty_nulls(batches: &[Batch]) -> Self {
        let messages = batches.iter().flat_map(|batch| batch.messages());
        let messages = messages.map(|(key, value)| (key, Some(value.unwrap_or_default())));
        Self::of_messages(messages)
    }

    fn of_messages(messages: impl Iterator<Item = Message>) -> Self {
        let mut encoded: Vec<_> = messages
            .map(|(key, value)| [encode(key), encode(value)].concat())
            .collect();
        encoded.sort();
        let digest = encoded.iter().fold(Sha256::new(), |digest, message| {
            digest.chain_update(message)
        });
        let digest = digest.finalize();
        Self {
            count: encoded.len(),
            digest: hex::encode(digest),
        }
    }

    /// Returns the report for the output of `kc consume --json`.
    pub(super) fn of_lines(lines: &[String]) -> anyhow::Result<Self> {
        let messages = lines.iter().map(|line| {
            let record: Value = serde_json::from_str(line).with_context(|| line.clone())?;
            let part = |name: &str| match record.get(name) {
                Some(Value::String(text)) => Ok(Some(STANDARD.decode(text)?)),
                Some(Value::Null) => Ok(None),
                other => anyhow::bail!("{name} is {other:?}"),
            };
            Ok((part("key")?, part("value")?))
        });
        let messages = messages.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Self::of_messages(messages.into_iter()))
    }

    /// Parses a line of a peer; returns `None` if it is something else.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let report: Value = serde_json::from_str(line).ok()?;
        Some(Self {
            count: usize::try_from(report.get("count")?.as_u64()?).ok()?,
            digest: report.get("sha256")?.as_str()?.to_owned(),
        })
    }
}

/// Encodes a key or a value for the digest.
fn encode(part: Option<Vec<u8>>) -> Vec<u8> {
    match part {
        None => b"N".to_vec(),
        Some(part) => [b"B", &(part.len() as u64).to_be_bytes()[..], &part].concat(),
    }
}
