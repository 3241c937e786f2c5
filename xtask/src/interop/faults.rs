//! Faults of the peers, each shown between two nodes of a peer. kc only makes the nodes and the topics.

use std::fs;
use std::thread;
use std::time::Instant;

use anyhow::ensure;

use super::contact::BATCH;
use super::data::{Batch, Report};
use super::fleet::{Fleet, MANAGEMENT};
use super::matrix::SHORT_LIFE;
use super::member::{Member, Side};
use super::peers::{Peers, Python};
use super::program::Program;

/// One of these messages has a null value.
const WITH_NULL: Batch = Batch {
    seed: "null",
    count: 50,
    size: 20,
};

/// Shows each fault. Fails if a fault is not seen, because then the table in `docs/interop.md` is outdated.
pub(super) fn reproduce(peers: &Peers, program: &Program) -> anyhow::Result<()> {
    let broker = program.broker(&[])?;
    let fleet = Fleet::new(
        program,
        "faults",
        &["-b".to_owned(), broker.address.clone()],
    )?;
    fleet.create_topics(&MANAGEMENT)?;
    let confluent = Side::Python(&peers.confluent);

    let report = pair(&fleet, "null-confluent", confluent, WITH_NULL)?;
    ensure!(report.count == WITH_NULL.count - 1, "{report:?}");
    println!("Python on confluent-kafka: a message with a null value is never opened");

    let report = denied_reader(&fleet, "denied-python", confluent, confluent)?;
    ensure!(report == Report::of(&[BATCH]), "{report:?}");
    let report = denied_reader(&fleet, "denied-kc", Side::Ours("pure"), confluent)?;
    ensure!(report.count == 0, "{report:?}");
    println!("Python: a producer gives keys to a node that was denied while it ran; kc does not");

    let report = untouched_pair(&fleet, "latest-python", confluent)?;
    ensure!(report.count == 0, "{report:?}");
    println!("Python: without auto_offset_reset, the first request or reply is missed");

    let kafka_python = Side::Python(&peers.kafka_python);
    let report = pair_with_partitions(program, "1", kafka_python)?;
    ensure!(report == Report::of(&[BATCH]), "{report:?}");
    let report = pair_with_partitions(program, "60", kafka_python)?;
    ensure!(report.count == 0, "{report:?}");
    println!(
        "Python on kafka-python: a request on another partition than the first is never answered"
    );

    let Some(java) = &peers.java else {
        return Ok(());
    };
    let java = Side::Java(java);
    let report = pair(&fleet, "null-java", java, WITH_NULL)?;
    let sent = Report::of(&[WITH_NULL]);
    ensure!(
        report.lenient == sent.lenient && report.exact != sent.exact,
        "{report:?}"
    );
    println!("Java: a null value arrives as an empty one");

    let report = untouched_pair(&fleet, "latest-java", java)?;
    ensure!(report.count == 0, "{report:?}");
    println!("Java: without auto_offset_reset, the first request or reply is missed");

    let report = renewed_pair(&fleet, "renewed-python", &peers.confluent, confluent)?;
    ensure!(report.count == BATCH.count, "{report:?}");
    let report = renewed_pair(&fleet, "renewed-java", &peers.confluent, java)?;
    ensure!(report.count == 0, "{report:?}");
    println!("Java: a chain from a chain server is not taken");
    Ok(())
}

/// Sends messages between two new nodes of a peer, and returns what was read in the time of the driver.
fn pair(fleet: &Fleet<'_>, name: &str, side: Side<'_>, batch: Batch) -> anyhow::Result<Report> {
    let sender = fleet.provision(&format!("{name}-sender"), "producer", &[])?;
    let reader = fleet.provision(&format!("{name}-reader"), "consumer", &[])?;
    let topic = format!("{name}.data");
    fleet.create_topics(&[&topic])?;
    let [sender, reader] = [&sender, &reader].map(|config| Member { side, config });
    let reading = reader.read(fleet, &topic, batch.count, None)?;
    let _sending = sender.send(fleet, &topic, batch)?;
    reading.report()
}

