//! The peers: how they are installed and started.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::data::Batch;
use super::process::Process;
use crate::shell;

/// The content of the Python environments, by version and hash. The peer uses confluent-kafka if both Kafka clients are
/// installed, so each client has an environment of its own.
const REQUIREMENTS: &str = "tests/interop/requirements";
/// The variable that names the folder of the Java peer: its jars, a `pom.xml` with their dependencies, and a driver
/// with the class `live.Peer`.
const JAVA_FOLDER: &str = "KC_JAVA_PEER";
/// The packages of the system that the Python peers need. They find libsodium by its name.
const PACKAGES: &[&str] = &["cmake", "libsodium23", "make", "python3-venv"];
/// The maximum time for which a peer answers requests, in seconds.
const SERVING: &str = "120";
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
    /// The folder of liboqs, which has the post-quantum algorithms.
    liboqs: PathBuf,
    /// The maximum time for which a reader works, in seconds.
    reading: &'static str,
}

/// The Java peer.
pub(super) struct Java {
    class_path: String,
    folder: PathBuf,
    /// The maximum time for which a reader works, in seconds.
    reading: &'static str,
}

impl Peers {
    /// Installs the Python peer in a folder, and tells `command` where it is.
    pub(super) fn name_python(folder: &Path, command: &mut Command) -> anyhow::Result<()> {
        shell::install(PACKAGES)?;
        let liboqs = liboqs(&folder.join("liboqs"))?;
        let python = environment(folder, "kafka-python")?;
        command.env("OQS_INSTALL_PATH", liboqs);
        command.env("KC_PEER_PYTHON", python);
        Ok(())
    }

    /// Installs the peers in a folder. If `impatient` is true, their readers soon give up.
    pub(super) fn install(folder: &Path, impatient: bool) -> anyhow::Result<Self> {
        let reading = if impatient { "25" } else { "80" };
        shell::install(PACKAGES)?;
        let liboqs = liboqs(&folder.join("liboqs"))?;
        let python = |name| {
            anyhow::Ok(Python {
                name,
                python: environment(folder, name)?,
                liboqs: liboqs.clone(),
                reading,
            })
        };
        Ok(Self {
            kafka_python: python("kafka-python")?,
            confluent: python("confluent")?,
            java: Java::find(folder, reading)?,
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
    /// Starts a producer, which answers requests until its input ends.
    pub(super) fn produce(
        &self,
        config: &Path,
        topic: &str,
        batch: Batch,
    ) -> anyhow::Result<Process> {
        let Batch { seed, count, size } = batch;
        let [count, size] = [count, size].map(|number| number.to_string());
        self.start("produce", config, SERVING, &[topic, seed, &count, &size])
    }

    /// Starts a consumer, which ends after `count` messages. `group` replaces the node's consumer group.
    pub(super) fn consume(
        &self,
        config: &Path,
        topic: &str,
        count: usize,
        group: Option<&str>,
    ) -> anyhow::Result<Process> {
        let count = count.to_string();
        let arguments = [topic, &count].into_iter().chain(group);
        self.start("consume", config, self.reading, &Vec::from_iter(arguments))
    }

    /// Starts a controller or a chain server.
    pub(super) fn run(&self, role: &str, config: &Path) -> anyhow::Result<Process> {
        self.start(role, config, SERVING, &[])
    }

    /// Starts `tests/interop/peer.py`.
    fn start(
        &self,
        command: &str,
        config: &Path,
        seconds: &str,
        arguments: &[&str],
    ) -> anyhow::Result<Process> {
        let mut python = Command::new(&self.python);
        python
            .env("OQS_INSTALL_PATH", &self.liboqs)
            .args(["-W", "ignore", "tests/interop/peer.py", command])
            .arg(config)
            .arg(seconds)
            .args(arguments);
        Process::start(&format!("{command} of {}", self.name), &mut python)
    }
}

impl Java {
    /// Returns the peer in the folder that the environment names.
    fn find(folder: &Path, reading: &'static str) -> anyhow::Result<Option<Self>> {
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
        Ok(Some(Self {
            class_path,
            folder,
            reading,
        }))
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

    /// Starts a producer, which answers requests until a signal.
    pub(super) fn produce(
        &self,
        config: &Path,
        topic: &str,
        batch: Batch,
    ) -> anyhow::Result<Process> {
        let Batch { seed, count, size } = batch;
        let size = size.to_string();
        let arguments = ["--seed", seed, "--size", &size, "--linger", SERVING];
        self.start("produce", config, topic, count, &arguments)
    }

    /// Starts a consumer, which ends after `count` messages. `group` replaces the node's consumer group.
    pub(super) fn consume(
        &self,
        config: &Path,
        topic: &str,
        count: usize,
        group: Option<&str>,
    ) -> anyhow::Result<Process> {
        let group = group.map(|group| ["--group", group]);
        let limits = ["--seconds", self.reading];
        let arguments = Vec::from_iter(limits.into_iter().chain(group.into_iter().flatten()));
        self.start("consume", config, topic, count, &arguments)
    }

    /// Starts the driver in the node's folder.
    fn start(
        &self,
        command: &str,
        config: &Path,
        topic: &str,
        count: usize,
        arguments: &[&str],
    ) -> anyhow::Result<Process> {
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
        .args(arguments)
        .current_dir(config.parent().context("a node without a folder")?);
        Process::start(&format!("{command} of the Java peer"), &mut java)
    }

    fn store(&self) -> PathBuf {
        self.folder.join("authorities.p12")
    }
}

/// Returns a Python with the packages of this environment, which is made only once.
pub(super) fn environment(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
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

/// Builds liboqs in a folder, once, and returns the folder in which the peer looks for it.
fn liboqs(folder: &Path) -> anyhow::Result<PathBuf> {
    let output = Command::new("tests/interop/liboqs.sh")
        .arg(folder)
        .stderr(Stdio::inherit())
        .output()
        .context("tests/interop/liboqs.sh")?;
    ensure!(output.status.success(), "liboqs.sh: {}", output.status);
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim_end()))
}
