//! Runs kc and the peers, each in a process of its own, over `kc broker`: messages in both directions with the keys of
//! kc in files and on a token, first contacts, and a node that moves between the programs, also by TLS on Apache Kafka.

mod contact;
mod handover;
mod peers;
mod program;
mod token;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};

use self::peers::{Peers, Python};
use self::program::Program;

/// The number of messages in each direction.
const MESSAGES: usize = 100;

/// The prefix of node ids of the Python peer.
const PYTHON: &str = "python";
/// A short session timeout: the Python peer never leaves its group, and joins it again here.
const PYTHON_SETTINGS: [&str; 2] = ["-X", "session_timeout_ms=6000"];
const OURS: &str = "kc";
const OURS_ON_TOKEN: &str = "kc-on-token";

/// Runs all of these; fails also if a peer cannot be installed.
pub(crate) fn run() -> anyhow::Result<()> {
    let folder = Path::new("target/interop");
    fs::create_dir_all(folder)?;
    let peers = Peers::install(folder)?;
    let program = Program::build(folder)?;
    let broker = program.broker()?;
    println!("broker on {}", broker.address);
    let connection = ["-b", &broker.address].map(str::to_owned);

    for role in ["producer", "consumer"] {
        for owner in [PYTHON, OURS, OURS_ON_TOKEN] {
            let settings = if owner == PYTHON {
                &PYTHON_SETTINGS[..]
            } else {
                &[]
            };
            let settings = settings.iter().map(|text| (*text).to_owned());
            let settings = Vec::from_iter(connection.iter().cloned().chain(settings));
            program.provision(&node(owner, role), role, &settings)?;
        }
        program.move_to_token(&node(OURS_ON_TOKEN, role))?;
    }
    program.create_topics(&["chains", "allowlist", "denylist"], &connection)?;
    for ours in [OURS, OURS_ON_TOKEN] {
        for topic in [topic(PYTHON, ours), topic(ours, PYTHON)] {
            program.create_topics(&[&topic], &connection)?;
        }
        python_to_ours(ours, &peers.kafka_python, &program)?;
        ours_to_python(ours, &peers.kafka_python, &program)?;
    }
    peers.plain_round_trip(&broker.address, MESSAGES)?;
    handover::hand_over("plaintext", &peers, &program, &connection)?;
    handover::hand_over_by_tls(&peers, &program)?;
    contact::first_contacts(&peers, &program, &connection)
}

fn node(owner: &str, role: &str) -> String {
    format!("{owner}-{role}")
}

fn topic(from: &str, to: &str) -> String {
    format!("{from}.{to}")
}

fn python_to_ours(ours: &str, python: &Python, program: &Program) -> anyhow::Result<()> {
    let topic = topic(PYTHON, ours);
    let config = program.node(&node(PYTHON, "producer"));
    let mut producer = python.start("produce", &config, &topic, MESSAGES)?;
    let sent = producer.line()?;
    let consumed = program
        .command(&["consume", &topic, "--from-beginning", "--format", "json"])
        .args([
            "--count",
            &MESSAGES.to_string(),
            "--timeout",
            "60s",
            "--node",
        ])
        .arg(program.node(&node(ours, "consumer")))
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(consumed.status.success(), "kc consume: {}", consumed.status);
    let read = program::digest_of_json(&consumed.stdout)?;
    producer.stop()?;
    ensure!(sent == read, "{PYTHON} sent {sent}, {ours} read {read}");
    println!("{PYTHON} to {ours}: {MESSAGES} messages, {read}");
    Ok(())
}

fn ours_to_python(ours: &str, python: &Python, program: &Program) -> anyhow::Result<()> {
    let topic = topic(ours, PYTHON);
    let config = program.node(&node(PYTHON, "consumer"));
    let mut consumer = python.start("consume", &config, &topic, MESSAGES)?;
    let ready = consumer.line()?;
    ensure!(ready == "ready", "the Python consumer said {ready:?}");
    let lines = program::lines(MESSAGES);
    let mut producer = program
        .command(&[
            "produce",
            &topic,
            "--key-separator",
            "=",
            "--exit-after",
            "60s",
            "--node",
        ])
        .arg(program.node(&node(ours, "producer")))
        .stdin(Stdio::piped())
        .spawn()?;
    let mut stdin = producer
        .stdin
        .take()
        .context("standard input of kc produce")?;
    stdin.write_all(lines.as_bytes())?;
    drop(stdin);
    let read = consumer.line();
    consumer.stop()?;
    program::terminate(&mut producer)?;
    let (sent, read) = (program::digest(lines.as_bytes()), read?);
    ensure!(sent == read, "{ours} sent {sent}, {PYTHON} read {read}");
    println!("{ours} to {PYTHON}: {MESSAGES} messages, {read}");
    Ok(())
}
