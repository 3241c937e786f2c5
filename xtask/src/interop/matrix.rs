//! The matrix: kc and the peers in many combinations, compared by digests.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kc_testkit::kafka::{Kafka, Listener, Version};

use super::cell::{Cell, Exchange, KeyType, Nodes, PeerKind, Scenario, Way};
use super::data::{Batch, Report};
use super::fleet::{Fleet, MANAGEMENT};
use super::member::{Member, Side};
use super::peers::Peers;
use super::process::Process;
use super::program::Program;

const SMALL: Batch = Batch {
    seed: "small",
    count: 500,
    size: 200,
};
/// Values of up to 900,000 bytes.
const LARGE: Batch = Batch {
    seed: "large",
    count: 20,
    size: 225_000,
};
/// The messages of another producer. None is null: a Python consumer cannot open what the Python peer sends on
/// confluent-kafka for a null.
const SECOND: Batch = Batch {
    seed: "second",
    count: 40,
    size: 200,
};
/// The root topic that the chains of the vectors grant.
const ROOT_OF_VECTORS: &str = "openmsitest";
/// The validity of a chain that a chain server renews.
pub(super) const SHORT_LIFE: Duration = Duration::from_secs(15);

/// The programs and the brokers.
pub(super) struct Matrix<'a> {
    peers: &'a Peers,
    program: &'a Program,
    brokers: HashMap<Version, Kafka>,
}

/// The configurations of the nodes of a cell.
struct Configs {
    sender: PathBuf,
    reader: PathBuf,
    /// The controller, the chain server, or the second producer.
    third: Option<PathBuf>,
    /// The end of the sender's chain, if a chain server renews it.
    chain_ends: Option<Instant>,
}

impl<'a> Matrix<'a> {
    pub(super) fn new(peers: &'a Peers, program: &'a Program) -> Self {
        Self {
            peers,
            program,
            brokers: HashMap::new(),
        }
    }

    /// Runs cells, and prints the result of each. Returns whether each succeeded.
    pub(super) fn run(&mut self, cells: &[Cell]) -> Vec<bool> {
        let numbered = cells.iter().enumerate();
        let results = numbered.map(|(number, cell)| {
            let start = Instant::now();
            let result = self.run_cell(*cell, &format!("m{number}"));
            let seconds = start.elapsed().as_secs();
            match &result {
                Ok(()) => println!("{number:>3} passed in {seconds:>2} s: {cell}"),
                Err(error) => println!("{number:>3} FAILED after {seconds} s: {cell}: {error:#}"),
            }
            result.is_ok()
        });
        results.collect()
    }

    fn run_cell(&mut self, cell: Cell, name: &str) -> anyhow::Result<()> {
        let address = self.broker(cell.client.version())?;
        let fleet = Fleet::new(self.program, name, &["-b".to_owned(), address.clone()])?;
        let (root, topic) = match cell.nodes {
            Nodes::Provisioned => (name, format!("{name}.data")),
            Nodes::SimpleProvision => (ROOT_OF_VECTORS, format!("{ROOT_OF_VECTORS}.{name}")),
        };
        fleet.create_topics(&[&topic])?;
        let replies = format!("{root}.keys");
        let replied = fleet.count(&replies)?;

        let peer = self.side(cell.peer)?;
        let ours = Side::Ours(cell.client.backend());
        let (from, to) = match cell.way {
            Way::ToOurs => (peer, ours),
            Way::FromOurs => (ours, peer),
        };
        let configs = configs(cell, &fleet, &address)?;
        let sender = Member {
            side: from,
            config: &configs.sender,
        };
        let reader = Member {
            side: to,
            config: &configs.reader,
        };
        let batches = match cell.scenario {
            Scenario::ReaderKilled => vec![SMALL],
            Scenario::TwoProducers => vec![SMALL, SECOND, LARGE],
            _ => vec![SMALL, LARGE],
        };
        let count = batches.iter().map(|batch| batch.count).sum();
        let read = |group| reader.read(&fleet, &topic, count, group);

        let mut reading = configs
            .chain_ends
            .is_none()
            .then(|| read(None))
            .transpose()?;
        let third = configs.third.as_deref();
        let _third = third
            .map(|config| self.third(cell.scenario, config))
            .transpose()?
            .flatten();
        let sending = sender.send(&fleet, &topic, SMALL)?;
        fleet.wait_for(&topic, SMALL.count)?;
        if let Some(end) = configs.chain_ends {
            thread::sleep(end.saturating_duration_since(Instant::now()));
            reading = Some(read(None)?);
        }
        fleet.wait_for(&replies, replied + 1)?;
        let mut reading = reading.context("nobody reads")?;
        let mut others = Vec::new();
        match cell.scenario {
            Scenario::ReaderKilled => {
                reading.kill()?;
                reading = read(Some("after-the-kill"))?;
                others.push(sending);
            }
            Scenario::SenderKilled => sending.kill()?,
            _ => sending.end()?,
        }
        if let (Scenario::TwoProducers, Some(config)) = (cell.scenario, third) {
            let second = Member { side: to, config };
            others.push(second.send(&fleet, &topic, SECOND)?);
        }
        if batches.contains(&LARGE) {
            others.push(sender.send(&fleet, &topic, LARGE)?);
        }
        let (expected, report) = (Report::of(&batches), reading.report()?);
        // The Java peer sends a null as an empty text.
        let equal = match from {
            Side::Java(_) => (report.count, &report.lenient) == (expected.count, &expected.lenient),
            _ => report == expected,
        };
        ensure!(equal, "read {report:?} instead of {expected:?}");
        others.into_iter().try_for_each(|sender| sender.end())
    }

