//! Alters the code of chains and of the ratchet, one place at a time, and shows alterations that no test notices.

use clap::Args;

use crate::shell;

const TOOL: shell::Tool = shell::Tool::new("mutants", "27.1.0");

#[derive(Args)]
pub(crate) struct Options {
    /// Only alterations whose file, line or function matches this regular expression, as in `ratchet/machine`.
    #[arg(long)]
    re: Option<String>,
    /// Only one part of the alterations, as in `0/8`.
    #[arg(long)]
    shard: Option<String>,
}

/// Runs cargo-mutants with `.cargo/mutants.toml`, twice: first with the tests of the altered modules, which are fast; then
/// with all unit tests of kc-core, for the alterations that no test noticed. Fails if alterations are left.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    TOOL.check()?;
    let output = shell::target_folder().join("mutants");
    std::fs::create_dir_all(&output)?;
    let command = |more: &[&str]| {
        let mut mutants = TOOL.command();
        mutants.args(["--package", "kc-core", "--jobs", "2", "--output"]);
        mutants.arg(&output);
        for (option, value) in [("--re", &options.re), ("--shard", &options.shard)] {
            if let Some(value) = value {
                mutants.args([option, value]);
            }
        }
        mutants.args(more);
        mutants
    };
    // The first run fails if alterations are left for the second run, or for another reason that fails the second, too.
    let _ = shell::run(&mut command(&["--", "--", "chain::", "ratchet::"]));
    // Unoptimised, these tests take longer than all others together, and need little of the altered code.
    let slow = ["a_million_invented_ids", "provision::", "failure_log::"];
    let skipped = slow.iter().flat_map(|test| ["--skip", test]);
    let all: Vec<&str> = ["--iterate", "--", "--"]
        .into_iter()
        .chain(skipped)
        .collect();
    shell::run(&mut command(&all))
}
