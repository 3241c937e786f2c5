use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, ensure};

use crate::shell;

/// The content of the Python environments, by version and hash. The peer uses confluent-kafka if both Kafka clients are
/// installed, so each client has an environment of its own.
const REQUIREMENTS: &str = "tests/interop/requirements";
/// The variable that names the folder of the Java peer: its jars, a `pom.xml` with their dependencies, and a driver
/// with the class `live.Peer`.
const JAVA_FOLDER: &str = "KC_JAVA_PEER";
/// The maximum time that a peer works or waits, in seconds.
const PATIENCE: &str = "90";
/// The password of a store that contains only public certificates.
const STORE_PASSWORD: &str = "changeit";

/// The installed peers.
pub(super) struct Peers {
    pub(super) kafka_python: Python,
    pub(super) confluent: Python,
    pub(super) java: Option<Java>,
    plain: PathBuf,
}

/// A Python environment with the peer.
pub(super) struct Python {
    pub(super) name: &'static str,
    python: PathBuf,
}

/// The Java peer.
pub(super) struct Java {
    class_path: String,
    folder: PathBuf,
}

/// A running peer, or kc; killed when dropped.
pub(super) struct Peer {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Peers {
    pub(super) fn install(folder: &Path) -> anyhow::Result<Self> {
        // The peers find libsodium by its name.
        shell::install(&["libsodium23", "python3-venv"])?;
        let python = |name| {
            let python = environment(folder, name)?;
            anyhow::Ok(Python { name, python })
        };
        Ok(Self {
            kafka_python: python("kafka-python")?,
            confluent: python("confluent")?,
            java: Java::find(folder)?,
            plain: environment(folder, "plain")?,
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

impl Python {
    /// Starts `tests/interop/peer.py`.
    pub(super) fn start(
        &self,
        command: &str,
        config: &Path,
        topic: &str,
        count: usize,
    ) -> anyhow::Result<Peer> {
        let mut python = Command::new(&self.python);
        python
            .args(["-W", "ignore", "tests/interop/peer.py", command])
            .arg(config)
            .args([topic, &count.to_string(), PATIENCE]);
        Peer::start(&mut python)
    }
}

impl Java {
    /// Returns the peer in the folder that the environment names.
    fn find(folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(peer) = env::var_os(JAVA_FOLDER).map(PathBuf::from) else {
            println!("the Java peer is left out: {JAVA_FOLDER} names no folder");
            return Ok(None);
        };
        let peer = peer
            .canonicalize()
            .with_context(|| format!("{JAVA_FOLDER}: {}", peer.display()))?;
        let folder = folder.canonicalize()?.join("java");
        let libraries = folder.join("lib");
        fs::create_dir_all(&folder)?;
        shell::run(
            Command::new("mvn")
                .args(["-B", "-q", "dependency:copy-dependencies"])
                .args(["-DincludeScope=runtime", "-f"])
                .arg(peer.join("pom.xml"))
                .arg(format!("-DoutputDirectory={}", libraries.display())),
        )?;
        let class_path = format!("{}/*:{}/*", peer.display(), libraries.display());
        Ok(Some(Self { class_path, folder }))
    }

    /// Adds this authority to the certificates of the Java installation, as users do, because the file of a Java node
    /// cannot name one.
    pub(super) fn trust(&self, authority: &Path) -> anyhow::Result<()> {
        let store = self.store();
        if store.exists() {
            fs::remove_file(&store)?;
        }
        shell::run(
            Command::new("keytool")
                .args([
                    "-importcert",
                    "-noprompt",
                    "-alias",
                    "ca",
                    "-storetype",
                    "PKCS12",
                ])
                .args(["-storepass", STORE_PASSWORD, "-file"])
                .arg(authority)
                .arg("-keystore")
                .arg(store),
        )
    }

    /// Starts the driver in the node's folder.
    pub(super) fn start(
        &self,
        command: &str,
        config: &Path,
        topic: &str,
        count: usize,
    ) -> anyhow::Result<Peer> {
        let mut java = Command::new("java");
        java.arg(format!(
            "-Djavax.net.ssl.trustStore={}",
            self.store().display()
        ))
        .arg(format!(
            "-Djavax.net.ssl.trustStorePassword={STORE_PASSWORD}"
        ))
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
        .args(["-cp", &self.class_path, "live.Peer", command, "--config"])
        .arg(config.file_name().context("a node without a file")?)
        .args(["--topic", topic, "--count", &count.to_string()])
        .args(["--linger", PATIENCE, "--seconds", PATIENCE])
        .current_dir(config.parent().context("a node without a folder")?);
        Peer::start(&mut java)
    }

    fn store(&self) -> PathBuf {
        self.folder.join("authorities.p12")
    }
}

impl Peer {
    pub(super) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let stdout = child.stdout.take().context("standard output of the peer")?;
        Ok(Self {
            child,
            lines: BufReader::new(stdout),
        })
    }

    /// Returns the standard input of the process; only once.
    pub(super) fn input(&mut self) -> anyhow::Result<ChildStdin> {
        self.child
            .stdin
            .take()
            .context("standard input of the peer")
    }

    /// Returns the next printed line; empty at the end.
    pub(super) fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    /// Closes the input, and waits until the process ends by itself.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        ensure!(status.success(), "the peer: {status}");
        Ok(())
    }

    /// Ends the process by a signal.
    pub(super) fn terminate(mut self) -> anyhow::Result<()> {
        shell::run(Command::new("kill").arg(self.child.id().to_string()))?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a Python with the packages of this environment, which is made only once.
fn environment(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let folder = folder.join(name);
    let python = folder.join("bin/python");
    if !python.exists() {
        shell::run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    shell::run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--require-hashes", "-r"])
            .arg(format!("{REQUIREMENTS}/{name}.txt")),
    )?;
    Ok(python)
}
