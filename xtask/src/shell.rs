//! Other programs and folders, as chores use them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// Runs a program to its end; any other end than success is an error.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// A command of cargo, which keeps to the lock file.
pub(crate) fn cargo(command: &str) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([command, "--locked"]);
    cargo
}

/// A subcommand of cargo, of the version that its output and options are known of.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

impl Tool {
    pub(crate) const fn new(name: &'static str, version: &'static str) -> Self {
        Self { name, version }
    }

    pub(crate) fn command(&self) -> Command {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.arg(self.name);
        cargo
    }

    /// Fails with how to install it unless it is there.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let Self { name, version } = self;
        let output = self.command().arg("--version").output();
        let output = output.with_context(|| format!("cargo {name}"))?;
        let is_there =
            String::from_utf8_lossy(&output.stdout).trim() == format!("cargo-{name} {version}");
        ensure!(
            is_there,
            "needs cargo-{name} {version}: cargo install --locked --version {version} cargo-{name}"
        );
        Ok(())
    }
}

/// Where cargo builds.
pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// Installs Debian packages unless all of them are there.
pub(crate) fn install(packages: &[&str]) -> anyhow::Result<()> {
    let known = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status}\n"])
        .args(packages)
        .output()
        .context("dpkg-query")?;
    let states = String::from_utf8_lossy(&known.stdout);
    if known.status.success() && states.lines().all(|state| state == "installed") {
        return Ok(());
    }
    run(Command::new("apt-get").args(["update", "-qq"]))?;
    let install = ["install", "-qq", "-y", "--no-install-recommends"];
    run(Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(install)
        .args(packages))
}

/// Lists the sources in Rust in a folder and below, sorted.
pub(crate) fn sources_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(sources_below(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
