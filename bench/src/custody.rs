//! A custodian with many keys: its start, its memory, and the work for an answer.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use cpu_time::ProcessTime;
use kc::backend_pure::PureBackend;
use kc::core::backend::{Backend, ClientSettings, TopicSpec};
use kc::core::custody::{CustodyArchive, Place, Sighting};
use kc::core::keys::VerifyingKey;
use kc::core::message;
use kc::core::provision::Role;
use kc::core::ratchet::{Component, Giver, KeyIdForm, SealingKey, Seed, StepKeys};
use kc::core::store::MemoryKeyStore;
use kc::core::types::RootTopic;
use kc::keystore_file::{FileCustody, NodeFiles, read_secrets, system_rng};
use kc::{Clock, Custodian, Record};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::nodes;
use crate::report::{Figures, Line, Report, Unit};
use crate::rounds::Plan;
use crate::scale::resident;

/// The number of keys that are stored at once.
const BATCH: usize = 1_000;

/// The number of root topics. A consumer that misses many keys of one root topic asks for them at a limited pace.
const ROOTS: usize = 60;

/// The limit of a call of the Kafka client.
const DEADLINE: Duration = Duration::from_secs(10);

/// The time in which the custodian begins to read the requests of all root topics.
const WARM_UP: Duration = Duration::from_secs(3);

/// The argument with which this program opens a store, so that its memory is that of a fresh process.
pub const OPEN: &str = "open-custody";

/// The folder of files in memory, because storing a key waits for the disk.
const MEMORY: &str = "/dev/shm";

pub fn run(plan: &Plan, report: &mut Report, address: &str) -> anyhow::Result<()> {
    let count = if plan.quick { 10_000 } else { 100_000 };
    let folder = if Path::new(MEMORY).is_dir() {
        tempfile::tempdir_in(MEMORY)?
    } else {
        tempfile::tempdir()?
    };
    for (id, role) in [
        ("custodian", Role::Prodcon),
        ("reader", Role::Consumer),
        ("sender", Role::Producer),
    ] {
        nodes::create(folder.path(), id, role)?;
    }
    let keys = keys(count);
    fill(&mut open(folder.path())?, &keys)?;

    let (mut starts, mut memory) = (Figures::default(), Figures::default());
    for _ in 0..plan.rounds {
        let mut fresh = Command::new(std::env::current_exe()?);
        let output = fresh.arg(OPEN).arg(folder.path()).output()?;
        ensure!(output.status.success(), "the store was not opened");
        let (seconds, bytes) = serde_json::from_slice(&output.stdout)?;
        starts.add(seconds);
        memory.add(bytes);
    }
    report.add(Line::new(
        format!("custody/{count}-keys/start"),
        Unit::Seconds,
        &starts,
    ))?;
    report.add(Line::new(
        format!("custody/{count}-keys/memory"),
        Unit::Bytes,
        &memory,
    ))?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let answers = runtime.block_on(answers(folder.path(), address, &keys))?;
    let name = format!("custody/{count}-keys/answer/cpu-of-both");
    report.add(Line::new(name, Unit::Nanoseconds, &answers))?;

    let records = if plan.quick { 4_000 } else { 40_000 };
    let (rate, cpu) = runtime.block_on(reading(folder.path(), address, records))?;
    report.add(Line::new("custody/read/10KiB", Unit::PerSecond, &rate))?;
    report.add(Line::new("custody/read/10KiB/cpu", Unit::Nanoseconds, &cpu))
}

/// Measures the reading of a data topic: records in a second, and the time of the processor for each of them.
async fn reading(folder: &Path, address: &str, count: usize) -> anyhow::Result<(Figures, Figures)> {
    let topic = "read-by-a-custodian";
    let producer = nodes::builder(folder, "sender", address).open().await?;
    let sending = producer.producer().await?;
    let value = vec![b'x'; 10 << 10];
    for _ in 0..count {
        drop(sending.enqueue(Record::to(topic).value(&value)).await?);
    }
    sending.flush().await?;
    let mut positions = producer.backend().log_reader(Some("of-records")).await?;
    let (start, cpu) = (Instant::now(), ProcessTime::now());
    let custodian = Custodian::new()
        .folder(folder.join("other.custody"))
        .topics([topic])
        .group("of-records");
    let custodian = nodes::builder(folder, "custodian", address)
        .custodian(custodian)
        .open()
        .await?;
    let end = i64::try_from(count)?;
    let asked = [topic.to_owned()];
    while !positions
        .committed(&asked, DEADLINE)
        .await?
        .iter()
        .any(|position| position.offset == end)
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64());
    positions.close().await;
    custodian.close().await?;
    producer.close().await?;
    let (mut rate, mut per_record) = (Figures::default(), Figures::default());
    rate.add(count as f64 / elapsed);
    per_record.add(cpu * 1e9 / count as f64);
    Ok((rate, per_record))
}

