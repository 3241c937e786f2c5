//! Apache Kafka, with every backend that supports it: `cargo xtask kafka test`. Needs Java and Maven.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod access;
mod backends;
mod brokers;
#[path = "../common/clients.rs"]
mod clients;
mod cluster;
mod compaction;
mod conformance;
#[path = "../common/crowd.rs"]
mod crowd;
mod custody;
mod first_contact;
mod fleet;
mod groups;
mod identity;
mod lost_keys;
#[path = "../common/membership.rs"]
mod membership;
mod outages;
mod producers;
mod refusals;
mod security;
mod sizes;
mod tokens;
mod transactions;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .try_init();
    let arguments = Arguments::from_args();
    let trials = [
        conformance::trials(),
        security::trials(),
        refusals::trials(),
        sizes::trials(),
        tokens::trials(),
        transactions::trials(),
        groups::trials(),
        compaction::trials(),
        lost_keys::trials(),
        custody::trials(),
        outages::trials(),
        first_contact::trials(),
        producers::trials(),
        access::trials(),
        cluster::trials(),
    ];
    let conclusion = libtest_mimic::run(&arguments, trials.into_iter().flatten().collect());
    if !arguments.list {
        security::print_table();
        outages::print_times();
        first_contact::print_times();
        producers::print_time();
    }
    brokers::stop();
    conclusion.exit_code()
}

/// Returns a trial that runs on a runtime of its own.
fn trial<F: Future<Output = ()>>(
    name: impl Into<String>,
    run: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    Trial::test(name, move || {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(run());
        Ok(())
    })
}
