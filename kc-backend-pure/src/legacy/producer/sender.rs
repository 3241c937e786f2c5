//! The thread that sends, and its requests to the leaders of partitions.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use kafka::client::{ProduceMessage, RequiredAcks};
use kafka::error::{Error, KafkaCode, Result as KafkaResult};
use kc_core::backend::{BackendError, BackendErrorKind, ClientSettings, TopicPartition};
use kc_core::text::with_sources;
use tokio::sync::oneshot;

use super::partitioner::Places;
use super::queues::{Batch, Queued, Queues};
use crate::legacy::client::{Client, RETRY_PAUSE};
use crate::legacy::error::{again, failed, is_transient};

type Reply = oneshot::Sender<Result<(), BackendError>>;

pub(super) enum Message {
    Send(Queued),
    Flush(Reply),
}

pub(super) struct Sender {
    settings: Arc<ClientSettings>,
    client: Client,
    inbox: Receiver<Message>,
    /// The number of records that callers have sent to this thread.
    count: u64,
    places: Places,
    /// The error of the last lookup of topics; `None` if that lookup succeeded.
    unlisted: Option<BackendError>,
    next_listing: Instant,
    /// Records whose partition does not exist.
    homeless: VecDeque<Queued>,
    queues: Queues,
    /// The maximum size of a batch, in bytes. It is less than the value in the settings if a broker refused a batch as
    /// too large.
    batch_size: usize,
    /// The error of the last request; `None` if that request succeeded.
    trouble: Option<BackendError>,
    /// After an error, nothing is sent before this time.
    not_before: Instant,
    flushes: Vec<(u64, Reply)>,
    /// The error of the first record that could not be sent since the last flush.
    failure: Option<BackendError>,
}

impl Sender {
    pub(super) fn new(settings: Arc<ClientSettings>, inbox: Receiver<Message>) -> Self {
        let now = Instant::now();
        Self {
            client: Client::new(Arc::clone(&settings)),
            inbox,
            count: 0,
            places: Places::default(),
            unlisted: None,
            next_listing: now,
            homeless: VecDeque::new(),
            queues: Queues::default(),
            batch_size: settings.batch_size,
            trouble: None,
            not_before: now,
            flushes: Vec::new(),
            failure: None,
            settings,
        }
    }

    /// Connects and reports the result. Then sends records until the producer is dropped and all records are sent or
    /// have failed.
    pub(super) fn run(mut self, connected: Reply) {
        self.list();
        let unlisted = self.unlisted.take();
        let is_connected = unlisted.is_none();
        // The caller may have stopped waiting.
        let _ = connected.send(unlisted.map_or(Ok(()), Err));
        while is_connected && self.receive() {
            self.find_homes();
            self.give_up();
            self.send();
            self.answer_flushes();
        }
    }