/// Opens the store of a custodian. Prints the time in seconds, and the memory that the process gained in bytes.
pub fn open_and_tell(folder: &Path) -> anyhow::Result<()> {
    let (before, start) = (resident()?, Instant::now());
    let store = open(folder)?;
    let seconds = start.elapsed().as_secs_f64();
    let bytes = resident()?.saturating_sub(before) as f64;
    drop(store);
    println!("{}", serde_json::to_string(&(seconds, bytes))?);
    Ok(())
}

fn open(folder: &Path) -> anyhow::Result<FileCustody> {
    let files = NodeFiles::in_folder(folder, "custodian")?;
    let generators = || Ok(Box::new(system_rng()?) as _);
    let secrets = read_secrets(&files.crypto())?;
    let keystore = MemoryKeyStore::new(secrets, None, Box::new(generators));
    Ok(FileCustody::open(&files.custody(), Arc::new(keystore))?)
}

/// Returns the name of the root topic of a key.
fn root(key: usize) -> String {
    format!("readings-{}", key % ROOTS)
}

/// Returns the keys at consecutive steps of a ratchet.
fn keys(count: usize) -> Vec<Arc<SealingKey>> {
    let mut rng = StdRng::seed_from_u64(1);
    let form = KeyIdForm::long([&VerifyingKey::Ed25519([1; 32])]);
    let mut seed = Seed::generate(&mut rng);
    let mut keys = Vec::with_capacity(count);
    while keys.len() < count {
        let Ok(next) = seed.advance() else { break };
        let (step, after) = next.stored();
        let root_topic = root(keys.len()).as_str().into();
        keys.push(StepKeys::new(step, &form).sealing_key(&root_topic, &mut rng));
        seed = after;
    }
    keys
}

fn fill(store: &mut FileCustody, keys: &[Arc<SealingKey>]) -> anyhow::Result<()> {
    let giver: Giver = [VerifyingKey::Ed25519([1; 32])].into();
    for number in 0..ROOTS.min(keys.len()) {
        let topic = root(number);
        let root_topic = RootTopic::from(topic.as_str());
        let of_root: Vec<_> = keys.iter().skip(number).step_by(ROOTS).collect();
        for batch in of_root.chunks(BATCH) {
            let sighting = |key: &&Arc<SealingKey>| Sighting {
                root_topic: root_topic.clone(),
                id: key.id(),
                place: Place {
                    topic: topic.clone(),
                    partition: 0,
                    offset: 0,
                },
                at: Clock::system().now(),
                is_likely: true,
            };
            store.note(&batch.iter().map(sighting).collect::<Vec<_>>())?;
            let offers: Vec<_> = batch
                .iter()
                .map(|key| (key.id(), key.data_key().expose_copy()))
                .collect();
            store.offer(&root_topic, &offers, &giver)?;
            for key in batch {
                let kept = store.keep(&root_topic, &key.id(), key.data_key())?;
                ensure!(kept, "a key was not kept");
            }
        }
    }
    Ok(())
}

/// Measures the time of the processor for an answer: that of the custodian, and of the consumer that asks and receives,
/// beyond what both use while they have nothing to do.
async fn answers(
    folder: &Path,
    address: &str,
    keys: &[Arc<SealingKey>],
) -> anyhow::Result<Figures> {
    let settings = ClientSettings::parse([("bootstrap_servers", address)])?;
    let admin = PureBackend::new(settings)?.admin().await?;
    for number in 0..ROOTS {
        let topic = TopicSpec::data(root(number), 1);
        admin.create_topic(&topic, DEADLINE).await?;
    }
    admin.close().await;
    let custodian = nodes::builder(folder, "custodian", address)
        .custodian(Custodian::new())
        .open()
        .await?;
    let reader = nodes::builder(folder, "reader", address).open().await?;
    let opener = reader.opener();
    tokio::time::sleep(WARM_UP).await;
    let idle = idle_share(Duration::from_secs(2)).await;
    let mut figures = Figures::default();
    for (number, key) in keys.iter().enumerate().take(ROOTS) {
        let mut sealed = Vec::new();
        message::seal(key, Component::Value, b"reading", &mut sealed)?;
        let (topic, patience) = (root(number), Duration::from_secs(30));
        let (start, cpu) = (Instant::now(), ProcessTime::now());
        opener.open_value_within(&topic, &sealed, patience).await?;
        let (elapsed, used) = (start.elapsed(), cpu.elapsed());
        figures.add((used.as_secs_f64() - elapsed.as_secs_f64() * idle) * 1e9);
    }
    reader.close().await?;
    custodian.close().await?;
    Ok(figures)
}

/// Returns the part of one processor that both nodes use while they have nothing to do.
async fn idle_share(time: Duration) -> f64 {
    let cpu = ProcessTime::now();
    tokio::time::sleep(time).await;
    cpu.elapsed().as_secs_f64() / time.as_secs_f64()
}
