//! The course of the demonstration, and its results.

use std::time::{Duration, Instant};

use kc::core::backend::Record;
use kc::core::text::counted;
use kc::{Consumer, Node, NodeEvent};
use tokio::time::timeout;

use super::DEADLINE;
use super::stage::{Messages, Stage, TOPIC, is_readable, root_of};
use super::watch::{Watch, step};
use crate::error::CliError;
use crate::ui::Ui;

/// The course of the demonstration.
pub(super) struct Story {
    began: Instant,
    ui: Ui,
}

/// The messages that the reader read.
struct Read {
    matched: usize,
    first: Vec<u8>,
    took: Duration,
}

/// The records that the broker stores.
#[derive(Default)]
struct Stored {
    records: usize,
    bytes: usize,
    readable: usize,
    first: Vec<u8>,
}

impl Story {
    /// Prints the nodes and their roots of trust.
    ///
    /// # Errors
    /// [`CliError`] if stdout cannot be written.
    pub(super) fn begin(stage: &Stage, messages: &Messages, ui: Ui) -> Result<Self, CliError> {
        let ours = root_of(&stage.reader);
        let others = root_of(&stage.stranger);
        ui.result(format!(
            "kc demo: {} of {} through a broker that can read none of them

  broker    {} (in memory, without encryption)
  sender    a producer; its root of trust is {ours}
  reader    a consumer; its root of trust is {ours}, too
  stranger  a consumer; its root of trust is {others}
  The nodes' folders are in {}; the nodes are connected only by TCP.

The exchange of data keys, over Kafka itself",
            counted(messages.count, "message"),
            counted(messages.size, "byte"),
            stage.servers(),
            stage.folder().display()
        ))?;
        Ok(Self {
            began: Instant::now(),
            ui,
        })
    }

    /// Sends and reads the messages, reports the events, and prints the results.
    ///
    /// # Errors
    /// [`CliError`] if a step fails or takes too long, or if the results are not the expected ones.
    pub(super) async fn run(&self, stage: &Stage, messages: &Messages) -> Result<(), CliError> {
        let began = self.began;
        let watch = |who, node: &Node| Watch::new(who, began, node.events(), self.ui);
        let is_answer = |event: &NodeEvent| matches!(event, NodeEvent::Answered { .. });
        let is_key = |event: &NodeEvent| matches!(event, NodeEvent::Received { .. });
        let is_refusal = |event: &NodeEvent| matches!(event, NodeEvent::Refused { .. });
        let is_silence = |event: &NodeEvent| matches!(event, NodeEvent::Unanswered { .. });
        let answered = watch("sender", &stage.sender);
        let received = watch("reader", &stage.reader);
        let silence = watch("stranger", &stage.stranger);
        let refused = watch("sender", &stage.sender);

        let sending = self.send(stage, messages);
        let reading = read(&stage.reader, messages);
        let main = async { tokio::try_join!(sending, reading) };
        let exchange = async { tokio::join!(answered.until(is_answer), received.until(is_key)) };
        let (done, _) = tokio::join!(main, within(exchange));
        let (sent_in, read) = done?;

        let told = async { tokio::join!(refused.only(is_refusal), silence.until(is_silence)) };
        let strange = read_until(&stage.stranger, within(told)).await?;
        let stored = stored(stage, messages).await?;
        self.sum_up(messages, sent_in, &read, &stored, strange)?;
        self.outlive(stage, messages).await
    }

    /// Lets a custodian collect the data keys, closes the sender, and reads the messages again with a new consumer.
    async fn outlive(&self, stage: &Stage, messages: &Messages) -> Result<(), CliError> {
        self.ui
            .result("\nA custodian keeps the data keys, and the sender goes away")?;
        let custodian = stage.custodian().await?;
        let kept = Watch::new("custodian", self.began, custodian.events(), self.ui);
        let identities = custodian.status().await?.trust.identities;
        let keys = identities.iter().map(|identity| identity.key.fingerprint());
        let keys: Vec<_> = keys.collect();
        let is_kept = |event: &NodeEvent| matches!(event, NodeEvent::Kept { .. });
        let (taken, ()) = tokio::join!(
            stage.sender.await_custodian(&keys, DEADLINE),
            within(kept.until(is_kept))
        );
        taken?;
        stage.sender.close_within(DEADLINE).await?;
        step(self.ui, self.began, "sender", "has ended");
        let late = stage.late_reader().await?;
        let is_key = |event: &NodeEvent| matches!(event, NodeEvent::Received { .. });
        let received = Watch::new("late", self.began, late.events(), self.ui);
        let (read, ()) = tokio::join!(read(&late, messages), within(received.until(is_key)));
        let matched = read?.matched;
        for node in [late, custodian] {
            node.close_within(DEADLINE).await?;
        }
        if matched == messages.count {
            self.ui.result(format!(
                "\nA new consumer read {}, identical and in order, from a producer that has ended.",
                counted(matched, "message")
            ))
        } else {
            Err(CliError::failure(
                "the new consumer did not read every message",
            ))
        }
    }

