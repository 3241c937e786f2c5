use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::FilesError;
use crate::scan::open;
use crate::wire::MAX_CHUNK_BYTES;

const PREFIX: &str = "encrypted_message_from_";
const PRODUCED: &str = "_produced_";
const KEY: &str = "_key.bin";
const VALUE: &str = "_value.bin";
/// The form of a time in a name; each `0` stands for a digit.
const TIME: &str = "0000-00-00_00-00-00.000000";
/// The last time in milliseconds whose year has four digits.
const LAST_TIME: i64 = 253_402_300_000_000;
/// The number of names that are tried for a record, a millisecond apart.
const MAX_NAMES: u64 = 10_000;
/// The maximum size of a stored key, in bytes.
pub(crate) const MAX_KEY_BYTES: u64 = 64 << 10;
/// The maximum size of a stored value, in bytes: a chunk with its names and its envelope.
pub(crate) const MAX_VALUE_BYTES: u64 = MAX_CHUNK_BYTES as u64 + (64 << 10);

/// A record that could not be opened, as the broker has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SealedRecord<'a> {
    pub(crate) topic: &'a str,
    pub(crate) offset: i64,
    /// The time of the record, in milliseconds since the Unix epoch.
    pub(crate) timestamp: Option<i64>,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: &'a [u8],
}

/// A folder of records that could not be opened, two files each, as OpenMSIStream names them:
/// `encrypted_message_from_<topic>_produced_<time>_key.bin` and `..._value.bin`. The time is in UTC. A record without a
/// Kafka key has one file.
#[derive(Debug)]
pub(crate) struct UndecryptableFolder {
    path: PathBuf,
}

impl UndecryptableFolder {
    /// Opens a folder, and creates it if it does not exist.
    pub(crate) fn open(path: &Path) -> Result<Self, FilesError> {
        fs::create_dir_all(path).map_err(|error| FilesError::io("create", path, error))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Stores a record, and returns the common part of the names of its files when they are durable. A record that is
    /// stored already is not stored again.
    pub(crate) fn store(&self, record: &SealedRecord<'_>) -> Result<String, FilesError> {
        let failed = |error| FilesError::io("write", &self.path, error);
        let time = record.timestamp.unwrap_or_default().clamp(0, LAST_TIME);
        // Records of the same millisecond differ in the digits that Kafka's times do not have.
        let first = time.unsigned_abs() * 1000 + record.offset.unsigned_abs() % 1000;
        for number in 0..MAX_NAMES {
            let stem = stem(record.topic, first + 1000 * number);
            if self.put_pair(&stem, record).map_err(failed)? {
                let folder = File::open(&self.path).map_err(failed)?;
                folder.sync_all().map_err(failed)?;
                return Ok(stem);
            }
        }
        Err(failed(io::Error::other(
            "too many records of the same time",
        )))
    }

    /// Returns `false` if the name belongs to another record. The key is written first: a value without a key is that of
    /// a record without a key.
    fn put_pair(&self, stem: &str, record: &SealedRecord<'_>) -> io::Result<bool> {
        let (key, value) = (format!("{stem}{KEY}"), format!("{stem}{VALUE}"));
        let has_key = self.path.join(&key).try_exists()?;
        let is_free = match record.key {
            Some(_) if !has_key && self.path.join(&value).try_exists()? => false,
            Some(content) => self.put(&key, content)?,
            None => !has_key,
        };
        Ok(is_free && self.put(&value, record.value)?)
    }

    /// Writes a file, unless it is there. Returns `false` if a file with other content is there.
    fn put(&self, name: &str, content: &[u8]) -> io::Result<bool> {
        let path = self.path.join(name);
        let unfinished = self.path.join(format!(".{name}.new"));
        match open(&path) {
            Ok(file) => {
                return Ok(read_bounded(file, content.len() as u64)?.as_deref() == Some(content));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = File::options();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        Ok(true)
    }
}

/// Returns the common part of the names of a record's files. `time` is in microseconds since the Unix epoch.
fn stem(topic: &str, time: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_micros(time);
    let text = humantime::format_rfc3339_micros(time).to_string();
    let text = text.trim_end_matches('Z');
    format!(
        "{PREFIX}{topic}{PRODUCED}{}",
        text.replace('T', "_").replace(':', "-")
    )
}

/// What the name of a file says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named<'a> {
    /// The value of a record from this topic. The key is in the file with the second name.
    Value(&'a str, String),
    /// The key of a record. The value is in the file with this name.
    Key(String),
    /// No part of a record.
    Other,
}

/// Parses the name of a file.
pub(crate) fn parse_name(name: &str) -> Named<'_> {
    let (stem, is_value) = match (name.strip_suffix(VALUE), name.strip_suffix(KEY)) {
        (Some(stem), _) => (stem, true),
        (None, Some(stem)) => (stem, false),
        (None, None) => return Named::Other,
    };
    let parts = stem
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.rsplit_once(PRODUCED));
    match parts {
        Some((topic, time)) if !topic.is_empty() && is_time(time) => match is_value {
            true => Named::Value(topic, format!("{stem}{KEY}")),
            false => Named::Key(format!("{stem}{VALUE}")),
        },
        _ => Named::Other,
    }
}

fn is_time(text: &str) -> bool {
    let fits = |(letter, form): (char, char)| match form {
        '0' => letter.is_ascii_digit(),
        form => letter == form,
    };
    text.len() == TIME.len() && text.chars().zip(TIME.chars()).all(fits)
}

/// Reads a file as a whole; returns `None` if it has more than `most` bytes.
pub(crate) fn read_bounded(file: File, most: u64) -> io::Result<Option<Vec<u8>>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = Vec::new();
    file.take(most.saturating_add(1))
        .read_to_end(&mut content)?;
    Ok(Some(content).filter(|content| content.len() as u64 <= most))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn record<'a>(offset: i64, key: Option<&'a [u8]>, value: &'a [u8]) -> SealedRecord<'a> {
        SealedRecord {
            topic: "lab_produced_1.raw",
            offset,
            timestamp: Some(1_700_000_000_123),
            key,
            value,
        }
    }