    /// Returns the address of a broker, which runs from its first use.
    fn broker(&mut self, version: Version) -> anyhow::Result<String> {
        if let Some(kafka) = self.brokers.get(&version) {
            return Ok(kafka.address(Listener::Plaintext));
        }
        let kafka = Kafka::builder(version).start()?;
        let address = kafka.address(Listener::Plaintext);
        self.brokers.insert(version, kafka);
        let connection = ["-b".to_owned(), address.clone()];
        Fleet::new(self.program, version.short(), &connection)?.create_topics(&MANAGEMENT)?;
        Ok(address)
    }

    fn side(&self, peer: PeerKind) -> anyhow::Result<Side<'a>> {
        Ok(match peer {
            PeerKind::Confluent => Side::Python(&self.peers.confluent),
            PeerKind::KafkaPython => Side::Python(&self.peers.kafka_python),
            PeerKind::Java => Side::Java(self.peers.java.as_ref().context("no Java peer")?),
        })
    }

    /// Starts the controller or the chain server.
    fn third(&self, scenario: Scenario, config: &Path) -> anyhow::Result<Option<Process>> {
        let kc = |role| {
            let mut command = self.program.command(&["--quiet", role, "--node"]);
            Process::start(role, command.arg(config)).map(Some)
        };
        let python = |role| self.peers.confluent.start(role, config, &[]).map(Some);
        match scenario {
            Scenario::OurController => kc("controller"),
            Scenario::TheirController => python("controller"),
            Scenario::OurChainServer => kc("chain-server"),
            Scenario::TheirChainServer => python("chain-server"),
            _ => Ok(None),
        }
    }
}

/// Makes the nodes of a cell.
fn configs(cell: Cell, fleet: &Fleet<'_>, address: &str) -> anyhow::Result<Configs> {
    let controlled = matches!(
        cell.scenario,
        Scenario::OurController | Scenario::TheirController
    );
    let served = matches!(
        cell.scenario,
        Scenario::OurChainServer | Scenario::TheirChainServer
    );
    let flags = key_type(cell);
    let mut chain_ends = None;
    let (sender, reader, third) = match cell.nodes {
        Nodes::Provisioned => {
            let reader = if controlled {
                "consumer-limited"
            } else {
                "consumer"
            };
            let reader = fleet.provision("reader", reader, &flags)?;
            let third = match cell.scenario {
                _ if controlled => Some(fleet.provision("third", "controller", &flags)?),
                _ if served => Some(fleet.provision("third", "chain-server", &flags)?),
                Scenario::TwoProducers => Some(fleet.provision("third", "producer", &flags)?),
                _ => None,
            };
            let life = format!("{}s", SHORT_LIFE.as_secs());
            let short: &[&str] = if served { &["--lifetime", &life] } else { &[] };
            let sender = fleet.provision("sender", "producer", &[&flags[..], short].concat())?;
            chain_ends = served.then(|| Instant::now() + SHORT_LIFE);
            (sender, reader, third)
        }
        Nodes::SimpleProvision => {
            let copy = |case, id| fleet.copy_vector(case, id, address);
            let sender = copy("simple-producer", "prod1")?;
            if controlled {
                let third = copy("simple-controller", "ctrl1")?;
                (
                    sender,
                    copy("simple-consumer-limited", "cons2")?,
                    Some(third),
                )
            } else {
                (sender, copy("simple-prodcon", "pc1")?, None)
            }
        }
    };
    let exchanging = [
        Some(&sender),
        Some(&reader),
        third.as_ref().filter(|_| !served),
    ];
    for node in exchanging.into_iter().flatten() {
        fleet.change(&["node", "keys", "--exchange", exchange(cell)], node)?;
    }
    if let Some(server) = third.as_deref().filter(|_| served) {
        fleet.enroll(server, &sender)?;
    }
    Ok(Configs {
        sender,
        reader,
        third,
        chain_ends,
    })
}

/// Returns the flags of the key type for `kc provision`.
fn key_type(cell: Cell) -> [&'static str; 2] {
    let key_type = match cell.key_type {
        KeyType::Ed25519 => "1",
        KeyType::Hybrid => "4",
    };
    ["--key-type", key_type]
}

/// Returns the exchange for `kc node keys`.
fn exchange(cell: Cell) -> &'static str {
    match cell.exchange {
        Exchange::Classical => "1",
        Exchange::NtruPrime => "2",
        Exchange::MlKem => "5",
    }
}