    async fn send(&self, stage: &Stage, messages: &Messages) -> Result<Duration, CliError> {
        let producer = stage.sender.producer().await?;
        let start = Instant::now();
        for number in 0..messages.count {
            let record = kc::Record::to(TOPIC).value(messages.nth(number));
            drop(producer.enqueue(record).await?);
            if number == 0 {
                step(
                    self.ui,
                    self.began,
                    "sender",
                    "turned its ratchet, stored it, and sealed the first message",
                );
            }
        }
        producer.flush_within(DEADLINE).await?;
        let took = start.elapsed();
        producer.close_within(DEADLINE).await?;
        Ok(took)
    }

    fn sum_up(
        &self,
        messages: &Messages,
        sent_in: Duration,
        read: &Read,
        stored: &Stored,
        strange: usize,
    ) -> Result<(), CliError> {
        let count = messages.count;
        let hex: Vec<_> = stored
            .first
            .iter()
            .take(24)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let ui = self.ui;
        let read_by_stranger = match strange {
            0 => "nothing".to_owned(),
            _ => counted(strange, "message"),
        };
        ui.result(format!(
            "
The broker stores (fetched by a Kafka client without encryption)
  {}, {}; records with readable text: {}
  the first record begins   {} ...
The reader read
  {} of {}, identical and in order
  the first message begins  {:?} ...
The stranger read
  {read_by_stranger}
Throughput on this host, including the broker
  sealed and sent   {}
  read and opened   {}
",
            counted(stored.records, "record"),
            counted(stored.bytes, "byte"),
            stored.readable,
            hex.join(" "),
            read.matched,
            counted(count, "message"),
            text(&read.first),
            rate(messages, sent_in),
            rate(messages, read.took)
        ))?;
        let good = read.matched == count
            && stored.records == count
            && stored.readable == 0
            && strange == 0;
        if good {
            ui.result("Every message arrived, and only the reader could read it.")
        } else {
            Err(CliError::failure(
                "the demonstration failed: not every message arrived unchanged, or the broker or the stranger could \
                 read one",
            ))
        }
    }
}

async fn consumer(node: &Node) -> Result<Consumer, CliError> {
    let joined = node.consumer([TOPIC]).from_beginning().join();
    Ok(joined.await?)
}

/// Reads all messages, and compares each message with the message that was sent.
async fn read(node: &Node, messages: &Messages) -> Result<Read, CliError> {
    let mut consumer = consumer(node).await?;
    let mut read = Read {
        matched: 0,
        first: Vec::new(),
        took: Duration::ZERO,
    };
    let (mut number, mut start) = (0, None);
    let reading = async {
        while number < messages.count {
            let Some(records) = consumer.next_batch().await else {
                break;
            };
            for record in records? {
                let since = *start.get_or_insert_with(Instant::now);
                read.matched += usize::from(record.value() == messages.nth(number));
                if number == 0 {
                    read.first = record.value().to_vec();
                }
                record.ack();
                number += 1;
                read.took = since.elapsed();
            }
        }
        Ok::<_, CliError>(())
    };
    timeout(DEADLINE, reading)
        .await
        .map_err(|_| CliError::failure("the reader did not receive all messages in time"))??;
    consumer.close_within(DEADLINE).await?;
    Ok(read)
}

/// Reads until `done` ends or messages arrive. Returns the number of messages that arrived.
async fn read_until(node: &Node, done: impl Future<Output = ()>) -> Result<usize, CliError> {
    let mut consumer = consumer(node).await?;
    let read = tokio::select! {
        () = done => 0,
        Some(read) = consumer.next_batch() => read?.len(),
    };
    consumer.close_within(DEADLINE).await?;
    Ok(read)
}

async fn stored(stage: &Stage, messages: &Messages) -> Result<Stored, CliError> {
    let mut reader = stage.stored().await?;
    let mut stored = Stored::default();
    let fetching = async {
        while stored.records < messages.count {
            for record in reader.poll(Duration::from_millis(200)).await? {
                stored.add(record);
            }
        }
        Ok::<_, CliError>(())
    };
    timeout(DEADLINE, fetching).await.map_err(|_| {
        CliError::failure("the client without encryption did not receive all records in time")
    })??;
    reader.close().await;
    Ok(stored)
}

impl Stored {
    fn add(&mut self, record: Record) {
        let value = record.value.map(Vec::from).unwrap_or_default();
        self.records += 1;
        self.bytes += value.len();
        self.readable += usize::from(is_readable(&value));
        if self.first.is_empty() {
            self.first = value;
        }
    }
}

async fn within<T>(told: impl Future<Output = T>) {
    // If an event did not happen in time, the results show this.
    let _ = timeout(DEADLINE, told).await;
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(48).collect()
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn rate(messages: &Messages, took: Duration) -> String {
    let secs = took.as_secs_f64().max(1e-9);
    let (count, megabytes) = (
        messages.count as f64 / secs,
        messages.bytes() as f64 / secs / 1e6,
    );
    format!("{count:.0} messages/s, {megabytes:.1} MB/s")
}
