//! One program sends, the other reads, with nodes exactly as `kc provision` makes them.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::peers::{Java, Peer, Peers, Python};
use super::program::{self, Program};

/// The number of messages.
const MESSAGES: usize = 10;
/// The number of first contacts in each direction.
const CONTACTS: usize = 10;
/// The time limit of a first contact, from the start of both processes.
const LIMIT: Duration = Duration::from_secs(10);

/// The program in which a node runs.
#[derive(Clone, Copy)]
pub(super) enum Side<'a> {
    Ours,
    Python(&'a Python),
    Java(&'a Java),
}

/// A node, and the program in which it runs.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) side: Side<'a>,
    pub(super) node: &'a str,
}

/// Tries first contacts in both directions with each peer, all with new nodes and topics. Fails if one takes too long.
pub(super) fn first_contacts(
    peers: &Peers,
    program: &Program,
    connection: &[String],
) -> anyhow::Result<()> {
    let python = [&peers.kafka_python, &peers.confluent].map(Side::Python);
    let mut late = Vec::new();
    for peer in python
        .into_iter()
        .chain(peers.java.as_ref().map(Side::Java))
    {
        for (from, to) in [(peer, Side::Ours), (Side::Ours, peer)] {
            let way = format!("{} to {}", from.name(), to.name());
            let mut times = Vec::new();
            for contact in 0..CONTACTS {
                let name = format!("{}-{}-{contact}", from.name(), to.name());
                let nodes = ["producer", "consumer"].map(|role| format!("{name}-{role}"));
                program.provision(&nodes[0], "producer", connection)?;
                program.provision(&nodes[1], "consumer", connection)?;
                let [from, to] =
                    [(from, &nodes[0]), (to, &nodes[1])].map(|(side, node)| Member { side, node });
                times.push(exchange(
                    from,
                    to,
                    &format!("{name}.data"),
                    program,
                    connection,
                )?);
            }
            let seconds = times
                .iter()
                .map(|time| format!("{:.1}", time.as_secs_f32()));
            println!(
                "{way}: first contacts in {} s",
                Vec::from_iter(seconds).join(", ")
            );
            if times.iter().any(|time| *time > LIMIT) {
                late.push(way);
            }
        }
    }
    ensure!(
        late.is_empty(),
        "first contact took more than {LIMIT:?}: {}",
        late.join(", ")
    );
    Ok(())
}

/// Sends messages from one member to the other on a new topic, and lets both end. Returns the time from the start of
/// both until all messages are read.
pub(super) fn exchange(
    from: Member<'_>,
    to: Member<'_>,
    topic: &str,
    program: &Program,
    connection: &[String],
) -> anyhow::Result<Duration> {
    let what = || format!("{} to {} on {topic}", from.side.name(), to.side.name());
    program.create_topics(&[topic], connection)?;
    let start = Instant::now();
    let mut reader = to.read(topic, program).with_context(what)?;
    let sender = from.send(topic, program).with_context(what)?;
    to.side.has_read(&mut reader).with_context(what)?;
    let time = start.elapsed();
    reader.stop().with_context(what)?;
    match from.side {
        // The peer may write its files when a signal arrives, so it ends by itself.
        Side::Python(_) => sender.stop()?,
        Side::Ours | Side::Java(_) => sender.terminate()?,
    }
    Ok(time)
}

impl Member<'_> {
    fn send(self, topic: &str, program: &Program) -> anyhow::Result<Peer> {
        let config = program.node(self.node);
        match self.side {
            Side::Ours => {
                let produce = [
                    "produce",
                    topic,
                    "--key-separator",
                    "=",
                    "--exit-after",
                    "90s",
                ];
                let mut command = program.command(&["--quiet"]);
                command.args(produce).arg("--node").arg(config);
                let mut producer = Peer::start(&mut command)?;
                producer
                    .input()?
                    .write_all(program::lines(MESSAGES).as_bytes())?;
                Ok(producer)
            }
            Side::Python(python) => python.start("produce", &config, topic, MESSAGES),
            Side::Java(java) => java.start("produce", &config, topic, MESSAGES),
        }
    }

    fn read(self, topic: &str, program: &Program) -> anyhow::Result<Peer> {
        let config = program.node(self.node);
        match self.side {
            Side::Ours => {
                let count = MESSAGES.to_string();
                let consume = ["consume", topic, "--from-beginning", "--count", &count];
                let mut command = program.command(&["--quiet"]);
                command
                    .args(consume)
                    .args(["--timeout", "90s", "--json", "--node"]);
                Peer::start(command.arg(config))
            }
            Side::Python(python) => python.start("consume", &config, topic, MESSAGES),
            Side::Java(java) => java.start("consume", &config, topic, MESSAGES),
        }
    }
}

impl Side<'_> {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "kc",
            Self::Python(python) => python.name,
            Self::Java(_) => "java",
        }
    }

    /// Waits until all messages were opened. A message opens only if it is unchanged.
    fn has_read(self, reader: &mut Peer) -> anyhow::Result<()> {
        match self {
            Self::Ours => {
                for read in 0..MESSAGES {
                    ensure!(!reader.line()?.is_empty(), "{read} of {MESSAGES} were read");
                }
            }
            Self::Python(_) => {
                let ready = reader.line()?;
                ensure!(ready == "ready", "the Python consumer said {ready:?}");
                let digest = reader.line()?;
                ensure!(
                    !digest.is_empty() && !digest.contains(' '),
                    "it said {digest:?}"
                );
            }
            Self::Java(_) => {
                let said = reader.line()?;
                let report: Value = serde_json::from_str(&said).with_context(|| said.clone())?;
                let count = report.get("count").and_then(Value::as_u64);
                ensure!(count == Some(MESSAGES as u64), "it said {said}");
            }
        }
        Ok(())
    }
}
