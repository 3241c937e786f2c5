//! Runs each fuzz target for some seconds.

use std::num::NonZero;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use clap::Args;

use crate::shell;

const FOLDER: &str = "fuzz";
/// The maximum time of an input, in seconds.
const TIMEOUT: u32 = 10;
/// The maximum length of an input, in bytes: short inputs are mutated faster, and reach as much code.
const MAX_LEN: u32 = 4096;

#[derive(Args)]
pub(crate) struct Options {
    /// The time for each target, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// The only target to run [default: all]
    #[arg(long)]
    target: Option<String>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    for (arguments, missing) in [
        (
            ["--version"].as_slice(),
            "fuzzing needs the nightly compiler: rustup toolchain install nightly --profile minimal",
        ),
        (
            &["fuzz", "--version"],
            "fuzzing needs cargo-fuzz: cargo install --locked cargo-fuzz",
        ),
    ] {
        let command = &mut nightly();
        let output = command.args(arguments).output();
        ensure!(output.is_ok_and(|output| output.status.success()), missing);
    }
    // cargo-fuzz has no option to keep to the lock file.
    let mut metadata = shell::cargo("metadata");
    metadata.args([
        "--format-version",
        "1",
        "--manifest-path",
        "fuzz/Cargo.toml",
    ]);
    shell::run(metadata.stdout(Stdio::null()))?;

    let mut targets = targets()?;
    if let Some(target) = &options.target {
        ensure!(
            targets.contains(target),
            "no target {target}, but {}",
            targets.join(", ")
        );
        targets = vec![target.clone()];
    }
    let started = Instant::now();
    shell::run(fuzz("build").args(&options.target))?;
    println!("fuzz: built in {} s", started.elapsed().as_secs());
    let passed = fuzz_all(&targets, options.seconds);
    targets.retain(|target| !passed.contains(target));
    let failed = targets;
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Runs targets, as many at the same time as there are processors. Returns the targets that passed.
fn fuzz_all(targets: &[String], seconds: u32) -> Vec<String> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let waiting = Mutex::new(targets.iter());
    let next = || waiting.lock().ok()?.next();
    let work = || {
        let mut passed = Vec::new();
        while let Some(target) = next() {
            match fuzz_one(target, seconds) {
                Ok(inputs) => {
                    println!("fuzz: {target}: {inputs} inputs");
                    passed.push(target.clone());
                }
                Err(error) => println!("fuzz: {target}: {error:#}"),
            }
        }
        passed
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        let passed = workers.into_iter().filter_map(|worker| worker.join().ok());
        passed.flatten().collect()
    })
}

fn targets() -> anyhow::Result<Vec<String>> {
    let mut list = nightly();
    let list = list.args(["fuzz", "list", "--fuzz-dir", FOLDER]).output();
    let list = list.context("cargo fuzz list")?;
    ensure!(list.status.success(), "cargo fuzz list: {}", list.status);
    let names = String::from_utf8_lossy(&list.stdout);
    Ok(names.lines().map(str::to_owned).collect())
}

/// Runs one target on its seeds and on the inputs of earlier runs. Returns the number of inputs.
fn fuzz_one(target: &str, seconds: u32) -> anyhow::Result<String> {
    let found = shell::target_folder().join("fuzz/corpus").join(target);
    std::fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    let mut run = fuzz("run");
    let seeds = format!("{FOLDER}/seeds/{target}");
    run.arg(target).arg(&found).arg(seeds).arg("--").args([
        &format!("-max_total_time={seconds}"),
        &format!("-timeout={TIMEOUT}"),
        &format!("-max_len={MAX_LEN}"),
        "-print_final_stats=1",
    ]);
    let output = run.output().with_context(|| format!("{run:?}"))?;
    let report = String::from_utf8_lossy(&output.stderr);
    // The report without the lines of progress.
    let mut lines = report.lines().filter(|line| !line.starts_with('#'));
    if !output.status.success() {
        bail!(
            "{}\n{}",
            output.status,
            lines.collect::<Vec<_>>().join("\n")
        );
    }
    let inputs = lines.find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    inputs
        .map(|inputs| inputs.trim().to_owned())
        .context("it does not say how many inputs it took")
}

fn fuzz(command: &str) -> Command {
    let mut fuzz = nightly();
    fuzz.args(["fuzz", command, "--fuzz-dir", FOLDER, "--target-dir"]);
    fuzz.arg(shell::target_folder().join("fuzz"));
    // The fuzzed code has no `unsafe`, so a sanitizer would only slow it down.
    fuzz.args(["--sanitizer", "none", "--codegen-units", "16"]);
    fuzz
}

fn nightly() -> Command {
    let mut cargo = Command::new("rustup");
    cargo.args(["run", "nightly", "cargo"]);
    // Otherwise the cargo that runs this chore would run.
    cargo.env_remove("CARGO");
    cargo
}
