//! Faults of the peers, shown with nodes of a peer as sender and reader. kc provides the broker and the nodes; where its
//! behaviour is compared, it is the sender.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, ensure};

use super::contact::BATCH;
use super::data::{Batch, Report};
use super::fleet::{Fleet, MANAGEMENT, await_end};
use super::member::{Member, Side};
use super::peers::{Peers, Python};
use super::program::Program;

/// One of these messages has a null value.
const WITH_NULL: Batch = Batch {
    seed: "null",
    count: 50,
    size: 20,
};

/// A producer and a consumer, and the root topic of their messages.
struct Pair<'a> {
    fleet: &'a Fleet<'a>,
    root: &'a str,
    sender: PathBuf,
    reader: PathBuf,
}

/// What became of the messages of a pair.
#[derive(Debug)]
struct Outcome {
    read: Report,
    requests: usize,
    replies: usize,
}

/// Shows each fault. Fails if a fault is not seen, because then the table in `docs/interop.md` is outdated.
pub(super) fn show(peers: &Peers, program: &Program) -> anyhow::Result<()> {
    let broker = program.broker(&[])?;
    let fleet = Fleet::new(
        program,
        "faults",
        &["-b".to_owned(), broker.address.clone()],
    )?;
    fleet.create_topics(&MANAGEMENT)?;
    let confluent = Side::Python(&peers.confluent);
    let pair = |root| -> anyhow::Result<_> {
        fleet.create_topics(&[&format!("{root}.data")])?;
        Pair::new(&fleet, root)
    };

    let outcome = pair("null-confluent")?.exchange(confluent, confluent, WITH_NULL)?;
    ensure!(outcome.read.count == WITH_NULL.count - 1, "{outcome:?}");
    println!("Python on confluent-kafka: a message with a null value is never opened");

    let denied = pair("denied-python")?;
    let deny = || fleet.deny(&denied.reader);
    denied
        .exchange_after(confluent, confluent, BATCH, deny)?
        .require_read()?;
    let denied = pair("denied-kc")?;
    let deny = || fleet.deny(&denied.reader);
    let outcome = denied.exchange_after(Side::Kc("pure"), confluent, BATCH, deny)?;
    outcome.require_unanswered()?;
    println!("Python: a producer gives keys to a node that was denied while it ran; kc does not");

    let kafka_python = Side::Python(&peers.kafka_python);
    let python = pair("latest-python")?.without_offset_reset()?;
    python
        .exchange(kafka_python, kafka_python, BATCH)?
        .require_unread()?;
    println!(
        "Python on kafka-python: without auto_offset_reset, the first request or reply is missed"
    );

    exchange_on_new_broker(program, "1", kafka_python)?.require_read()?;
    exchange_on_new_broker(program, "60", kafka_python)?.require_unanswered()?;
    println!(
        "Python on kafka-python: a request on another partition than the first is not answered"
    );

    let Some(java) = peers.java.as_ref().map(Side::Java) else {
        return Ok(());
    };
    let outcome = pair("null-java")?.exchange(java, java, WITH_NULL)?;
    ensure!(
        outcome.read == Report::with_empty_nulls(&[WITH_NULL]),
        "{outcome:?}"
    );
    println!("Java: a null value arrives as an empty one");

    let without = pair("latest-java")?.without_offset_reset()?;
    without.exchange(java, java, BATCH)?.require_unread()?;
    println!("Java: without auto_offset_reset, the first request or reply is missed");

    let renewed = |root, side| pair(root)?.exchange_renewed(side, &peers.confluent);
    renewed("renewed-python", confluent)?.require_read()?;
    renewed("renewed-java", java)?.require_unread()?;
    println!("Java: a chain from a chain server is not taken");
    Ok(())
}

/// Sends messages between two nodes on a broker that creates all topics with this number of partitions.
fn exchange_on_new_broker(
    program: &Program,
    partitions: &str,
    side: Side<'_>,
) -> anyhow::Result<Outcome> {
    let broker = program.broker(&["--partitions", partitions])?;
    let connection = ["-b".to_owned(), broker.address.clone()];
    let fleet = Fleet::new(program, &format!("partitions-{partitions}"), &connection)?;
    Pair::new(&fleet, "partitions")?.exchange(side, side, BATCH)
}

impl<'a> Pair<'a> {
    fn new(fleet: &'a Fleet<'a>, root: &'a str) -> anyhow::Result<Self> {
        Ok(Self {
            fleet,
            root,
            sender: fleet.provision(&format!("{root}-sender"), "producer", &[])?,
            reader: fleet.provision(&format!("{root}-reader"), "consumer", &[])?,
        })
    }

    /// Removes the setting with which `kc provision` makes the peers read side topics from the start.
    fn without_offset_reset(self) -> anyhow::Result<Self> {
        for config in [&self.sender, &self.reader] {
            let text = fs::read_to_string(config)?;
            fs::write(config, text.replace("auto_offset_reset : earliest\n", ""))?;
        }
        Ok(self)
    }

    fn exchange(
        &self,
        sender: Side<'_>,
        reader: Side<'_>,
        batch: Batch,
    ) -> anyhow::Result<Outcome> {
        self.exchange_after(sender, reader, batch, || Ok(()))
    }

    /// Sends messages, does something, and reads the messages for as long as the reader has time.
    fn exchange_after(
        &self,
        sender: Side<'_>,
        reader: Side<'_>,
        batch: Batch,
        meanwhile: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<Outcome> {
        let Self { fleet, root, .. } = self;
        let topic = format!("{root}.data");
        let sender = Member {
            side: sender,
            config: &self.sender,
        };
        let reader = Member {
            side: reader,
            config: &self.reader,
        };
        let sending = sender.send(fleet, &topic, batch)?;
        fleet.wait_for(&topic, batch.count)?;
        meanwhile()?;
        let read = reader.read(fleet, &topic, batch.count, None)?.report()?;
        sending.end().context("the sender could not answer")?;
        Ok(Outcome {
            read,
            requests: fleet.count(&format!("{root}.reqs"))?,
            replies: fleet.count(&format!("{root}.keys"))?,
        })
    }

    /// Exchanges messages after the first chain of the sender has ended. A chain server has renewed the chain before.
    fn exchange_renewed(&self, side: Side<'_>, server: &Python) -> anyhow::Result<Outcome> {
        let Self { fleet, root, .. } = self;
        let authority = fleet.provision(&format!("{root}-server"), "chain-server", &[])?;
        let renewed = fleet.count("chains")?;
        let end = fleet.let_renew(&authority, &self.sender)?;
        let _server = server.run("chain-server", &authority)?;
        self.exchange_after(side, side, BATCH, || {
            fleet.wait_for("chains", renewed + 1)?;
            await_end(end)
        })
    }
}

impl Outcome {
    fn require_read(&self) -> anyhow::Result<()> {
        ensure!(self.read == Report::of(&[BATCH]), "{self:?}");
        Ok(())
    }

    /// Fails unless the reader asked for its keys, and read nothing.
    fn require_unread(&self) -> anyhow::Result<()> {
        ensure!(self.read.count == 0 && self.requests > 0, "{self:?}");
        Ok(())
    }

    /// Fails unless the reader asked for its keys, and nobody answered.
    fn require_unanswered(&self) -> anyhow::Result<()> {
        ensure!(self.replies == 0, "{self:?}");
        self.require_unread()
    }
}
