//! Runs kc and the peers, each in a process of its own, over `kc broker` and Apache Kafka: first contacts, keys of kc on a
//! token, a custodian of kc, a node that moves between the programs, and a matrix of their combinations.

mod cell;
mod contact;
mod custody;
mod data;
mod faults;
mod fleet;
mod handover;
mod matrix;
mod member;
mod openmsistream;
mod peers;
mod process;
mod program;
mod token;

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::ensure;

use self::cell::{Cell, PeerKind};
use self::fleet::{Fleet, MANAGEMENT};
use self::matrix::Matrix;
use self::member::{Member, Side};
use self::peers::Peers;
use self::program::Program;

/// The number of first contacts in each direction.
const CONTACTS: usize = 3;
/// The number of cells without `--full`: enough for each value, and for most pairs of values.
const CELLS: usize = 12;
/// The number of plain messages.
const MESSAGES: usize = 100;

#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    only: Option<Only>,
    /// Runs enough cells for each combination of three values, and more first contacts and handovers.
    #[arg(long)]
    full: bool,
    /// Runs all cells whose names contain each of these texts, and nothing else.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["full", "faults"])]
    cells: Vec<String>,
    /// Shows the faults of the peers that docs/interop.md lists; fails if a fault is not seen.
    #[arg(long, conflicts_with = "full")]
    faults: bool,
}

/// A peer that is not among the others.
#[derive(clap::Subcommand)]
enum Only {
    /// Sends files from OpenMSIStream to kc and back, plain and encrypted.
    Openmsistream {
        /// Sends a file of 200 MB, too.
        #[arg(long)]
        large: bool,
    },
}

/// Installs the Python peer, and tells `command` where it is.
pub(crate) fn name_python_peer(command: &mut Command) -> anyhow::Result<()> {
    Peers::name_python(folder()?, command)
}

fn folder() -> anyhow::Result<&'static Path> {
    let folder = Path::new("target/interop");
    fs::create_dir_all(folder)?;
    Ok(folder)
}

/// Runs the chosen exchanges. Fails if one of them fails, or if a peer cannot be installed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let folder = folder()?;
    if let Some(Only::Openmsistream { large }) = options.only {
        return openmsistream::run(folder, large);
    }
    let peers = Peers::install(folder, options.faults)?;
    let program = Program::build(folder)?;
    if options.faults {
        return faults::show(&peers, &program);
    }
    let mut kinds = vec![PeerKind::Confluent, PeerKind::KafkaPython];
    kinds.extend(peers.java.as_ref().map(|_| PeerKind::Java));
    let all = Cell::all(&kinds);
    let cells = match options {
        Options { full: true, .. } => cell::choose(&all, 3, usize::MAX),
        Options { cells, .. } if !cells.is_empty() => {
            let named = |cell: &Cell| {
                let name = cell.to_string();
                cells.iter().all(|text| name.contains(text))
            };
            all.iter().copied().filter(named).collect()
        }
        _ => cell::choose(&all, 2, CELLS),
    };
    ensure!(
        !cells.is_empty(),
        "no cell has a name with {}",
        options.cells.join(" and ")
    );
    println!("{} cells of {}", cells.len(), all.len());
    if options.cells.is_empty() {
        on_our_broker(&peers, &program, options.full)?;
        handover::hand_over_by_tls(&peers, &program)?;
    }
    let passed = Matrix::new(&peers, &program).run(&cells);
    let failed = passed.iter().filter(|passed| !**passed).count();
    println!("{}", cell::table(&cells, &passed));
    ensure!(failed == 0, "{failed} of {} cells failed", cells.len());
    Ok(())
}

/// Runs what needs no other broker than `kc broker`.
fn on_our_broker(peers: &Peers, program: &Program, full: bool) -> anyhow::Result<()> {
    let broker = program.broker(&[])?;
    println!("broker on {}", broker.address);
    let connection = ["-b", &broker.address].map(str::to_owned);
    let fleet = Fleet::new(program, "ours", &connection)?;
    fleet.create_topics(&MANAGEMENT)?;
    peers.plain_round_trip(&broker.address, MESSAGES)?;
    exchange_with_token(peers, &fleet)?;
    let types: &[_] = if full { &["1", "4"] } else { &["1"] };
    for key_type in types {
        let name = format!("handover-{key_type}");
        let fleet = Fleet::new(program, &name, &connection)?;
        handover::hand_over(&name, peers, &fleet, &["--key-type", key_type])?;
    }
    let python = [&peers.kafka_python, &peers.confluent].map(Side::Python);
    let sides = python
        .into_iter()
        .chain(peers.java.as_ref().map(Side::Java));
    let sides = Vec::from_iter(sides);
    custody::outlive_senders(&fleet, &sides)?;
    let contacts = if full { 10 } else { CONTACTS };
    contact::first_contacts(&fleet, &sides, contacts)
}

/// Sends messages in both directions with the keys of kc on a token.
fn exchange_with_token(peers: &Peers, fleet: &Fleet<'_>) -> anyhow::Result<()> {
    let kc = Side::Kc("pure");
    let python = Side::Python(&peers.kafka_python);
    for (from, to) in [(python, kc), (kc, python)] {
        let name = format!("token-{}-{}", from.name(), to.name());
        let sender = fleet.provision(&format!("{name}-producer"), "producer", &[])?;
        let reader = fleet.provision(&format!("{name}-consumer"), "consumer", &[])?;
        let on_token = match from {
            Side::Kc(_) => &sender,
            _ => &reader,
        };
        fleet.program.move_to_token(on_token)?;
        let [from, to] =
            [(from, &sender), (to, &reader)].map(|(side, config)| Member { side, config });
        contact::exchange(from, to, &format!("{name}.data"), fleet)?;
        println!(
            "{} to {}: with the keys of kc on a token",
            from.side.name(),
            to.side.name()
        );
    }
    Ok(())
}
