//! Nodes that send and read messages, each in the program of its side.

use std::path::Path;

use anyhow::ensure;

use super::data::{Batch, Report};
use super::fleet::Fleet;
use super::peers::{Java, Python};
use super::process::Process;

/// A program, in which a node runs.
#[derive(Clone, Copy)]
pub(super) enum Side<'a> {
    /// kc, with this backend.
    Kc(&'static str),
    Python(&'a Python),
    Java(&'a Java),
}

/// A node, and the program in which it runs.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) side: Side<'a>,
    pub(super) config: &'a Path,
}

/// A node that has sent messages, and stays for requests.
pub(super) struct Sender<'a> {
    side: Side<'a>,
    process: Process,
}

/// A node that reads a number of messages, and then ends.
pub(super) struct Reader<'a> {
    side: Side<'a>,
    process: Process,
    count: usize,
}

impl Side<'_> {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kc(_) => "kc",
            Self::Python(python) => python.name,
            Self::Java(_) => "java",
        }
    }
}

impl<'a> Member<'a> {
    /// Sends messages.
    pub(super) fn send(
        self,
        fleet: &Fleet<'_>,
        topic: &str,
        batch: Batch,
    ) -> anyhow::Result<Sender<'a>> {
        let Self { side, config } = self;
        let process = match side {
            Side::Kc(backend) => {
                let produce = ["produce", topic, "--format", "json", "--exit-after", "90s"];
                let mut command = fleet.program.command(&["--quiet"]);
                command.args(produce).args(["--backend", backend, "--node"]);
                let mut process = Process::start("kc produce", command.arg(config))?;
                process.write_input(&batch.lines())?;
                process
            }
            Side::Python(python) => python.produce(config, topic, batch)?,
            Side::Java(java) => java.produce(config, topic, batch)?,
        };
        Ok(Sender { side, process })
    }

    /// Reads `count` messages. `group` replaces the consumer group of the node.
    pub(super) fn read(
        self,
        fleet: &Fleet<'_>,
        topic: &str,
        count: usize,
        group: Option<&str>,
    ) -> anyhow::Result<Reader<'a>> {
        let Self { side, config } = self;
        let process = match side {
            Side::Kc(backend) => {
                let number = count.to_string();
                let mut command = fleet.program.command(&["--quiet", "consume", topic]);
                command.args(["--from-beginning", "--count", &number, "--json"]);
                command.args(["--timeout", "90s", "--backend", backend]);
                command.args(group.map(|group| format!("--group={group}")));
                Process::start("kc consume", command.arg("--node").arg(config))?
            }
            Side::Python(python) => python.consume(config, topic, count, group)?,
            Side::Java(java) => java.consume(config, topic, count, group)?,
        };
        Ok(Reader {
            side,
            process,
            count,
        })
    }
}

impl Sender<'_> {
    /// Ends the node as its user does. Fails if the node has ended before.
    pub(super) fn end(self) -> anyhow::Result<()> {
        match self.side {
            // A signal may come while the peer writes its files.
            Side::Python(_) => self.process.stop(),
            Side::Java(_) => self.process.end_by("TERM").map(drop),
            Side::Kc(_) => {
                let status = self.process.end_by("TERM")?;
                ensure!(status.success(), "kc produce: {status}");
                Ok(())
            }
        }
    }

    pub(super) fn kill(self) -> anyhow::Result<()> {
        self.process.end_by("KILL").map(drop)
    }
}

impl Reader<'_> {
    /// Waits until the messages are read or the time of the peer has passed, and the node ends.
    pub(super) fn report(self) -> anyhow::Result<Report> {
        if let Side::Kc(_) = self.side {
            let lines = (0..self.count).map(|_| self.process.line());
            let report = Report::of_lines(&lines.collect::<anyhow::Result<Vec<_>>>()?)?;
            self.process.stop()?;
            return Ok(report);
        }
        loop {
            // Libraries of the peers print other lines.
            let Some(report) = Report::parse(&self.process.line()?) else {
                continue;
            };
            if report.count == self.count {
                self.process.stop()?;
            }
            return Ok(report);
        }
    }

    pub(super) fn kill(self) -> anyhow::Result<()> {
        self.process.end_by("KILL").map(drop)
    }
}
