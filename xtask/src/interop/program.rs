//! The program kc, and its broker.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context;

use super::token::Token;
use crate::shell;

/// The features of the program. `cargo xtask kafka test` builds librdkafka with the same feature.
const FEATURES: &str = "hsm,legacy-kafka,rdkafka-ssl-vendored";

/// The program kc, with all backends, a folder for nodes, and a token for the keys of some.
pub(super) struct Program {
    program: PathBuf,
    pub(super) nodes: PathBuf,
    token: Token,
}

/// A running `kc broker`, killed at the end.
pub(super) struct Broker {
    child: Child,
    pub(super) address: String,
}

impl Program {
    pub(super) fn build(folder: &Path) -> anyhow::Result<Self> {
        shell::run(shell::cargo("build").args(["-p", "kc-cli", "--features", FEATURES]))?;
        let nodes = folder.join("nodes");
        if nodes.exists() {
            fs::remove_dir_all(&nodes)?;
        }
        fs::create_dir_all(&nodes)?;
        let nodes = nodes.canonicalize()?;
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

    pub(super) fn broker(&self, flags: &[&str]) -> anyhow::Result<Broker> {
        let mut broker = self.command(&["broker", "--listen", "127.0.0.1:0"]);
        let mut child = broker.args(flags).stdout(Stdio::piped()).spawn()?;
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

    /// Moves the keys of a provisioned node onto the token.
    pub(super) fn move_to_token(&self, config: &Path) -> anyhow::Result<()> {
        shell::run(
            self.command(&["--quiet", "hsm", "import", &self.token.uri, "--shred"])
                .arg("--node")
                .arg(config),
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
