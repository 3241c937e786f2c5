//! Encrypted clients beside unencrypted ones whose records have the same size on the wire.

use std::any::Any;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use cpu_time::ProcessTime;
use kc::core::message::sealed_len;
use kc::core::provision::Role;
use kc::{BackendChoice, Node, Record};
use kc_broker::Broker;
use kc_testkit::kafka::{Kafka, Listener, Version};
use tempfile::TempDir;

use crate::nodes;
use crate::report::{Figures, Line, Report, Unit};
use crate::rounds::Plan;

/// The argument with which this program runs a broker, so that the broker's work is not counted as the clients'.
pub const BROKER: &str = "serve-broker";

/// The memory of the broker for records, in bytes.
const BROKER_MEMORY: usize = 3 << 30;

/// The lengths of the plaintexts, and the bytes that one round sends.
const SIZES: [(&str, usize); 2] = [("200B", 200), ("10KiB", 10 << 10)];

/// The number of records that a producer queues at once.
const BATCH: usize = 100;

/// Brokers outside of this process.
pub struct Brokers {
    pub address: String,
    /// Stops them when it is dropped.
    _running: Box<dyn Any>,
}

struct Embedded(Child);

impl Drop for Embedded {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Brokers {
    pub fn embedded() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(BROKER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        let output = child.stdout.take().context("no output")?;
        BufReader::new(output).read_line(&mut address)?;
        Ok(Self {
            address: address.trim().to_owned(),
            _running: Box::new(Embedded(child)),
        })
    }

    pub fn kafka() -> anyhow::Result<Self> {
        let kafka = Kafka::builder(Version::V4)
            .property("group.initial.rebalance.delay.ms", "0")
            .start()?;
        Ok(Self {
            address: kafka.address(Listener::Plaintext),
            _running: Box::new(kafka),
        })
    }
}

/// Runs a broker until standard input ends.
pub fn serve_broker() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let broker = runtime.block_on(Broker::builder().memory_limit(BROKER_MEMORY).start())?;
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", broker.address())?;
    output.flush()?;
    std::io::stdin().lines().for_each(drop);
    Ok(())
}

/// One run of a client.
struct Run {
    /// Seconds until the first record is sent or received, as from the start of the client.
    first: f64,
    /// Records in a second.
    rate: f64,
    /// The time of the processor for each record, in nanoseconds.
    cpu: f64,
}

/// What one kind of client did in all rounds.
#[derive(Default)]
struct Runs {
    first: Figures,
    rate: Figures,
    cpu: Figures,
}

impl Runs {
    fn add(&mut self, run: &Run) {
        self.first.add(run.first);
        self.rate.add(run.rate);
        self.cpu.add(run.cpu);
    }
}

/// The nodes of a sender and a receiver.
struct Pair {
    sender: Node,
    receiver: Node,
    _folder: TempDir,
}

/// Measures all clients. Each of them gets brokers of its own from `start`, whose memory would not suffice for all. `kind` ends
/// the names of the lines.
pub fn run(
    plan: &Plan,
    report: &mut Report,
    kind: &str,
    start: fn() -> anyhow::Result<Brokers>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    for backend in [BackendChoice::Pure, BackendChoice::Rdkafka] {
        let name = backend.name();
        for (size, length) in SIZES {
            let brokers = start()?;
            let pair = runtime.block_on(Pair::open(&brokers.address, backend))?;
            let [
                mut produced,
                mut produced_plain,
                mut consumed,
                mut consumed_plain,
            ] = std::array::from_fn(|_| Runs::default());
            let volume: usize = if plan.quick { 40 << 20 } else { 100 << 20 };
            let count =
                (volume / sealed_len(length)).min(if plan.quick { 60_000 } else { 500_000 });
            for round in 0..plan.rounds {
                for plain in [round % 2 == 0, round % 2 != 0] {
                    let topic = format!("{name}-{size}-{round}-{plain}");
                    let (sent, received) =
                        runtime.block_on(pair.round(&topic, length, count, plain))?;
                    if plain {
                        produced_plain.add(&sent);
                        consumed_plain.add(&received);
                    } else {
                        produced.add(&sent);
                        consumed.add(&received);
                    }
                }
            }
            for (what, ours, plain) in [
                ("produce", produced, produced_plain),
                ("consume", consumed, consumed_plain),
            ] {
                let at = format!("{name}/{size}{kind}");
                let first = Line::new(format!("{what}/{at}/first"), Unit::Seconds, &ours.first);
                report.add(first.against("plain", &plain.first))?;
                let rate = Line::new(format!("{what}/{at}"), Unit::PerSecond, &ours.rate);
                report.add(rate.against("plain", &plain.rate))?;
                let cpu = Line::new(format!("{what}/{at}/cpu"), Unit::Nanoseconds, &ours.cpu);
                report.add(cpu.against("plain", &plain.cpu))?;
            }
            runtime.block_on(pair.close())?;
        }
    }
    Ok(())
}

