//! Checks the changes of public APIs since the last release against the version numbers.

use std::process::Command;

use anyhow::{Context, ensure};
use cargo_metadata::{MetadataCommand, Package};

use crate::shell;

const TOOL: shell::Tool = shell::Tool::new("semver-checks", "0.51.0");

/// Compares each library with its version at the last tag.
pub(crate) fn check() -> anyhow::Result<()> {
    let Some(tag) = last_tag()? else {
        println!("semver: there is no tag to compare with");
        return Ok(());
    };
    TOOL.check()?;
    let metadata = MetadataCommand::new().no_deps().exec()?;
    let is_library = |package: &&&Package| package.targets.iter().any(|target| target.is_lib());
    let workspace = metadata.workspace_packages();
    let mut broken = Vec::new();
    for package in workspace.iter().filter(is_library) {
        println!("semver: {} since {tag}", package.name);
        let status = check_one(package, &tag).status();
        if !status.context("cargo semver-checks")?.success() {
            broken.push(package.name.as_str());
        }
    }
    ensure!(
        broken.is_empty(),
        "changed by more than the version says since {tag}: {}",
        broken.join(", ")
    );
    Ok(())
}

/// Returns the check of one package with all features except those that build OpenSSL, which add nothing to an API.
fn check_one(package: &Package, tag: &str) -> Command {
    let mut command = TOOL.command();
    command.args(["--package", package.name.as_str()]);
    command.args(["--baseline-rev", tag, "--only-explicit-features"]);
    for feature in package
        .features
        .keys()
        .filter(|name| !name.ends_with("vendored"))
    {
        command.args(["--features", feature]);
    }
    command
}

/// Returns the last tag; `None` if nothing was released yet.
fn last_tag() -> anyhow::Result<Option<String>> {
    let mut git = Command::new("git");
    let tags = git.args(["tag", "--merged", "HEAD", "--sort=-v:refname"]);
    let tags = tags.output().context("git tag")?;
    ensure!(tags.status.success(), "git tag: {}", tags.status);
    let tags = String::from_utf8_lossy(&tags.stdout);
    Ok(tags.lines().next().map(str::to_owned))
}
