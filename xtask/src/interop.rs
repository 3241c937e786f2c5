//! First contact: our program and the Python peer's, each in processes of its own, over `kc broker`.

mod peers;
mod program;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};

use self::peers::Peers;
use self::program::Program;

/// How many messages go each way.
const MESSAGES: usize = 100;

/// Runs everything; a peer that cannot be installed is a failure.
pub(crate) fn run() -> anyhow::Result<()> {
    let folder = Path::new("target/interop");
    fs::create_dir_all(folder)?;
    let peers = Peers::install(folder)?;
    let program = Program::build(folder)?;
    let broker = program.broker()?;
    println!("broker on {}", broker.address);

    for (id, role) in [
        ("python-producer", "producer"),
        ("python-consumer", "consumer"),
        ("our-producer", "producer"),
        ("our-consumer", "consumer"),
    ] {
        program.provision(id, role, &broker.address)?;
    }
    program.create_topics(
        &["python.data", "our.data", "chains", "allowlist", "denylist"],
        &broker.address,
    )?;
    python_to_ours(&peers, &program)?;
    ours_to_python(&peers, &program)?;
    peers.plain_round_trip(&broker.address, MESSAGES)?;
    Ok(())
}

fn python_to_ours(peers: &Peers, program: &Program) -> anyhow::Result<()> {
    let config = program.node("python-producer");
    let mut producer = peers.start("produce", &config, "python.data", MESSAGES)?;
    let sent = producer.line()?;
    let consumed = program
        .command(&[
            "consume",
            "python.data",
            "--from-beginning",
            "--format",
            "json",
        ])
        .args([
            "--count",
            &MESSAGES.to_string(),
            "--timeout",
            "60s",
            "--node",
        ])
        .arg(program.node("our-consumer"))
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(consumed.status.success(), "kc consume: {}", consumed.status);
    let read = program::digest_of_json(&consumed.stdout)?;
    producer.stop()?;
    ensure!(sent == read, "Python sent {sent}, kc read {read}");
    println!("Python to kc: {MESSAGES} messages, {read}");
    Ok(())
}

fn ours_to_python(peers: &Peers, program: &Program) -> anyhow::Result<()> {
    let config = program.node("python-consumer");
    let mut consumer = peers.start("consume", &config, "our.data", MESSAGES)?;
    let ready = consumer.line()?;
    ensure!(ready == "ready", "the Python consumer said {ready:?}");
    let lines = program::lines(MESSAGES);
    let mut producer = program
        .command(&[
            "produce",
            "our.data",
            "--key-separator",
            "=",
            "--exit-after",
            "60s",
            "--node",
        ])
        .arg(program.node("our-producer"))
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
    ensure!(sent == read, "kc sent {sent}, Python read {read}");
    println!("kc to Python: {MESSAGES} messages, {read}");
    Ok(())
}