    /// Receives messages until it is time to send, to look up topics or to answer a flush. Returns `false` when the
    /// producer is dropped and no record is left.
    fn receive(&mut self) -> bool {
        loop {
            while let Ok(message) = self.inbox.try_recv() {
                self.take(message);
            }
            let Some(pause) = self.pause() else {
                match self.inbox.recv() {
                    Ok(message) => self.take(message),
                    Err(_) => return false,
                }
                continue;
            };
            match self.inbox.recv_timeout(pause) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => {
                    sleep(pause);
                    return true;
                }
            }
        }
    }

    /// Returns the time until the next action; `None` if there is no action until the next message.
    fn pause(&self) -> Option<Duration> {
        let now = Instant::now();
        let hurry = !self.flushes.is_empty() || self.queues.bytes() >= self.batch_size;
        let linger = if hurry {
            Duration::ZERO
        } else {
            self.settings.linger
        };
        let oldest = self.queues.firsts().map(|queued| queued.since).min();
        let send = oldest.map(|since| (since + linger).max(self.not_before));
        let list = (!self.homeless.is_empty()).then_some(self.next_listing);
        let flush = (hurry && send.or(list).is_none()).then_some(now);
        let next = [send, list, flush].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(now))
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Send(mut queued) => {
                queued.number = self.count;
                self.count += 1;
                self.place(queued);
            }
            Message::Flush(reply) => self.flushes.push((self.count, reply)),
        }
    }

    /// Queues a record for its partition, or sets it aside if the partition does not exist.
    fn place(&mut self, queued: Queued) {
        match self.places.place(&queued.record) {
            Some(at) => self.queues.push(at, queued),
            None => self.homeless.push_back(queued),
        }
    }

    /// Looks up topics again, if there are records whose partition did not exist at the last lookup.
    fn find_homes(&mut self) {
        if self.homeless.is_empty() || Instant::now() < self.next_listing {
            return;
        }
        if self.settings.allow_auto_create_topics {
            self.ask_to_create();
        }
        self.list();
    }

    /// Requests missing topics by their names, so that brokers may create them.
    fn ask_to_create(&mut self) {
        let topics = self.homeless.iter().map(|queued| &queued.record.topic);
        let missing = self.places.missing(topics);
        if missing.is_empty() {
            return;
        }
        if let Err(error) = self.client.with(|kafka| kafka.load_metadata(&missing)) {
            tracing::debug!(error = %with_sources(&error), "missing topics cannot be requested");
        }
    }

    /// Looks up the partitions of all topics. Calls [`place`](Self::place) again for the records whose partition
    /// appeared or disappeared.
    fn list(&mut self) {
        self.next_listing = Instant::now() + RETRY_PAUSE;
        match self.client.topics() {
            Ok(topics) => self.places.topics = topics,
            Err(error) => {
                let context = format!("connect producer to {}", self.settings.bootstrap_servers);
                self.unlisted = Some(failed(context, error));
                return;
            }
        }
        self.unlisted = None;
        let places = &self.places;
        let mut homeless = self.queues.take_gone(|at| places.exists(at));
        // Append the records that were already set aside: the sender received them later.
        homeless.extend(std::mem::take(&mut self.homeless));
        for queued in homeless {
            self.place(queued);
        }
    }

    /// Reports an error for each record that has waited too long: for its partition to exist, or for its delivery.
    fn give_up(&mut self) {
        let delivery = self.settings.delivery_timeout;
        let longest = self.settings.max_block.min(delivery);
        while let Some(queued) = self
            .homeless
            .pop_front_if(|queued| queued.since.elapsed() >= longest)
        {
            let error = match &self.unlisted {
                Some(unlisted) => again(unlisted, queued.context()),
                None => BackendError::new(BackendErrorKind::UnknownTopic, queued.context()),
            };
            self.fail(queued, error);
        }
        for queued in self.queues.take_older(delivery) {
            let error = match &self.trouble {
                Some(trouble) => again(trouble, queued.context()),
                None => BackendError::new(BackendErrorKind::Timeout, queued.context()),
            };
            self.fail(queued, error);
        }
    }

    fn fail(&mut self, queued: Queued, error: BackendError) {
        self.failure
            .get_or_insert_with(|| again(&error, error.context()));
        queued.answer(Err(error));
    }

    fn send(&mut self) {
        if self.queues.is_empty() || Instant::now() < self.not_before {
            return;
        }
        if self.trouble.take().is_some() {
            self.list();
        }
        let batches = self
            .queues
            .take(self.batch_size, self.settings.max_request_size);
        let leaders = match self.client.leaders(batches.iter().map(|batch| &batch.at)) {
            Ok(leaders) => leaders,
            Err(error) => return self.later(batches, error),
        };
        for (leader, batches) in by_leader(leaders, batches) {
            if leader.is_none() {
                self.later(batches, Error::Kafka(KafkaCode::LeaderNotAvailable));
                continue;
            }
            match produce(&mut self.client, &batches, self.settings.request_timeout) {
                Ok(confirmed) => self.settle(batches, confirmed),
                Err(error) => self.later(batches, error),
            }
        }
    }

    fn settle(&mut self, batches: Vec<Batch>, mut confirmed: Confirmed) {
        for batch in batches {
            match confirmed.remove(&batch.at) {
                Some(Ok(first)) => batch.acknowledge(first),
                Some(Err(code)) => self.refused(batch, code),
                None => self.later(vec![batch], Error::Kafka(KafkaCode::NetworkException)),
            }
        }
    }

    fn refused(&mut self, batch: Batch, code: KafkaCode) {
        use KafkaCode::{MessageSizeTooLarge, RecordListTooLarge, UnknownTopicOrPartition};
        let error = Error::Kafka(code);
        let is_too_large = matches!(code, MessageSizeTooLarge | RecordListTooLarge);
        if is_too_large && batch.records.len() > 1 {
            let size: usize = batch.records.iter().map(|queued| queued.size).sum();
            self.batch_size = size / 2;
            self.queues.put_back(batch);
        } else if is_transient(&error) || code == UnknownTopicOrPartition {
            self.later(vec![batch], error);
        } else {
            for queued in batch.records {
                let error = failed(queued.context(), Error::Kafka(code));
                self.fail(queued, error);
            }
        }
    }

    /// Puts batches back into their queues. They are sent again after a pause and a new lookup of topics and leaders.
    fn later(&mut self, batches: Vec<Batch>, error: Error) {
        tracing::debug!(error = %with_sources(&error), "sending failed; retrying");
        self.trouble = Some(failed("send", error));
        self.not_before = Instant::now() + RETRY_PAUSE;
        for batch in batches {
            self.queues.put_back(batch);
        }
    }

    /// Answers each flush if all records that were received before the flush are sent or have failed. Flushes that end
    /// together get the same failure.
    fn answer_flushes(&mut self) {
        let waiting = self.queues.firsts().chain(&self.homeless);
        let oldest = waiting.map(|queued| queued.number).min();
        let is_done = |count: u64| oldest.is_none_or(|oldest| oldest >= count);
        let done: Vec<_> = self
            .flushes
            .extract_if(.., |(count, _)| is_done(*count))
            .collect();
        if done.is_empty() {
            return;
        }
        let failure = self.failure.take();
        for (_, reply) in done {
            let failure = failure
                .as_ref()
                .map(|failure| again(failure, failure.context()));
            // The caller may have stopped waiting.
            let _ = reply.send(failure.map_or(Ok(()), Err));
        }
    }
}