/// The same with nodes whose configurations do not say where to begin.
fn untouched_pair(fleet: &Fleet<'_>, name: &str, side: Side<'_>) -> anyhow::Result<Report> {
    let sender = fleet.provision(&format!("{name}-sender"), "producer", &[])?;
    let reader = fleet.provision(&format!("{name}-reader"), "consumer", &[])?;
    for config in [&sender, &reader] {
        let text = fs::read_to_string(config)?;
        fs::write(config, text.replace("auto_offset_reset : earliest\n", ""))?;
    }
    let topic = format!("{name}.data");
    fleet.create_topics(&[&topic])?;
    let [sender, reader] = [&sender, &reader].map(|config| Member { side, config });
    let _sending = sender.send(fleet, &topic, BATCH)?;
    fleet.wait_for(&topic, BATCH.count)?;
    reader.read(fleet, &topic, BATCH.count, None)?.report()
}

/// Denies the reader, a Python node, on the topic `denylist` while the sender runs; then the reader starts.
fn denied_reader(
    fleet: &Fleet<'_>,
    name: &str,
    sender: Side<'_>,
    reader: Side<'_>,
) -> anyhow::Result<Report> {
    let sending = fleet.provision(&format!("{name}-sender"), "producer", &[])?;
    let reading = fleet.provision(&format!("{name}-reader"), "consumer", &[])?;
    let topic = format!("{name}.data");
    fleet.create_topics(&[&topic])?;
    let sender = Member {
        side: sender,
        config: &sending,
    };
    let _sending = sender.send(fleet, &topic, BATCH)?;
    fleet.wait_for(&topic, BATCH.count)?;
    fleet.deny(&reading)?;
    let reader = Member {
        side: reader,
        config: &reading,
    };
    reader.read(fleet, &topic, BATCH.count, None)?.report()
}

/// Sends messages between two new nodes on a broker that creates all topics, each with this number of partitions.
fn pair_with_partitions(
    program: &Program,
    partitions: &str,
    side: Side<'_>,
) -> anyhow::Result<Report> {
    let broker = program.broker(&["--partitions", partitions])?;
    let connection = ["-b".to_owned(), broker.address.clone()];
    let fleet = Fleet::new(program, &format!("partitions-{partitions}"), &connection)?;
    let sender = fleet.provision("sender", "producer", &[])?;
    let reader = fleet.provision("reader", "consumer", &[])?;
    let [sender, reader] = [&sender, &reader].map(|config| Member { side, config });
    let _sending = sender.send(&fleet, "partitions.data", BATCH)?;
    fleet.wait_for("partitions.data", BATCH.count)?;
    reader
        .read(&fleet, "partitions.data", BATCH.count, None)?
        .report()
}

/// Sends messages from a node whose chain has ended, and was renewed by a chain server of the Python peer before.
fn renewed_pair(
    fleet: &Fleet<'_>,
    name: &str,
    server: &Python,
    side: Side<'_>,
) -> anyhow::Result<Report> {
    let topic = format!("{name}.data");
    fleet.create_topics(&[&topic])?;
    let reader = fleet.provision(&format!("{name}-reader"), "consumer", &[])?;
    let authority = fleet.provision(&format!("{name}-server"), "chain-server", &[])?;
    let life = format!("{}s", SHORT_LIFE.as_secs());
    let short = ["--lifetime", &life];
    let sender = fleet.provision(&format!("{name}-sender"), "producer", &short)?;
    let end = Instant::now() + SHORT_LIFE;
    fleet.enroll(&authority, &sender)?;
    let _server = server.start("chain-server", &authority, &[])?;
    let [sender, reader] = [&sender, &reader].map(|config| Member { side, config });
    let _sending = sender.send(fleet, &topic, BATCH)?;
    fleet.wait_for(&topic, BATCH.count)?;
    thread::sleep(end.saturating_duration_since(Instant::now()));
    reader.read(fleet, &topic, BATCH.count, None)?.report()
}
