//! Nodes with a common root of trust, and the broker that they use.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::program::Program;
use crate::shell;

/// The vectors with the folders of nodes that `simple_provision` made.
const VECTORS: &str = "tests/vectors/provisioning.json";

/// The topics that belong to no root topic.
pub(super) const MANAGEMENT: [&str; 3] = ["chains", "allowlist", "denylist"];

/// The validity of a chain that a chain server renews: long enough to start all nodes.
const SHORT_LIFE: Duration = Duration::from_secs(20);

/// Nodes in a folder of their own. Their root of trust comes from a password in this folder.
pub(super) struct Fleet<'a> {
    pub(super) program: &'a Program,
    folder: PathBuf,
    connection: Vec<String>,
}

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    out: Option<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    files: BTreeMap<String, String>,
}

impl<'a> Fleet<'a> {
    /// Creates the folder for the nodes. `connection` is the flags for the connection to the broker.
    pub(super) fn new(
        program: &'a Program,
        name: &str,
        connection: &[String],
    ) -> anyhow::Result<Self> {
        let folder = program.nodes.join(name);
        fs::create_dir(&folder)?;
        fs::write(folder.join("password"), "interop\n")?;
        Ok(Self {
            program,
            folder,
            connection: connection.to_vec(),
        })
    }

    /// Returns the configuration of a node.
    pub(super) fn node(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.config"))
    }

    /// Provisions a node with these flags, and returns its configuration.
    pub(super) fn provision(
        &self,
        id: &str,
        role: &str,
        flags: &[&str],
    ) -> anyhow::Result<PathBuf> {
        let password = self.folder.join("password");
        let mut command = self.program.command(&["--quiet", "provision", role]);
        // A short session timeout: consumers of the Python peer do not leave their groups, and join them again here.
        command
            .args(["--node", id, "-X", "session_timeout_ms=6000"])
            .args(&self.connection)
            .args(flags)
            .arg("--dir")
            .arg(&self.folder);
        // Only the root of trust certifies chain servers.
        if role != "chain-server" {
            command.arg("--password-file").arg(&password);
        }
        command.arg("--root-password-file").arg(&password);
        shell::run(command.stdout(Stdio::null()))?;
        Ok(self.node(id))
    }

    /// Writes the files of a node of the vectors, with the settings that a person would add by hand for a broker at
    /// `address`, and returns its configuration.
    pub(super) fn copy_vector(
        &self,
        case: &str,
        id: &str,
        address: &str,
    ) -> anyhow::Result<PathBuf> {
        let vectors: Vectors = serde_json::from_str(&fs::read_to_string(VECTORS)?)?;
        let case = vectors.cases.into_iter().find(|it| it.name == case);
        let files = case
            .and_then(|case| case.out)
            .context("no such case")?
            .files;
        for (kind, content) in &files {
            let path = self.folder.join(format!("{id}.{kind}"));
            if kind == "config" {
                let consumer = format!("[{id}-kafka-consumer]\n");
                let settings = "auto_offset_reset : earliest\nsession_timeout_ms : 6000\n";
                let text = content
                    .replace(
                        "bootstrap_servers : ",
                        &format!("bootstrap_servers : {address}"),
                    )
                    .replace("security_protocol : SSL", "security_protocol : PLAINTEXT")
                    .replace("ssl_cafile : <SYSTEM-CA>\n", "")
                    .replace(&consumer, &format!("{consumer}{settings}"));
                fs::write(path, text)?;
            } else {
                fs::write(path, hex::decode(content)?)?;
            }
        }
        Ok(self.node(id))
    }

    /// Runs a command of kc on a node.
    pub(super) fn change(&self, command: &[&str], config: &Path) -> anyhow::Result<()> {
        let mut kc = self.program.command(&["--quiet"]);
        kc.args(command).arg("--node").arg(config);
        shell::run(kc.stdout(Stdio::null()))
    }

    /// Gives a node a short chain that a chain server renews. Returns the end of the short chain.
    pub(super) fn let_renew(&self, server: &Path, node: &Path) -> anyhow::Result<Instant> {
        self.shorten(node)?;
        let end = Instant::now() + SHORT_LIFE;
        let mut enroll = self.program.command(&["--quiet", "chain", "enroll"]);
        enroll.arg("--server").arg(server).arg("--of").arg(node);
        shell::run(enroll.stdout(Stdio::null()))?;
        Ok(end)
    }

    fn shorten(&self, node: &Path) -> anyhow::Result<()> {
        let password = self.folder.join("password");
        let mut issue = self.program.command(&["--quiet", "chain", "issue"]);
        issue.args(["--lifetime", &format!("{}s", SHORT_LIFE.as_secs())]);
        issue.arg("--root-password-file").arg(&password);
        issue.arg("--password-file").arg(&password);
        issue.arg("--node").arg(node);
        shell::run(issue.stdout(Stdio::null()))
    }

    /// Denies a node on the topic `denylist`, as the root of trust.
    pub(super) fn deny(&self, node: &Path) -> anyhow::Result<()> {
        let mut deny = self
            .program
            .command(&["--quiet", "trust", "deny", "--publish"]);
        deny.args(&self.connection).arg("--of").arg(node);
        deny.arg("--root-password-file")
            .arg(self.folder.join("password"));
        shell::run(deny.stdout(Stdio::null()))
    }

    pub(super) fn create_topics(&self, topics: &[&str]) -> anyhow::Result<()> {
        shell::run(
            self.program
                .command(&["--quiet", "topics", "create"])
                .args(&self.connection)
                .args(topics)
                .stdout(Stdio::null()),
        )
    }

    /// Returns the number of records in a topic.
    pub(super) fn count(&self, topic: &str) -> anyhow::Result<usize> {
        self.raw(topic, &["--until-end"])
    }

    /// Waits until a topic has `count` records.
    pub(super) fn wait_for(&self, topic: &str, count: usize) -> anyhow::Result<()> {
        self.raw(topic, &["--count", &count.to_string()]).map(drop)
    }

    fn raw(&self, topic: &str, arguments: &[&str]) -> anyhow::Result<usize> {
        let mut command = self
            .program
            .command(&["--quiet", "consume", topic, "--raw"]);
        command.args(arguments).args(["--timeout", "60s", "--json"]);
        command.args(&self.connection);
        let output = command.stderr(Stdio::inherit()).output()?;
        ensure!(output.status.success(), "{command:?}: {}", output.status);
        let lines = output.stdout.split(|byte| *byte == b'\n');
        Ok(lines.filter(|line| !line.is_empty()).count())
    }
}

/// Waits until the short chain of a sender ends. Fails if it has ended already, because the sender may have sent nothing.
pub(super) fn await_end(chain: Instant) -> anyhow::Result<()> {
    let left = chain.checked_duration_since(Instant::now());
    thread::sleep(left.context("the chain ended before the sender sent")?);
    Ok(())
}
