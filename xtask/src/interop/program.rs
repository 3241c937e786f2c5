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

/// What the Python peer needs beside what provisioning writes.
const PYTHON_CONSUMER: &str = "auto_offset_reset : earliest\nsession_timeout_ms : 6000\n";

/// Our program, with a folder for its nodes.
pub(super) struct Program {
    program: PathBuf,
    nodes: PathBuf,
}

/// A running `kc broker`, killed at the end.
pub(super) struct Broker {
    child: Child,
    pub(super) address: String,
}

impl Program {
    pub(super) fn build(folder: &Path) -> anyhow::Result<Self> {
        let mut build = Command::new(env!("CARGO"));
        let status = build
            .args(["build", "--release", "--locked", "-p", "kc-cli"])
            .status()?;
        ensure!(status.success(), "building kc: {status}");
        let nodes = folder.join("nodes");
        if nodes.exists() {
            fs::remove_dir_all(&nodes)?;
        }
        fs::create_dir_all(&nodes)?;
        fs::write(nodes.join("password"), "interop\n")?;
        let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".into());
        Ok(Self {
            program: Path::new(&target).join("release/kc").canonicalize()?,
            nodes: nodes.canonicalize()?,
        })
    }

    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments);
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

    /// The configuration of a node.
    pub(super) fn node(&self, id: &str) -> PathBuf {
        self.nodes.join(format!("{id}.config"))
    }

    pub(super) fn provision(&self, id: &str, role: &str, servers: &str) -> anyhow::Result<()> {
        let password = self.nodes.join("password");
        let status = self
            .command(&[
                "--quiet",
                "provision",
                role,
                "--node",
                id,
                "-b",
                servers,
                "--dir",
            ])
            .arg(&self.nodes)
            .arg("--root-password-file")
            .arg(&password)
            .arg("--password-file")
            .arg(&password)
            .status()?;
        ensure!(status.success(), "kc provision {id}: {status}");
        let (path, section) = (self.node(id), format!("[{id}-kafka-consumer]\n"));
        let config = fs::read_to_string(&path)?;
        ensure!(
            config.contains(&section),
            "{} has no {section}",
            path.display()
        );
        if id.starts_with("python") {
            fs::write(
                path,
                config.replace(&section, &format!("{section}{PYTHON_CONSUMER}")),
            )?;
        }
        Ok(())
    }

    pub(super) fn create_topics(&self, topics: &[&str], servers: &str) -> anyhow::Result<()> {
        let status = self
            .command(&["--quiet", "topics", "create", "-b", servers])
            .args(topics)
            .status()?;
        ensure!(status.success(), "kc topics create: {status}");
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What both sides send: a line `key=value` for each message.
pub(super) fn lines(count: usize) -> String {
    (0..count).fold(String::new(), |mut lines, i| {
        // Writing to memory cannot fail.
        let _ = writeln!(lines, "key {i}=message {i} of {count}");
        lines
    })
}

pub(super) fn digest(lines: &[u8]) -> String {
    let digest = Sha256::digest(lines);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest of what `kc consume --format json` printed.
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

/// Ends a program as a person would.
pub(super) fn terminate(child: &mut Child) -> anyhow::Result<()> {
    let id = child.id().to_string();
    ensure!(
        Command::new("kill").arg(&id).status()?.success(),
        "kill {id}"
    );
    let status = child.wait()?;
    let mut rest = String::new();
    if let Some(stderr) = &mut child.stderr {
        stderr.read_to_string(&mut rest)?;
    }
    ensure!(status.success(), "kc produce: {status} {rest}");
    Ok(())
}
