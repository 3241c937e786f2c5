//! Simulates many worlds, each from a seed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::bail;
use kc_testkit::sim::{self, Counts, Outcome};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many seeds.
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// With hybrid signing keys and ML-KEM.
    #[arg(long)]
    hybrid: bool,
    /// How many failures end it.
    #[arg(long, default_value_t = 10)]
    failures: u64,
    /// Shows all steps of a failure.
    #[arg(long)]
    trace: bool,
}

/// Simulates, and fails with the seeds that failed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    // A panic is a failure with a seed.
    std::panic::set_hook(Box::new(|_| {}));
    let begun = Instant::now();
    let (counts, failed) = simulate(options);
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
        "sim: {} seeds from {}, {} failed; {} events, {} sealed, {} opened, {} answered, {} crashes, {} virtual hours in {:.1} s",
        options.seeds,
        options.seed,
        failed.len(),
        counts.events,
        counts.sealed,
        counts.opened,
        counts.answered,
        counts.crashes,
        counts.seconds / 3600,
        begun.elapsed().as_secs_f64(),
    );
    if !failed.is_empty() {
        bail!("{} seeds failed", failed.len());
    }
    Ok(())
}

fn simulate(options: &Options) -> (Counts, Vec<Outcome>) {
    let kind = sim::Options {
        hybrid: options.hybrid,
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