    fn names(folder: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_record_has_the_names_of_openmsistream() {
        let folder = tempfile::tempdir().unwrap();
        let stored = UndecryptableFolder::open(folder.path()).unwrap();
        let stem = stored.store(&record(7, Some(b"k"), b"v")).unwrap();
        assert_eq!(
            stem,
            "encrypted_message_from_lab_produced_1.raw_produced_2023-11-14_22-13-20.123007"
        );
        let (key, value) = (format!("{stem}_key.bin"), format!("{stem}_value.bin"));
        assert_eq!(fs::read(folder.path().join(&key)).unwrap(), b"k");
        assert_eq!(
            parse_name(&value),
            Named::Value("lab_produced_1.raw", key.clone())
        );
        assert_eq!(parse_name(&key), Named::Key(value));
    }

    #[test]
    fn a_record_is_stored_once_and_none_replaces_another() {
        let folder = tempfile::tempdir().unwrap();
        let stored = UndecryptableFolder::open(folder.path()).unwrap();
        let first = stored.store(&record(7, Some(b"k"), b"v")).unwrap();
        assert_eq!(stored.store(&record(7, Some(b"k"), b"v")).unwrap(), first);
        assert_eq!(names(folder.path()).len(), 2);
        let others = [
            record(7, Some(b"k"), b"w"),
            record(7, Some(b"l"), b"v"),
            record(1007, None, b"v"),
            record(7, Some(b"k"), b"v longer"),
        ];
        let stems = others.map(|record| stored.store(&record).unwrap());
        assert_eq!(BTreeSet::from_iter(stems).len(), 4);
        assert_eq!(names(folder.path()).len(), 9);
        assert_eq!(stored.store(&record(7, Some(b"k"), b"v")).unwrap(), first);
    }

    #[test]
    fn a_value_that_was_not_written_before_a_kill_is_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let stored = UndecryptableFolder::open(folder.path()).unwrap();
        let stem = stored.store(&record(7, Some(b"k"), b"v")).unwrap();
        let value = format!("{stem}_value.bin");
        fs::remove_file(folder.path().join(&value)).unwrap();
        fs::write(folder.path().join(format!(".{value}.new")), "cut").unwrap();
        assert_eq!(stored.store(&record(7, Some(b"k"), b"v")).unwrap(), stem);
        assert_eq!(fs::read(folder.path().join(&value)).unwrap(), b"v");
        assert_eq!(names(folder.path()).len(), 2);
    }

    #[test]
    fn times_out_of_range_and_missing_times_have_names() {
        let folder = tempfile::tempdir().unwrap();
        let stored = UndecryptableFolder::open(folder.path()).unwrap();
        for timestamp in [None, Some(i64::MIN), Some(-1), Some(i64::MAX)] {
            let record = SealedRecord {
                timestamp,
                offset: i64::MIN,
                ..record(0, None, b"v")
            };
            let stem = stored.store(&record).unwrap();
            let value = format!("{stem}_value.bin");
            assert!(matches!(parse_name(&value), Named::Value(..)), "{value}");
        }
    }

    #[test]
    fn other_names_are_no_records() {
        for name in [
            "",
            "_value.bin",
            "encrypted_message_from_t_produced_now_value.bin",
            "encrypted_message_from__produced_2023-11-14_22-13-20.123007_value.bin",
            "encrypted_message_from_t_produced_2023-11-14_22-13-20.123007.bin",
            "encrypted_message_from_t_produced_2023-11-14_22-13-20.12300x_key.bin",
            "encrypted_message_from_t_2023-11-14_22-13-20.123007_key.bin",
            ".encrypted_message_from_t_produced_2023-11-14_22-13-20.123007_key.bin",
        ] {
            assert_eq!(parse_name(name), Named::Other, "{name}");
        }
    }
}
