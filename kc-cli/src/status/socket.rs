//! The socket `<node>.sock`: requests to the process that has a node open, and the answers of this process.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kc::Node;
use kc::core::chain_server::ChainKey;
use kc::core::store::config::{ConfigStore, Name, Section, Value};
use kc::keystore_file::{NodeFiles, read_config};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::read_files;
use super::report::{Report, Running};
use crate::error::{CliError, io_failed};

/// The maximum time for which a client waits for an answer, and for which the server serves one connection.
const DEADLINE: Duration = Duration::from_secs(5);
/// The largest size of an answer, in bytes.
const MAX_REPORT_BYTES: u64 = 16 << 20;

/// The maximum time to wait for the request on a new connection.
const ASKING: Duration = Duration::from_millis(300);

/// The largest size of a request, in bytes.
const MAX_REQUEST_BYTES: u64 = 1 << 20;

/// A request to the process that has a node open. The request is one line: `status`, `rotate`, or the JSON of
/// [`Enroll`](Self::Enroll).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Request {
    Status,
    Rotate,
    Enroll(Enrollment),
}

/// The entry that a chain server needs to renew the chains of a key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Enrollment {
    /// The name of the key's entry in the chain server's configuration.
    pub(crate) name: String,
    /// The entry: the byte form of a [`ChainKey`], in base64.
    pub(crate) entry: String,
    /// True if the entry may replace an existing entry with the same name.
    pub(crate) replace: bool,
}

/// The answer to a request to turn the ratchet.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rotated {
    /// The number of root topics that have a new data key.
    Roots(usize),
    /// The reason why the ratchet was not turned.
    Failed(String),
}

/// The answer to a request to enroll a key: to store an [`Enrollment`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Enrolled {
    /// The entry is stored.
    Stored,
    /// The entry is not stored, because an entry of this name exists.
    Exists,
    /// The reason why the entry was not stored.
    Failed(String),
}

impl Request {
    fn parse(line: &[u8]) -> Self {
        match line {
            b"rotate" => Self::Rotate,
            line => serde_json::from_slice(line).unwrap_or(Self::Status),
        }
    }

    fn line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = match self {
            Self::Status => b"status".to_vec(),
            Self::Rotate => b"rotate".to_vec(),
            Self::Enroll(_) => serde_json::to_vec(self)?,
        };
        line.push(b'\n');
        Ok(line)
    }
}

impl Enrollment {
    /// Stores the entry in a configuration.
    pub(crate) fn store(&self, config: &dyn ConfigStore) -> Result<Enrolled, CliError> {
        let entry = BASE64.decode(&self.entry).ok();
        let entry = entry.ok_or_else(|| CliError::failure("the entry is not base64"))?;
        ChainKey::parse(&entry).map_err(CliError::from_error)?;
        let (name, value) = (Name::from(self.name.as_str()), Value::Bytes(entry));
        let mut enrolled = Enrolled::Stored;
        config.update(&mut |config| {
            let known = config.own_settings(Section::CHAIN_KEYS)?;
            if !self.replace && known.iter().any(|setting| setting.name == name) {
                enrolled = Enrolled::Exists;
                return Ok(());
            }
            config.set(Section::CHAIN_KEYS, &name, &value).map(drop)
        })?;
        Ok(enrolled)
    }
}

/// The server of `<node>.sock`, which sends its answers as JSON. Only the process that holds the node's lock may run
/// this server.
#[derive(Debug)]
pub(crate) struct StatusServer {
    path: PathBuf,
    serving: JoinHandle<()>,
}