impl Pair {
    async fn open(address: &str, backend: BackendChoice) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let open = async |id: &str, role| {
            nodes::create(folder.path(), id, role)?;
            let builder = nodes::builder(folder.path(), id, address)
                .kafka("max_poll_records", "5000")
                .backend(backend);
            anyhow::Ok(builder.open().await?)
        };
        Ok(Self {
            sender: open("sender", Role::Producer).await?,
            receiver: open("receiver", Role::Consumer).await?,
            _folder: folder,
        })
    }

    /// Sends and receives records of one topic.
    async fn round(
        &self,
        topic: &str,
        length: usize,
        count: usize,
        plain: bool,
    ) -> anyhow::Result<(Run, Run)> {
        let admin = self.sender.backend().admin().await?;
        let spec = kc::core::backend::TopicSpec::data(topic, 1);
        admin.create_topic(&spec, Duration::from_secs(10)).await?;
        admin.close().await;
        let sent = self.produce(topic, length, count, plain).await?;
        let received = self.consume(topic, count, plain).await?;
        Ok((sent, received))
    }

    async fn produce(
        &self,
        topic: &str,
        length: usize,
        count: usize,
        plain: bool,
    ) -> anyhow::Result<Run> {
        let start = Instant::now();
        let builder = self.sender.producer();
        let (producer, length) = if plain {
            (builder.plain().await?, sealed_len(length))
        } else {
            (builder.await?, length)
        };
        let value = vec![b'x'; length];
        // The first record of a topic waits for metadata and for a data key.
        producer.send(Record::to(topic).value(&value)).await?;
        let measured = Measured::since(start);
        let mut left = count - 1;
        while left > 0 {
            let batch = left.min(BATCH);
            let records = (0..batch).map(|_| Record::to(topic).value(&value));
            drop(producer.enqueue_batch(records).await?);
            left -= batch;
        }
        producer.flush().await?;
        let run = measured.end(count - 1);
        producer.close_within(Duration::from_secs(10)).await?;
        Ok(run)
    }

    async fn consume(&self, topic: &str, count: usize, plain: bool) -> anyhow::Result<Run> {
        let start = Instant::now();
        let builder = self
            .receiver
            .consumer([topic])
            .group(topic)
            .from_beginning();
        let mut consumer = if plain { builder.plain() } else { builder }.join().await?;
        // Until the first record, the consumer joins its group and gets the data key.
        let first = consumer.next().await.context("no record")??;
        first.ack();
        let measured = Measured::since(start);
        let mut received = 1;
        while received < count {
            let Some(batch) = consumer.next_batch().await else {
                bail!("the consumer ended");
            };
            let batch = batch?;
            received += batch.len();
            for record in &batch {
                record.ack();
            }
        }
        let run = measured.end(count - 1);
        consumer.close().await?;
        Ok(run)
    }

    async fn close(&self) -> anyhow::Result<()> {
        self.receiver.close().await?;
        self.sender.close().await?;
        Ok(())
    }
}

struct Measured {
    first: Duration,
    clock: Instant,
    cpu: ProcessTime,
}

impl Measured {
    /// Begins to measure, after the first record. `start` is the start of the client.
    fn since(start: Instant) -> Self {
        Self {
            first: start.elapsed(),
            clock: Instant::now(),
            cpu: ProcessTime::now(),
        }
    }

    fn end(self, count: usize) -> Run {
        let (elapsed, cpu) = (self.clock.elapsed(), self.cpu.elapsed());
        let count = count as f64;
        Run {
            first: self.first.as_secs_f64(),
            rate: count / elapsed.as_secs_f64(),
            cpu: cpu.as_secs_f64() * 1e9 / count,
        }
    }
}