/// The answer for each partition: the offset of the batch's first record, or the broker's error.
type Confirmed = HashMap<TopicPartition, Result<i64, KafkaCode>>;

/// Groups batches by leader, because this thread makes a separate call for each leader. With one call for several
/// leaders, if one leader failed, the confirmations of the leaders that had already answered would be lost.
fn by_leader(
    leaders: Vec<Option<String>>,
    batches: Vec<Batch>,
) -> BTreeMap<Option<String>, Vec<Batch>> {
    let mut by_leader: BTreeMap<_, Vec<Batch>> = BTreeMap::new();
    for (leader, batch) in leaders.into_iter().zip(batches) {
        by_leader.entry(leader).or_default().push(batch);
    }
    by_leader
}

/// Sends batches to their leader, and waits until all in-sync replicas have them.
fn produce(client: &mut Client, batches: &[Batch], timeout: Duration) -> KafkaResult<Confirmed> {
    let confirms = client.with(|kafka| {
        let messages = batches.iter().flat_map(|batch| {
            batch.records.iter().map(|Queued { record, .. }| {
                let (key, value) = (record.key.as_deref(), record.value.as_deref());
                ProduceMessage::new(&batch.at.topic, batch.at.partition, key, value)
            })
        });
        kafka.produce_messages(RequiredAcks::All, timeout, messages)
    })?;
    let mut confirmed = HashMap::new();
    for confirm in confirms {
        for of_partition in confirm.partition_confirms {
            let at = TopicPartition {
                topic: confirm.topic.clone(),
                partition: of_partition.partition,
            };
            confirmed.insert(at, of_partition.offset);
        }
    }
    Ok(confirmed)
}