impl StatusServer {
    pub(crate) fn start(open: Node, command: &'static str) -> io::Result<Self> {
        let path = open.files().socket();
        let listener = listen(&path)?;
        let serving = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    // Connections are served one after the other, because an answer takes little time.
                    Ok((stream, _)) => {
                        let answered = timeout(DEADLINE, answer(stream, &open, command)).await;
                        if let Ok(Err(error)) = answered {
                            tracing::debug!(%error, "request at the status socket not answered");
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "connection to the status socket failed");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
        Ok(Self { path, serving })
    }

    pub(crate) async fn stop(self) {
        self.serving.abort();
        // The task was aborted, so it always ends with an error.
        let _ = self.serving.await;
        // If the socket cannot be removed, the next process that opens the node replaces it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Asks the process that has a node open for the node's status. Returns `None` if no process listens.
pub(crate) async fn ask(files: &NodeFiles) -> Result<Option<Report>, CliError> {
    request(files, Request::Status).await
}

/// Asks the process that has a node open to turn the node's ratchet. Returns `None` if no process listens.
pub(crate) async fn rotate(files: &NodeFiles) -> Result<Option<Rotated>, CliError> {
    request(files, Request::Rotate).await
}

/// Asks the process that has a chain server open to enroll a key, so that the chain server renews the key's chains.
/// Returns `None` if no process listens.
pub(crate) async fn enroll(
    files: &NodeFiles,
    enrollment: Enrollment,
) -> Result<Option<Enrolled>, CliError> {
    request(files, Request::Enroll(enrollment)).await
}

async fn request<T: DeserializeOwned>(
    files: &NodeFiles,
    request: Request,
) -> Result<Option<T>, CliError> {
    let path = files.socket();
    let failed = |error: io::Error| io_failed("ask the running node at", path.display(), &error);
    let mut stream = match connect(&path).await {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                // No process can listen at a path that is not a valid address.
                io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::InvalidInput => Ok(None),
                _ => Err(failed(error)),
            };
        }
    };
    let line = request.line().map_err(CliError::from_error)?;
    stream.write_all(&line).await.map_err(failed)?;
    let mut report = Vec::new();
    let mut stream = stream.take(MAX_REPORT_BYTES);
    timeout(DEADLINE, stream.read_to_end(&mut report))
        .await
        .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
        .map_err(failed)?;
    serde_json::from_slice(&report)
        .map(Some)
        .map_err(|error| failed(error.into()))
}

async fn connect(path: &Path) -> io::Result<UnixStream> {
    let (folder, name) = split(path);
    let address = Address::new(folder, name)?;
    UnixStream::connect(address.path()).await
}

/// Listens at a path. No other user can connect at any moment, because the socket is created in a private folder, gets
/// the mode 0600 there, and is then moved to the path.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let (folder, _) = split(path);
    let private = tempfile::Builder::new().prefix(".kc").tempdir_in(folder)?;
    let inside = private.path().join("s");
    let listener = UnixListener::bind(Address::new(private.path(), Path::new("s"))?.path())?;
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o600))?;
    fs::rename(&inside, path)?;
    Ok(listener)
}

/// Returns the folder and the name of a socket.
fn split(path: &Path) -> (&Path, &Path) {
    let folder = path.parent().unwrap_or(Path::new("."));
    (folder, path.file_name().map_or(path, Path::new))
}

/// Reads a request. If no complete and valid request arrives within [`ASKING`], returns [`Request::Status`].
async fn asked(stream: &mut UnixStream) -> Request {
    let mut line = Vec::new();
    let mut reader = BufReader::new(stream.take(MAX_REQUEST_BYTES));
    match timeout(ASKING, reader.read_until(b'\n', &mut line)).await {
        Ok(Ok(_)) if line.pop() == Some(b'\n') => Request::parse(&line),
        _ => Request::Status,
    }
}

async fn answer(mut stream: UnixStream, open: &Node, command: &str) -> Result<(), CliError> {
    let json = match asked(&mut stream).await {
        Request::Status => {
            let mut report = read_files(open.files(), &read_config(open.files())?)?;
            report.running = Some(Running::new(command, open.status().await?));
            serde_json::to_vec(&report)
        }
        Request::Rotate => {
            let rotated = match open.actors().rotate().await {
                Ok(roots) => Rotated::Roots(roots),
                Err(error) => Rotated::Failed(CliError::from_error(error).to_string()),
            };
            serde_json::to_vec(&rotated)
        }
        Request::Enroll(enrollment) => {
            let enrolled = match open.config_store() {
                Some(store) => enrollment
                    .store(&store)
                    .unwrap_or_else(|error| Enrolled::Failed(error.to_string())),
                None => Enrolled::Failed("the node is closed".to_owned()),
            };
            serde_json::to_vec(&enrolled)
        }
    };
    let mut json = json.map_err(CliError::from_error)?;
    json.push(b'\n');
    let path = open.files().socket();
    let failed = |error: io::Error| io_failed("answer a request at", path.display(), &error);
    stream.write_all(&json).await.map_err(failed)?;
    stream.shutdown().await.map_err(failed)
}

/// The largest length of a Unix socket's address, in bytes.
const MAX_ADDRESS_BYTES: usize = 107;

/// A path to a Unix socket that is short enough for a socket address ([`MAX_ADDRESS_BYTES`]). The path is valid only
/// until this value is dropped.
#[derive(Debug)]
struct Address {
    path: PathBuf,
    /// The open folder of the socket, if the path leads through `/proc/self/fd` because the original path is too long.
    _folder: Option<File>,
}

impl Address {
    /// Returns the address of the socket `name` in `folder`. If the path is too long, the address leads through the
    /// open folder in `/proc/self/fd`, which only Linux has.
    fn new(folder: &Path, name: &Path) -> io::Result<Self> {
        let path = folder.join(name);
        if path.as_os_str().len() <= MAX_ADDRESS_BYTES {
            return Ok(Self {
                path,
                _folder: None,
            });
        }
        let folder = File::open(folder)?;
        let through = format!("/proc/self/fd/{}", folder.as_raw_fd());
        Ok(Self {
            path: Path::new(&through).join(name),
            _folder: Some(folder),
        })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
