//! Programs and folders that several chores use.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// Runs a program to its end. Fails unless it succeeds.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

/// Returns a command of cargo, or an alias of `.cargo/config.toml`, which keeps to the lock file.
pub(crate) fn cargo(command: &str) -> Command {
    let mut cargo = without_this_package(Command::new(env!("CARGO")));
    cargo.args([command, "--locked"]);
    cargo
}

/// Removes the variables with which `cargo run` describes this package. With them, build scripts that read them (ring's)
/// would run again, and many crates would be compiled again.
fn without_this_package(mut cargo: Command) -> Command {
    let names = std::env::vars_os().map(|(name, _)| name);
    for name in names.filter_map(|name| name.into_string().ok()) {
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// A subcommand of cargo, with the version whose output and options the chores know.
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

impl Tool {
    pub(crate) const fn new(name: &'static str, version: &'static str) -> Self {
        Self { name, version }
    }

    pub(crate) fn command(&self) -> Command {
        let mut cargo = without_this_package(Command::new(env!("CARGO")));
        cargo.arg(self.name);
        cargo
    }

    /// Fails with the command that installs the tool, if it is missing.
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

/// Returns the target folder of cargo.
pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from)
}

/// Installs Debian packages, if one of them is missing.
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

/// Returns the Rust sources in a folder and below it, sorted.
pub(crate) fn sources_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = files_below(folder)?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
    Ok(found)
}

/// Returns the paths of all files below a folder, sorted.
pub(crate) fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files_below(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
