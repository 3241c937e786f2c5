//! Simulates many worlds, each from a seed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{bail, ensure};
use kc_testkit::sim::{self, Counts, Outcome, Rule};

use crate::shell;

#[derive(Clone, clap::Args)]
pub(crate) struct Options {
    /// The number of seeds.
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Use hybrid signing keys and ML-KEM.
    #[arg(long)]
    hybrid: bool,
    /// Break each rule on purpose, and show the invariant that finds it.
    #[arg(long)]
    broken: bool,
    /// Use this build as it is. By default the simulator is built again, optimised and with the code that breaks rules.
    #[arg(long)]
    here: bool,
    /// Break only this rule, one of those that `--broken` shows.
    #[arg(long)]
    rule: Option<String>,
    /// The number of failures after which the run ends.
    #[arg(long, default_value_t = 10)]
    failures: u64,
    /// Show all steps of a failure.
    #[arg(long)]
    trace: bool,
}

/// Simulates worlds, and fails with the seeds whose worlds failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let breaks = options.broken || options.rule.is_some();
    let lacks_feature = breaks && !cfg!(feature = "sabotage");
    if !options.here && (cfg!(debug_assertions) || lacks_feature) {
        return run_built(breaks);
    }
    // A panic is a failure with a seed, so its message is not printed.
    std::panic::set_hook(Box::new(|_| {}));
    if options.broken {
        return break_rules(options);
    }
    let begun = Instant::now();
    let rule = Rule::ALL
        .into_iter()
        .find(|rule| options.rule == Some(format!("{rule:?}")));
    let (counts, failed) = simulate(options, rule);
    for Outcome { seed, failed, .. } in &failed {
        let hybrid = if options.hybrid { " --hybrid" } else { "" };
        println!("seed {seed} failed: cargo xtask sim --seeds 1 --seed {seed}{hybrid}");
        if let Some(failed) = failed {
            if options.trace {
                failed.trace.iter().for_each(|step| println!("    {step}"));
            }
            println!("  {failed}");
        }
    }
    println!(
        "sim: {} seeds from {}, {} failed; {} events, {} sealed, {} opened, {} answered, {} kept, {} crashes, {} virtual hours in {:.1} s",
        options.seeds,
        options.seed,
        failed.len(),
        counts.events,
        counts.sealed,
        counts.opened,
        counts.answered,
        counts.kept,
        counts.crashes,
        counts.seconds / 3600,
        begun.elapsed().as_secs_f64(),
    );
    if !failed.is_empty() {
        bail!("{} seeds failed", failed.len());
    }
    Ok(())
}

/// Builds the simulator with the needed options, and runs it with the same arguments.
fn run_built(breaks_rules: bool) -> anyhow::Result<()> {
    let features: &[&str] = if breaks_rules {
        &["--features", "sabotage"]
    } else {
        &[]
    };
    let mut cargo = shell::cargo("run");
    cargo.args(["--quiet", "--release", "--package", "xtask"]);
    cargo
        .args(features)
        .arg("--")
        .args(std::env::args().skip(1));
    shell::run(&mut cargo)
}

/// Breaks each rule, and shows the invariant that fails and its seed.
fn break_rules(options: &Options) -> anyhow::Result<()> {
    println!("| rule that is broken | invariant that fails | seed |\n|---|---|---|");
    let mut unseen = Vec::new();
    for rule in Rule::ALL {
        let options = Options {
            failures: 1,
            ..options.clone()
        };
        let (_, failed) = simulate(&options, Some(rule));
        let found = failed
            .first()
            .and_then(|outcome| Some((outcome.seed, outcome.failed.as_ref()?)));
        match found {
            Some((seed, failed)) => {
                println!("| `{rule:?}` | `{:?}` | {seed} |", failed.invariant);
                let intact = simulate_one(seed, &options);
                ensure!(
                    intact.failed.is_none(),
                    "seed {seed} fails with no rule broken"
                );
            }
            None => {
                println!("| `{rule:?}` | none | - |");
                unseen.push(rule);
            }
        }
    }
    if !unseen.is_empty() {
        bail!("broken, and nothing found out: {unseen:?}");
    }
    Ok(())
}

fn simulate_one(seed: u64, options: &Options) -> Outcome {
    let kind = sim::Options {
        hybrid: options.hybrid,
        broken: None,
    };
    sim::run(seed, kind)
}

fn simulate(options: &Options, broken: Option<Rule>) -> (Counts, Vec<Outcome>) {
    let kind = sim::Options {
        hybrid: options.hybrid,
        broken,
    };
    let next = AtomicU64::new(options.seed);
    let end = options.seed.saturating_add(options.seeds);
    let results = Mutex::new((Counts::default(), Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let outcome = sim::run(seed, kind);
                    let outcome = match outcome.failed {
                        Some(_) => sim::replay(seed, kind),
                        None => outcome,
                    };
                    let Ok(mut results) = results.lock() else {
                        return;
                    };
                    results.0.add(&outcome.counts);
                    if outcome.failed.is_some() {
                        results.1.push(outcome);
                        if results.1.len() as u64 >= options.failures {
                            next.store(end, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let (counts, mut failed) = results.into_inner().unwrap_or_default();
    failed.sort_by_key(|outcome: &Outcome| outcome.seed);
    (counts, failed)
}
