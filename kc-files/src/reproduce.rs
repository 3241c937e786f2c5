use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kc::core::backend::DeliveryFuture;
use kc::core::message::Envelope;
use kc::{Node, Record};
use tokio::sync::mpsc;

use crate::error::FilesError;
use crate::event::ReproduceEvent;
use crate::receiver::blocking;
use crate::scan::open;
use crate::undecryptable::{MAX_KEY_BYTES, MAX_VALUE_BYTES, Named, parse_name, read_bounded};

/// The number of records that are read ahead.
const AHEAD: usize = 2;
/// No further record is sent while this many bytes are not acknowledged.
const MAX_UNACKNOWLEDGED: u64 = 32 << 20;

type OnEvent = dyn Fn(&ReproduceEvent) + Send + Sync;

/// Sends the records of an `ENCRYPTED_MESSAGES` folder again, sealed as they are, to the topic that they came from.
///
/// A receiver or OpenMSIStream has put them there because the data keys were missing: see
/// [`FileReceiver::undecryptable_folder`](crate::FileReceiver::undecryptable_folder). Files are read only below the folder;
/// what is not a sealed record of the topic is left out, so that nothing readable is sent by mistake.
///
/// ```no_run
/// # async fn run() -> Result<(), kc_files::FilesError> {
/// let node = kc::Node::open("microscope").await?;
/// let reproducer = kc_files::Reproducer::new("incoming/ENCRYPTED_MESSAGES", "images").delete();
/// let summary = reproducer.run(&node, std::future::pending()).await?;
/// println!("{} records sent again", summary.reproduced);
/// # Ok(())
/// # }
/// ```
#[must_use = "records are sent by `run`"]
pub struct Reproducer {
    folder: PathBuf,
    topic: String,
    delete: bool,
    on_event: Arc<OnEvent>,
}

/// What a [`Reproducer`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReproduceSummary {
    /// The number of records that the broker has acknowledged.
    pub reproduced: u64,
    /// The bytes of their sealed values.
    pub bytes: u64,
    /// The number of files that were left out.
    pub left_out: u64,
    /// Whether `stop` was ready before all records were sent.
    pub stopped: bool,
}

/// The record of a file, or why the file is left out.
type Looked = Result<Pair, LeftOut>;

struct LeftOut {
    file: String,
    reason: String,
}

/// A record that was read.
struct Pair {
    /// The name of the file with the value.
    name: String,
    key: Option<Vec<u8>>,
    value: Vec<u8>,
}

impl fmt::Debug for Reproducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reproducer")
            .field("folder", &self.folder)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl Reproducer {
    /// Creates a reproducer of the records in `folder` that come from `topic`.
    pub fn new(folder: impl Into<PathBuf>, topic: impl Into<String>) -> Self {
        Self {
            folder: folder.into(),
            topic: topic.into(),
            delete: false,
            on_event: Arc::new(|_| {}),
        }
    }

    /// Deletes the files of each record when the broker has acknowledged it. Otherwise they stay, and the next run sends
    /// them again.
    pub fn delete(mut self) -> Self {
        self.delete = true;
        self
    }

    /// Calls `listener` at each event. It should return soon.
    pub fn on_event(mut self, listener: impl Fn(&ReproduceEvent) + Send + Sync + 'static) -> Self {
        self.on_event = Arc::new(listener);
        self
    }

    /// Sends the records, and returns when the broker has acknowledged all of them, or, early, when `stop` is ready. At
    /// most 64 MiB of records are in memory.
    ///
    /// Cancel safe: a record that was not acknowledged keeps its files.
    ///
    /// # Errors
    /// Returns [`FilesError`] if the folder cannot be read, a file cannot be deleted, or the broker does not take records.
    pub async fn run(
        self,
        node: &Node,
        stop: impl Future<Output = ()>,
    ) -> Result<ReproduceSummary, FilesError> {
        let producer = node.producer().plain().await?;
        let mut found = self.read();
        let mut summary = ReproduceSummary::default();
        let mut sent = FuturesUnordered::new();
        let mut unacknowledged = 0;
        let mut all_read = false;
        let mut stop = std::pin::pin!(stop);
        while !(all_read && sent.is_empty()) {
            tokio::select! {
                biased;
                () = &mut stop => {
                    summary.stopped = true;
                    break;
                }
                Some(done) = sent.next() => {
                    let (file, bytes): (String, u64) = done?;
                    unacknowledged -= bytes;
                    self.done(&file).await?;
                    summary.reproduced += 1;
                    summary.bytes += bytes;
                    (self.on_event)(&ReproduceEvent::Reproduced { file, bytes });
                }
                next = found.recv(), if !all_read && unacknowledged < MAX_UNACKNOWLEDGED => match next {
                    None => all_read = true,
                    Some(Err(error)) => return Err(error),
                    Some(Ok(Err(LeftOut { file, reason }))) => {
                        summary.left_out += 1;
                        (self.on_event)(&ReproduceEvent::LeftOut { file, reason });
                    }
                    Some(Ok(Ok(Pair { name, key, value }))) => {
                        let bytes = value.len() as u64;
                        let mut record = Record::to(self.topic.as_str()).value(value);
                        if let Some(key) = key {
                            record = record.key(key);
                        }
                        let delivery = producer.enqueue(record).await.map_err(kc::Error::from)?;
                        unacknowledged += bytes;
                        sent.push(acknowledged(delivery, name, bytes));
                    }
                },
            }
        }
        Ok(summary)
    }

    /// Reads the records of the folder on a thread of its own.
    fn read(&self) -> mpsc::Receiver<Result<Looked, FilesError>> {
        let (send, found) = mpsc::channel(AHEAD);
        let (folder, topic) = (self.folder.clone(), self.topic.clone());
        tokio::task::spawn_blocking(move || {
            let failed = |error| FilesError::io("read", &folder, error);
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) => {
                    // The receiver is gone if the run stops.
                    let _ = send.blocking_send(Err(failed(error)));
                    return;
                }
            };
            for entry in entries {
                let next = match entry {
                    Ok(entry) => {
                        let name = entry.file_name().to_string_lossy().into_owned();
                        let read = read_pair(&folder, &name, &topic);
                        let Some(read) = read.transpose() else {
                            continue;
                        };
                        Ok(read.map_err(|reason| LeftOut { file: name, reason }))
                    }
                    Err(error) => Err(failed(error)),
                };
                if send.blocking_send(next).is_err() {
                    return;
                }
            }
        });
        found
    }

    /// Deletes the files of a record that was sent, if they are to be deleted.
    async fn done(&self, name: &str) -> Result<(), FilesError> {
        if !self.delete {
            return Ok(());
        }
        let (folder, name) = (self.folder.clone(), name.to_owned());
        let deleting = move || {
            let key = match parse_name(&name) {
                Named::Value(_, key) => Some(key),
                Named::Key(_) | Named::Other => None,
            };
            for name in [Some(name), key].into_iter().flatten() {
                let path = folder.join(name);
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(FilesError::io("delete", &path, error));
                    }
                    _ => {}
                }
            }
            Ok(())
        };
        blocking(deleting).await?
    }
}

