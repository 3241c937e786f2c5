//! Measures kc: `cargo xtask bench`.
//!
//! | module | measures |
//! |---|---|
//! | [`kernels`] | sealing and opening in one thread, beside libsodium |
//! | [`signatures`] | signing and verifying with SLH-DSA |
//! | [`scale`] | many root topics and key ids, memory, two cores |
//! | [`clients`] | encrypted clients beside unencrypted ones, on `kc broker` or on Apache Kafka |
//! | [`peers`] | sealing beside the Python peer, signing beside liboqs |
//! | [`custody`] | a custodian with many keys |
//!
//! What is compared runs in turns (see [`rounds`]), so that a ratio of one run says something on any machine; a figure
//! alone does not.

mod clients;
mod custody;
mod kernels;
mod keys;
mod nodes;
mod peers;
mod report;
mod rounds;
mod scale;
mod signatures;
mod sodium;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::clients::{BROKER, Brokers};
use crate::report::Report;
use crate::rounds::Plan;

#[derive(Parser)]
#[command(about = "Measures kc beside libsodium and beside unencrypted clients")]
struct Options {
    /// Measures less, within a minute.
    #[arg(long)]
    quick: bool,
    /// Prints one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Prints a table in Markdown at the end.
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Runs the clients on Apache Kafka, too.
    #[arg(long, conflicts_with = "quick")]
    kafka: bool,
    /// Measures the Python peer and liboqs, too, which `cargo xtask bench` then installs.
    #[arg(long)]
    peers: bool,
    /// Compares the result with an earlier one: a file with the output of `--json`.
    #[arg(long, value_name = "FILE")]
    since: Option<PathBuf>,
    /// Draws the ratios into an SVG file.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// The number of rounds [default: 7; 3 with --quick]
    #[arg(long)]
    rounds: Option<usize>,
    /// What to measure: kernels, scale, clients, custody [default: all]
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    Kernels,
    Scale,
    Clients,
    Custody,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(what), _) if what == BROKER => return clients::serve_broker(),
        (Some(what), Some(folder)) if what == custody::OPEN => {
            return custody::open_and_tell(folder.as_ref());
        }
        _ => {}
    }
    let options = Options::parse();
    let (rounds, slice) = if options.quick { (3, 40) } else { (7, 300) };
    let plan = Plan {
        rounds: options.rounds.unwrap_or(rounds).max(1),
        slice: Duration::from_millis(slice),
        quick: options.quick,
    };
    let wants = |part| options.parts.is_empty() || options.parts.contains(&part);
    let mut report = Report::new(options.json);
    if wants(Part::Kernels) {
        kernels::run(&plan, &mut report)?;
        signatures::run(&plan, &mut report)?;
    }
    if options.peers {
        peers::run(&plan, &mut report)?;
    }
    if wants(Part::Scale) {
        scale::run(&plan, &mut report)?;
    }
    if wants(Part::Clients) {
        clients::run(&plan, &mut report, "", Brokers::embedded)?;
        if options.kafka {
            clients::run(&plan, &mut report, "/kafka", Brokers::kafka)?;
        }
    }
    if wants(Part::Custody) {
        custody::run(&plan, &mut report, &Brokers::embedded()?.address)?;
    }
    if options.markdown {
        report.print_markdown();
    }
    if let Some(file) = &options.plot {
        report.plot(file)?;
    }
    options
        .since
        .map_or(Ok(()), |file| report.compare_with(&file))
}
