//! The matrix: kc and the peers in many combinations, compared by digests.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use kc_testkit::kafka::{Kafka, Listener, Version};

use super::cell::{Cell, Direction, Exchange, KeyType, Nodes, PeerKind, Scenario};
use super::data::{Batch, Report};
use super::fleet::{Fleet, MANAGEMENT, await_end};
use super::member::{Member, Sender, Side};
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
    second_sender: Option<PathBuf>,
    /// The controller or the chain server.
    authority: Option<PathBuf>,
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
        let configs = configs(cell, &fleet, &address)?;

        let peer = self.side(cell.peer)?;
        let kc = Side::Kc(cell.client.backend());
        let (from, to) = match cell.direction {
            Direction::ToKc => (peer, kc),
            Direction::FromKc => (kc, peer),
        };
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
        let read = |count, group| reader.read(&fleet, &topic, count, group);
        let send = || -> anyhow::Result<_> {
            let sending = sender.send(&fleet, &topic, SMALL)?;
            fleet.wait_for(&topic, SMALL.count)?;
            Ok(sending)
        };

        let authority = configs.authority.as_deref();
        let _authority = authority
            .map(|config| self.authority(cell.scenario, config))
            .transpose()?;
        let (mut reading, sending) = match (configs.chain_ends, cell.scenario) {
            (Some(end), _) => {
                let sending = send()?;
                await_end(end)?;
                (read(count, None)?, sending)
            }
            // This reader must not end before it is killed.
            (None, Scenario::ReaderKilled) => (read(count + 1, None)?, send()?),
            (None, _) => (read(count, None)?, send()?),
        };
        fleet.wait_for(&replies, replied + 1)?;
        let mut others = Vec::new();
        match cell.scenario {
            Scenario::ReaderKilled => {
                reading.kill()?;
                reading = read(count, Some("after-the-kill"))?;
                others.push(sending);
            }
            Scenario::SenderKilled => sending.kill()?,
            _ => sending.end()?,
        }
        if let Some(config) = &configs.second_sender {
            let second = Member { side: to, config };
            others.push(second.send(&fleet, &topic, SECOND)?);
        }
        if batches.contains(&LARGE) {
            others.push(sender.send(&fleet, &topic, LARGE)?);
        }
        let expected = match from {
            Side::Java(_) => Report::with_empty_nulls(&batches),
            _ => Report::of(&batches),
        };
        let report = reading.report()?;
        ensure!(
            report == expected,
            "read {report:?} instead of {expected:?}"
        );
        others.into_iter().try_for_each(Sender::end)
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

    /// Starts the controller or the chain server of a scenario.
    fn authority(&self, scenario: Scenario, config: &Path) -> anyhow::Result<Process> {
        let kc = |role| {
            let mut command = self.program.command(&["--quiet", role, "--node"]);
            Process::start(role, command.arg(config))
        };
        let python = &self.peers.confluent;
        match scenario {
            Scenario::KcController => kc("controller"),
            Scenario::PythonController => python.run("controller", config),
            Scenario::KcChainServer => kc("chain-server"),
            Scenario::PythonChainServer => python.run("chain-server", config),
            _ => bail!("{scenario} has no such node"),
        }
    }
}

/// Makes the nodes of a cell.
fn configs(cell: Cell, fleet: &Fleet<'_>, address: &str) -> anyhow::Result<Configs> {
    let mut configs = match cell.nodes {
        Nodes::Provisioned => provisioned(cell, fleet)?,
        Nodes::SimpleProvision => {
            let copy = |case, id| fleet.copy_vector(case, id, address);
            let (reader, authority) = if cell.scenario.has_controller() {
                let authority = copy("simple-controller", "ctrl1")?;
                (copy("simple-consumer-limited", "cons2")?, Some(authority))
            } else {
                (copy("simple-prodcon", "pc1")?, None)
            };
            Configs {
                sender: copy("simple-producer", "prod1")?,
                reader,
                second_sender: None,
                authority,
                chain_ends: None,
            }
        }
    };
    let nodes = [&configs.sender, &configs.reader];
    for node in nodes.into_iter().chain(&configs.second_sender) {
        fleet.change(&["node", "keys", "--exchange", exchange(cell)], node)?;
    }
    if let (true, Some(server)) = (cell.scenario.has_chain_server(), &configs.authority) {
        // The time of the short chain begins as late as possible.
        configs.chain_ends = Some(fleet.let_renew(server, &configs.sender)?);
    }
    Ok(configs)
}

fn provisioned(cell: Cell, fleet: &Fleet<'_>) -> anyhow::Result<Configs> {
    let flags = key_type(cell);
    let (reader, authority) = if cell.scenario.has_controller() {
        ("consumer-limited", Some("controller"))
    } else {
        let server = cell.scenario.has_chain_server();
        ("consumer", server.then_some("chain-server"))
    };
    let authority = authority
        .map(|role| fleet.provision("authority", role, &flags))
        .transpose()?;
    let second_sender = match cell.scenario {
        Scenario::TwoProducers => Some(fleet.provision("second", "producer", &flags)?),
        _ => None,
    };
    Ok(Configs {
        sender: fleet.provision("sender", "producer", &flags)?,
        reader: fleet.provision("reader", reader, &flags)?,
        second_sender,
        authority,
        chain_ends: None,
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
