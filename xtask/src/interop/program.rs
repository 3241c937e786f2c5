//! The program kc, and its broker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::process::Process;
use super::token::Token;
use crate::shell;

/// The program kc, with all backends, a folder for nodes, and a token for the keys of some.
pub(super) struct Program {
    program: PathBuf,
    pub(super) nodes: PathBuf,
    token: Token,
}

/// A running `kc broker`, killed at the end.
pub(super) struct Broker {
    pub(super) address: String,
    _process: Process,
}

impl Program {
    pub(super) fn build(folder: &Path) -> anyhow::Result<Self> {
        shell::run(shell::cargo("full-build").args(["--bin", "kc"]))?;
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

    /// Starts a broker with these flags.
    pub(super) fn broker(&self, flags: &[&str]) -> anyhow::Result<Broker> {
        let mut broker = self.command(&["--quiet", "broker", "--listen", "127.0.0.1:0"]);
        let process = Process::start("kc broker", broker.args(flags))?;
        let line = process.line()?;
        let address = line.strip_prefix("listening on ");
        Ok(Broker {
            address: address.with_context(|| line.clone())?.to_owned(),
            _process: process,
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
