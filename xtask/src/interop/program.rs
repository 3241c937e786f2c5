use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::token::Token;
use crate::shell;

/// The program kc, with a folder for its nodes and a token for the keys of some.
pub(super) struct Program {
    program: PathBuf,
    nodes: PathBuf,
    token: Token,
}

/// A running `kc broker`, killed at the end.
pub(super) struct Broker {
    child: Child,
    pub(super) address: String,
}

impl Program {
    pub(super) fn build(folder: &Path) -> anyhow::Result<Self> {
        shell::run(shell::cargo("build").args(["-p", "kc-cli", "--features", "hsm"]))?;
        let nodes = folder.join("nodes");
        if nodes.exists() {
            fs::remove_dir_all(&nodes)?;
        }
        fs::create_dir_all(&nodes)?;
        let nodes = nodes.canonicalize()?;
        fs::write(nodes.join("password"), "interop\n")?;
        let program = Self {
            program: shell::target_folder().join("debug/kc").canonicalize()?,
            token: Token::new(&nodes)?,
            nodes,
        };
        shell::run(&mut program.command(&["--quiet", "hsm", "init", &program.token.uri]))?;
        Ok(program)
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).envs(self.token.environment.clone());
        command
    }

    pub(super) fn broker(&self) -> anyhow::Result<Broker> {
        let mut broker = self.command(&["broker", "--listen", "127.0.0.1:0"]);
        let mut child = broker.stdout(Stdio::piped()).spawn()?;
        let stdout = child
            .stdout
            .take()
            .context("standard output of kc broker")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim_end().strip_prefix("listening on ");
        let address = address.with_context(|| format!("kc broker said {line:?}"))?;
        Ok(Broker {
            address: address.to_owned(),
            child,
        })
    }

    /// Returns the configuration of a node.
    pub(super) fn node(&self, id: &str) -> PathBuf {
        self.nodes.join(format!("{id}.config"))
    }

    /// Provisions a node with these flags.
    pub(super) fn provision(&self, id: &str, role: &str, flags: &[String]) -> anyhow::Result<()> {
        let password = self.nodes.join("password");
        shell::run(
            self.command(&["--quiet", "provision", role, "--node", id])
                .args(flags)
                .arg("--dir")
                .arg(&self.nodes)
                .arg("--root-password-file")
                .arg(&password)
                .arg("--password-file")
                .arg(&password)
                .stdout(Stdio::null()),
        )
    }

    /// Moves the keys of a provisioned node onto the token.
    pub(super) fn move_to_token(&self, id: &str) -> anyhow::Result<()> {
        shell::run(
            self.command(&["--quiet", "hsm", "import", &self.token.uri, "--shred"])
                .arg("--node")
                .arg(self.node(id)),
        )
    }

    pub(super) fn create_topics(&self, topics: &[&str], flags: &[String]) -> anyhow::Result<()> {
        shell::run(
            self.command(&["--quiet", "topics", "create"])
                .args(flags)
                .args(topics)
                .stdout(Stdio::null()),
        )
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the messages of both sides: a line `key=value` for each.
pub(super) fn lines(count: usize) -> String {
    (0..count).fold(String::new(), |mut lines, i| {
        // A write to memory cannot fail.
        let _ = writeln!(lines, "key {i}=message {i} of {count}");
        lines
    })
}

pub(super) fn digest(lines: &[u8]) -> String {
    let digest = Sha256::digest(lines);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the digest of the output of `kc consume --format json`.
pub(super) fn digest_of_json(output: &[u8]) -> anyhow::Result<String> {
    let mut lines = Vec::new();
    for line in output
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let record: Value = serde_json::from_slice(line)?;
        let part = |name: &str| -> anyhow::Result<Vec<u8>> {
            let text = record.get(name).and_then(Value::as_str);
            Ok(STANDARD.decode(text.with_context(|| format!("no {name}"))?)?)
        };
        lines.extend(part("key")?);
        lines.push(b'=');
        lines.extend(part("value")?);
        lines.push(b'\n');
    }
    Ok(digest(&lines))
}

/// Ends a program by SIGTERM, and checks its exit status.
pub(super) fn terminate(child: &mut Child) -> anyhow::Result<()> {
    shell::run(Command::new("kill").arg(child.id().to_string()))?;
    let status = child.wait()?;
    let mut rest = String::new();
    if let Some(stderr) = &mut child.stderr {
        stderr.read_to_string(&mut rest)?;
    }
    ensure!(status.success(), "kc produce: {status} {rest}");
    Ok(())
}