async fn acknowledged(
    delivery: DeliveryFuture,
    file: String,
    bytes: u64,
) -> Result<(String, u64), FilesError> {
    match delivery.await {
        Ok(_) => Ok((file, bytes)),
        Err(error) => Err(kc::Error::from(error).into()),
    }
}

/// Reads the record whose value has this name. Returns `None` for the name of a key that has a value; an error is the
/// reason why the file is left out.
fn read_pair(folder: &Path, name: &str, topic: &str) -> Result<Option<Pair>, String> {
    let (from, key) = match parse_name(name) {
        Named::Value(from, key) => (from, key),
        Named::Key(value) => {
            return match folder.join(value).symlink_metadata() {
                Ok(_) => Ok(None),
                Err(_) => Err("the file with the value is missing".to_owned()),
            };
        }
        Named::Other => return Err("its name is not that of a stored record".to_owned()),
    };
    if from != topic {
        return Err(format!("it comes from the topic {from}"));
    }
    let read = |name: &str, most| -> Result<Option<Vec<u8>>, String> {
        match open(&folder.join(name)).and_then(|file| read_bounded(file, most)) {
            Ok(Some(content)) => Ok(Some(content)),
            Ok(None) => Err(format!("{name} has more than {most} bytes")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read {name}: {error}")),
        }
    };
    let value = read(name, MAX_VALUE_BYTES)?.ok_or("it was deleted")?;
    let key = read(&key, MAX_KEY_BYTES)?;
    Envelope::parse(&value).map_err(|why| format!("it is not sealed: {why}"))?;
    Ok(Some(Pair {
        name: name.to_owned(),
        key,
        value,
    }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use kc::core::wire::Writer;

    use super::*;
    use crate::undecryptable::{SealedRecord, UndecryptableFolder};

    fn sealed(key_id: u64) -> Vec<u8> {
        let mut writer = Writer::append_to(vec![1]);
        writer.array(3).uint(key_id);
        writer.bytes(&[7; 16]).bytes(&[8; 40]);
        writer.into_vec()
    }

    fn store(folder: &Path, key: Option<&[u8]>, value: &[u8]) -> String {
        let record = SealedRecord {
            topic: "t",
            offset: 1,
            timestamp: Some(1_700_000_000_000),
            key,
            value,
        };
        let stored = UndecryptableFolder::open(folder).unwrap();
        format!("{}_value.bin", stored.store(&record).unwrap())
    }

    #[test]
    fn what_was_stored_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let name = store(folder.path(), Some(b"k"), &sealed(1));
        let pair = read_pair(folder.path(), &name, "t").unwrap().unwrap();
        assert_eq!(
            (pair.key.as_deref(), pair.value),
            (Some(&b"k"[..]), sealed(1))
        );
        let key = name.replace("_value", "_key");
        assert!(read_pair(folder.path(), &key, "t").unwrap().is_none());
        let keyless = store(folder.path(), None, &sealed(2));
        let pair = read_pair(folder.path(), &keyless, "t").unwrap().unwrap();
        assert_eq!(pair.key, None);
    }

    #[test]
    fn what_is_no_sealed_record_of_the_topic_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let reason = |name: &str| read_pair(path, name, "t").map(drop).unwrap_err();
        let readable = store(path, Some(b"k"), b"readable");
        assert!(reason(&readable).contains("not sealed"));
        let good = store(path, None, &sealed(1));
        let other = read_pair(path, &good, "u").map(drop).unwrap_err();
        assert_eq!(other, "it comes from the topic t");
        assert!(reason("notes.txt").contains("its name"));
        let lonely = readable.replace("_value", "_key");
        fs::remove_file(path.join(&readable)).unwrap();
        assert!(reason(&lonely).contains("is missing"));

        symlink(&good, path.join(&readable)).unwrap();
        assert!(reason(&readable).contains("symbolic link"));
        let file = fs::File::options().write(true).open(path.join(&good));
        file.unwrap().set_len(MAX_VALUE_BYTES + 1).unwrap();
        assert!(reason(&good).contains("more than"));
    }
}
