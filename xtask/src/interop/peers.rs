use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};

use crate::shell;

/// The Python peer, with the Kafka client that it works best with.
const KAFKACRYPTO: [&str; 4] = [
    "kafkacrypto==0.9.11.3",
    "pysodium==0.7.19",
    "msgpack==1.2.4",
    "kafka-python==2.0.6",
];
/// A plain client. Not beside the peer, which would take it for its own.
const PLAIN: [&str; 1] = ["confluent-kafka==2.8.2"];
/// How long a peer works or waits at most, in seconds.
const PATIENCE: &str = "90";

/// Python environments with the peers installed.
pub(super) struct Peers {
    kafkacrypto: PathBuf,
    plain: PathBuf,
}

/// A peer at work.
pub(super) struct Peer {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Peers {
    pub(super) fn install(folder: &Path) -> anyhow::Result<Self> {
        // The peer finds libsodium by name.
        shell::install(&["libsodium23", "python3-venv"])?;
        Ok(Self {
            kafkacrypto: environment(&folder.join("kafkacrypto"), &KAFKACRYPTO)?,
            plain: environment(&folder.join("plain"), &PLAIN)?,
        })
    }

    pub(super) fn start(
        &self,
        command: &str,
        config: &Path,
        topic: &str,
        count: usize,
    ) -> anyhow::Result<Peer> {
        let mut child = Command::new(&self.kafkacrypto)
            .args(["-W", "ignore", "tests/interop/peer.py", command])
            .arg(config)
            .args([topic, &count.to_string(), PATIENCE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("standard output of the peer")?;
        Ok(Peer {
            child,
            lines: BufReader::new(stdout),
        })
    }

    pub(super) fn plain_round_trip(&self, servers: &str, count: usize) -> anyhow::Result<()> {
        shell::run(Command::new(&self.plain).args([
            "tests/interop/plain.py",
            servers,
            &count.to_string(),
        ]))
    }
}

impl Peer {
    /// The next line that it prints.
    pub(super) fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Lets it end.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "the Python peer: {status}");
        Ok(())
    }
}

/// A Python with these packages; made once.
fn environment(folder: &Path, packages: &[&str]) -> anyhow::Result<PathBuf> {
    let python = folder.join("bin/python");
    if !python.exists() {
        shell::run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    }
    shell::run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(packages),
    )?;
    Ok(python)
}
