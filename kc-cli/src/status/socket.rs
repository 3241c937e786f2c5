use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kc::OpenNode;
use kc::keystore_file::{NodeFiles, read_config};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::address::Address;
use super::files::read_files;
use super::report::{Report, Running};
use crate::error::{CliError, io_failed};

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// No report is larger, in bytes.
const MAX_REPORT_BYTES: u64 = 16 << 20;

/// How long whoever connects may take to say what is wanted; then it is a report.
const ASKING: Duration = Duration::from_millis(300);

/// What is asked of the process that has a node open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Report,
    Rotate,
}

/// The answer to a request to rotate.
#[derive(Debug, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rotated {
    /// So many root topics have a new key.
    Roots(usize),
    /// Why the ratchet was not turned.
    Failed(String),
}

impl Request {
    fn line(self) -> [u8; 7] {
        match self {
            Self::Report => *b"status\n",
            Self::Rotate => *b"rotate\n",
        }
    }
}

/// Answers each connection to `<node>.sock` with a report in JSON. Whoever holds the node's lock may
/// have one.
#[derive(Debug)]
pub(crate) struct StatusServer {
    path: PathBuf,
    serving: JoinHandle<()>,
}

impl StatusServer {
    pub(crate) fn start(open: Arc<OpenNode>, command: &'static str) -> io::Result<Self> {
        let path = open.files().socket();
        let listener = listen(&path)?;
        let serving = tokio::spawn(async move {
            loop {
                match listener.accept().await {
                    // One after the other: a report takes no time worth speaking of.
                    Ok((stream, _)) => {
                        let answered = timeout(DEADLINE, answer(stream, &open, command)).await;
                        if let Ok(Err(error)) = answered {
                            tracing::debug!(%error, "status not delivered");
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "status not asked");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
            }
        });
        Ok(Self { path, serving })
    }

    pub(crate) async fn stop(self) {
        self.serving.abort();
        // It was aborted, which is what it says.
        let _ = self.serving.await;
        // What is left is replaced by the next who opens the node.
        let _ = fs::remove_file(&self.path);
    }
}

/// Asks the process that has a node open how it is; `None` if there is none.
pub(crate) async fn ask(files: &NodeFiles) -> Result<Option<Report>, CliError> {
    request(files, Request::Report).await
}

/// Asks the process that has a node open to turn its ratchet; `None` if there is none.
pub(crate) async fn rotate(files: &NodeFiles) -> Result<Option<Rotated>, CliError> {
    request(files, Request::Rotate).await
}

async fn request<T: DeserializeOwned>(
    files: &NodeFiles,
    request: Request,
) -> Result<Option<T>, CliError> {
    let path = files.socket();
    let failed = |error: io::Error| io_failed("ask", path.display(), &error);
    let mut stream = match connect(&path).await {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                // Nobody can listen at what is no address either.
                io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::InvalidInput => Ok(None),
                _ => Err(failed(error)),
            };
        }
    };
    stream.write_all(&request.line()).await.map_err(failed)?;
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

/// Listens at a path that nobody but its owner can connect to, at any time.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let (folder, _) = split(path);
    let private = tempfile::Builder::new().prefix(".kc").tempdir_in(folder)?;
    let inside = private.path().join("s");
    let listener = UnixListener::bind(Address::new(private.path(), Path::new("s"))?.path())?;
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o600))?;
    fs::rename(&inside, path)?;
    Ok(listener)
}

/// The folder and the name of a socket.
fn split(path: &Path) -> (&Path, &Path) {
    let folder = path.parent().unwrap_or(Path::new("."));
    (folder, path.file_name().map_or(path, Path::new))
}

/// Reads what is asked; a report, if nothing is in time.
async fn asked(stream: &mut UnixStream) -> Request {
    let mut line = [0; 7];
    match timeout(ASKING, stream.read_exact(&mut line)).await {
        Ok(Ok(_)) if line == Request::Rotate.line() => Request::Rotate,
        _ => Request::Report,
    }
}

async fn answer(mut stream: UnixStream, open: &OpenNode, command: &str) -> Result<(), CliError> {
    let json = match asked(&mut stream).await {
        Request::Report => {
            let mut report = read_files(open.files(), &read_config(&open.files().config())?)?;
            report.running = Some(Running::new(command, open.node.status().await?));
            serde_json::to_vec(&report)
        }
        Request::Rotate => {
            let rotated = match open.node.rotate().await? {
                Ok(roots) => Rotated::Roots(roots),
                Err(error) => Rotated::Failed(CliError::from_error(error).to_string()),
            };
            serde_json::to_vec(&rotated)
        }
    };
    let mut json = json.map_err(CliError::from_error)?;
    json.push(b'\n');
    let path = open.files().socket();
    let failed = |error: io::Error| io_failed("answer at", path.display(), &error);
    stream.write_all(&json).await.map_err(failed)?;
    stream.shutdown().await.map_err(failed)
}
