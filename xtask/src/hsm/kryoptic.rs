use std::path::PathBuf;

use anyhow::Context;

use crate::shell;

/// The packages for the build: Perl builds OpenSSL, SQLite is linked, and libclang is needed for the bindings of both.
const PACKAGES: [&str; 5] = ["gcc", "libclang-dev", "libsqlite3-dev", "make", "perl"];

/// Builds kryoptic. Returns the path of its module.
pub(super) fn build() -> anyhow::Result<PathBuf> {
    shell::install(&PACKAGES)?;
    let target = shell::target_folder().join("kryoptic");
    shell::run(
        shell::cargo("build")
            .args(["--release", "--manifest-path", "xtask/kryoptic/Cargo.toml"])
            .arg("--target-dir")
            .arg(&target),
    )?;
    let module = target.join("release/libkryoptic_token.so");
    module
        .canonicalize()
        .with_context(|| module.display().to_string())
}
