//! Builds the program that measures kc, and runs it. It has a workspace of its own, because it needs libsodium.

use std::process::{Command, Stdio};

use anyhow::ensure;

use crate::{interop, shell};

const MANIFEST: &str = "bench/Cargo.toml";

/// Runs the program with these arguments.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<()> {
    let mut pkg_config = Command::new("pkg-config");
    let exists = pkg_config.args(["--exists", "libsodium"]).status();
    ensure!(
        exists.is_ok_and(|status| status.success()),
        "measuring needs libsodium and pkg-config: on Debian, apt-get install libsodium-dev pkg-config"
    );
    let folder = shell::target_folder().join("bench");
    let mut build = shell::cargo("build");
    build.args(["--release", "--manifest-path", MANIFEST, "--target-dir"]);
    // Standard output is for the figures.
    shell::run(build.arg(&folder).stdout(Stdio::null()))?;
    let mut bench = Command::new(folder.join("release/kc-bench"));
    if arguments.iter().any(|argument| argument == "--peers") {
        interop::name_python_peer(&mut bench)?;
    }
    shell::run(bench.args(arguments))
}
