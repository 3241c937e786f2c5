use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kc_core::keys::VerifyingKey;
use thiserror::Error;

use super::audit::{Checkpoint, Entry, Line, Lines, MAX_LINE, NO_LINE, hash_of};

/// What [`verify_audit`] found in an audit log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// The number of entries.
    pub entries: u64,
    /// The number of checkpoints.
    pub checkpoints: u64,
    /// The number of entries after the last checkpoint. They are not signed, so that an alteration is not detected.
    pub unsigned: u64,
}

/// An audit log cannot be read, or is not as the custodian wrote it. Lines count from 1.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The log cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The path of the log.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A line is longer than 1 MiB.
    #[error("line {line} is longer than {MAX_LINE} bytes")]
    TooLong {
        /// The number of the line.
        line: u64,
    },
    /// The last line has no line feed: a crash interrupted its writing, or it is being written.
    #[error("line {line} is incomplete; the custodian removes it at its next start")]
    Incomplete {
        /// The number of the line.
        line: u64,
    },
    /// A line is neither an entry nor a checkpoint.
    #[error("line {line} is malformed")]
    Malformed {
        /// The number of the line.
        line: u64,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A line does not contain the hash of the line before it: one of the two was altered, or lines between them were
    /// removed, inserted or moved.
    #[error(
        "line {line} does not follow the line before it: lines were altered, removed, inserted or moved"
    )]
    Chain {
        /// The number of the line.
        line: u64,
    },
    /// A checkpoint names a wrong number of entries or a wrong time.
    #[error("the checkpoint in line {line} does not match the {entries} entries before it")]
    Checkpoint {
        /// The number of the line.
        line: u64,
        /// The number of entries before the line.
        entries: u64,
    },
    /// A checkpoint is signed with a key that is not among the custodian's keys.
    #[error("the checkpoint in line {line} is signed with an unknown key")]
    UnknownKey {
        /// The number of the line.
        line: u64,
    },
    /// The signature of a checkpoint does not verify.
    #[error("the signature of the checkpoint in line {line} does not verify")]
    Signature {
        /// The number of the line.
        line: u64,
    },
}

/// Checks the audit log of a custodian. `keys` are the verifying keys that the custodian has had.
///
/// Each line of the log is a JSON object. An entry names the keys that were about to be given to a node:
/// `at` (ISO 8601), `root_topic`, `ids`, `requester` (the [fingerprint](VerifyingKey::fingerprint) of the key that
/// signed the request) and `root` (the fingerprint of its root of trust). A checkpoint follows after each 100 entries
/// and when the store closes: `checkpoint` (the number of entries so far), `at` (the time of the last of them), `key`
/// (the custodian's verifying key, in Base64) and `signature` (in Base64). Both kinds contain `previous`: the SHA-256
/// of the line before, without the line feed, in hexadecimal, or 64 zeros in the first line. The signature is that of
/// the text of `previous`.
///
/// A signed line that was altered, removed, inserted or moved is detected. If the end of a log was removed, this is
/// detected only by the numbers in the report: compare them with those of an earlier check.
///
/// Reads the log line by line, up to 1 MiB each. Verifies one signature for each checkpoint.
///
/// # Errors
/// Returns the first [`AuditError`] in the log.
pub fn verify_audit(path: &Path, keys: &[VerifyingKey]) -> Result<AuditReport, AuditError> {
    let failed = |source| AuditError::Read {
        path: path.to_owned(),
        source,
    };
    let mut lines = Lines::new(File::open(path).map_err(failed)?);
    let mut report = AuditReport::default();
    let (mut last, mut at) = (NO_LINE.to_owned(), String::new());
    for line in 1.. {
        let text = match lines.next().map_err(failed)? {
            Line::Whole(text) => text,
            Line::End => break,
            Line::Torn => return Err(AuditError::Incomplete { line }),
            Line::TooLong => return Err(AuditError::TooLong { line }),
        };
        let malformed = |source: serde_json::Error| AuditError::Malformed {
            line,
            source: source.into(),
        };
        if Checkpoint::is_at(text) {
            let checkpoint: Checkpoint = serde_json::from_slice(text).map_err(malformed)?;
            follows(line, &last, &checkpoint.previous)?;
            let entries = report.entries;
            if (checkpoint.checkpoint, &checkpoint.at) != (entries, &at) {
                return Err(AuditError::Checkpoint { line, entries });
            }
            verify(line, &checkpoint, keys)?;
            report.checkpoints += 1;
            report.unsigned = 0;
        } else {
            let entry: Entry = serde_json::from_slice(text).map_err(malformed)?;
            follows(line, &last, &entry.previous)?;
            at = entry.at;
            report.entries += 1;
            report.unsigned += 1;
        }
        last = hash_of(text);
    }
    Ok(report)
}

fn follows(line: u64, last: &str, previous: &str) -> Result<(), AuditError> {
    match last == previous {
        true => Ok(()),
        false => Err(AuditError::Chain { line }),
    }
}

fn verify(line: u64, checkpoint: &Checkpoint, keys: &[VerifyingKey]) -> Result<(), AuditError> {
    let decode = |text: &str| {
        STANDARD
            .decode(text)
            .map_err(|error| AuditError::Malformed {
                line,
                source: error.into(),
            })
    };
    let key = decode(&checkpoint.key)?;
    let known = keys.iter().find(|known| known.to_bytes() == key);
    let key = known.ok_or(AuditError::UnknownKey { line })?;
    let message = checkpoint.previous.as_bytes();
    let signed = [&decode(&checkpoint.signature)?, message].concat();
    match key.verify(&signed) {
        Ok(signed) if signed == message => Ok(()),
        _ => Err(AuditError::Signature { line }),
    }
}
