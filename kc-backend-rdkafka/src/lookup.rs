//! Lookup of existing topics and their offsets. All functions block.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use kc_core::backend::{BackendError, ClientSettings, Sasl, TopicPartition, Watermarks};
use kc_core::types::is_topic_name;
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{IsError, RDKafkaErrorCode as Code};
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::{ClientContext, Offset};

use crate::config::{self, Role};
use crate::connection::await_broker;
use crate::error::{failed, of_code};
use crate::events::{Events, serve};
use crate::record::{check_name, list, named};
use crate::worker::retire;

/// The maximum time of one lookup of topics or start positions. The time is short, because a lookup delays the poll
/// during which it is made.
pub(crate) const LOOK_TIMEOUT: Duration = Duration::from_secs(1);

/// The time after which [`Lookup::tend`] serves the events of the client again.
const TEND_INTERVAL: Duration = Duration::from_secs(1);

/// The maximum timeout of a call. librdkafka counts the milliseconds in 32 bits.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// Returns the time until `end`, but at most [`LONGEST_WAIT`].
pub(crate) fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
        .min(LONGEST_WAIT)
}

/// Returns the partitions of a topic, including those without a leader; an empty list if the topic does not exist.
pub(crate) fn partitions<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    end: Instant,
) -> Result<Vec<Partition>, BackendError> {
    let context = || format!("look for topic {topic}");
    check_name(topic)?;
    let metadata = client
        .fetch_metadata(Some(topic), left(end))
        .map_err(|error| failed(context(), error))?;
    let Some(found) = metadata.topics().iter().find(|it| it.name() == topic) else {
        return Ok(Vec::new());
    };
    match topic_error(found) {
        None => Ok(found.partitions().iter().map(Partition::from).collect()),
        Some(
            Code::UnknownTopicOrPartition
            | Code::UnknownTopicId
            | Code::UnknownTopic
            | Code::LeaderNotAvailable,
        ) => Ok(Vec::new()),
        Some(code) => Err(of_code(context(), code)),
    }
}

/// A partition of a topic that exists.
pub(crate) struct Partition {
    number: i32,
    has_leader: bool,
}

impl From<&MetadataPartition> for Partition {
    fn from(partition: &MetadataPartition) -> Self {
        Self {
            number: partition.id(),
            has_leader: partition.leader() >= 0,
        }
    }
}

/// Returns whether a topic name that a broker lists is valid. Logs the first invalid name.
fn is_legal(topic: &str) -> bool {
    static LOGGED: Once = Once::new();
    let is_legal = is_topic_name(topic);
    if !is_legal {
        LOGGED.call_once(|| {
            tracing::warn!(
                ?topic,
                "broker lists an invalid topic name; the topic is ignored"
            );
        });
    }
    is_legal
}

fn topic_error(topic: &MetadataTopic) -> Option<Code> {
    let error = topic.error().filter(IsError::is_error);
    error.map(Code::from)
}

/// A client for requests about topics and offsets. It is a consumer that reads no partitions. If a consumer that reads
/// partitions made these requests, they would wait until a fetch ends.
pub(crate) struct Lookup {
    consumer: BaseConsumer<Events>,
    uses_tokens: bool,
    /// The time at which events were last served.
    served: Mutex<Instant>,
}

impl Lookup {
    /// Returns a client that connects at its first request.
    pub(crate) fn new(settings: &ClientSettings) -> Result<Self, BackendError> {
        let consumer = config::client(settings, Role::Admin, Events::default())?;
        Ok(Self::of(consumer, settings))
    }

    fn of(consumer: BaseConsumer<Events>, settings: &ClientSettings) -> Self {
        Self {
            consumer,
            uses_tokens: matches!(settings.sasl, Some(Sasl::OAuthBearer(_))),
            served: Mutex::new(Instant::now()),
        }
    }

    /// Creates a client, and returns it after it has connected.
    pub(crate) fn connect(settings: &ClientSettings, role: Role<'_>) -> Result<Self, BackendError> {
        let consumer: BaseConsumer<Events> = config::client(settings, role, Events::default())?;
        let (client, events) = (consumer.client(), consumer.context());
        match await_broker(settings, "admin client", client, events, || {
            serve(&consumer)
        }) {
            Ok(()) => Ok(Self::of(consumer, settings)),
            Err(error) => {
                retire(consumer);
                Err(error)
            }
        }
    }

    /// Returns the number of a topic's partitions, or `None` if the topic does not exist.
    pub(crate) fn count(&self, topic: &str, end: Instant) -> Result<Option<usize>, BackendError> {
        let count = self.partitions(topic, end)?.len();
        Ok((count > 0).then_some(count))
    }

    /// Returns those of `topics` that exist.
    pub(crate) fn existing(
        &self,
        topics: impl IntoIterator<Item = impl AsRef<str>>,
        end: Instant,
    ) -> Result<BTreeSet<String>, BackendError> {
        let mut found = BTreeSet::new();
        for topic in topics {
            if self.count(topic.as_ref(), end)?.is_some() {
                found.insert(topic.as_ref().to_owned());
            }
        }
        Ok(found)
    }

    /// Returns the partitions of these topics that have a leader, so that their offsets can be requested.
    pub(crate) fn ready_partitions(
        &self,
        topics: impl IntoIterator<Item = impl AsRef<str>>,
        end: Instant,
    ) -> Result<BTreeSet<TopicPartition>, BackendError> {
        let mut ready = BTreeSet::new();
        for topic in topics {
            let topic = topic.as_ref();
            let partitions = self.partitions(topic, end)?.into_iter();
            let partitions = partitions.filter(|partition| partition.has_leader);
            ready.extend(partitions.map(|partition| TopicPartition {
                topic: topic.to_owned(),
                partition: partition.number,
            }));
        }
        Ok(ready)
    }

    /// Returns the names of all topics. Leaves out Kafka's internal topics, whose names begin with `__`, and invalid
    /// names.
    pub(crate) fn topics(
        &self,
        context: &str,
        end: Instant,
    ) -> Result<BTreeSet<String>, BackendError> {
        let metadata = self.ask(|consumer| {
            let metadata = consumer.fetch_metadata(None, left(end));
            metadata.map_err(|error| failed(context, error))
        })?;
        let names = metadata.topics().iter().map(MetadataTopic::name);
        let names = names.filter(|name| !name.starts_with("__") && is_legal(name));
        Ok(names.map(str::to_owned).collect())
    }

    /// Returns the first offset and the end offset of each partition (see [`Watermarks`]). All of the partitions must
    /// have leaders.
    pub(crate) fn watermarks(
        &self,
        partitions: &BTreeSet<TopicPartition>,
        end: Instant,
    ) -> Result<BTreeMap<TopicPartition, Watermarks>, BackendError> {
        let mut lows = self.offsets(partitions, Offset::Beginning, end)?;
        let highs = self.offsets(partitions, Offset::End, end)?;
        let both = highs.into_iter().filter_map(|(at, high)| {
            let low = lows.remove(&at)?;
            Some((at, Watermarks { low, high }))
        });
        Ok(both.collect())
    }

    /// Returns the offset at the beginning of each partition if `which` is [`Offset::Beginning`], and at the end if it
    /// is [`Offset::End`]. In the request, librdkafka accepts these two values in place of a time.
    fn offsets(
        &self,
        partitions: &BTreeSet<TopicPartition>,
        which: Offset,
        end: Instant,
    ) -> Result<BTreeMap<TopicPartition, i64>, BackendError> {
        let Some(first) = partitions.first() else {
            return Ok(BTreeMap::new());
        };
        let context = |topic: &str| format!("list offsets of topic {topic}");
        let asked = list(partitions.iter().map(|at| (at, which)))?;
        let answered = self.ask(|consumer| {
            let answered = consumer.offsets_for_times(asked, left(end));
            answered.map_err(|error| failed(context(&first.topic), error))
        })?;
        let mut found = BTreeMap::new();
        for element in answered.elements() {
            element
                .error()
                .map_err(|error| failed(context(element.topic()), error))?;
            if let Offset::Offset(offset) = element.offset() {
                found.insert(named(&element), offset);
            }
        }
        Ok(found)
    }

    fn partitions(&self, topic: &str, end: Instant) -> Result<Vec<Partition>, BackendError> {
        self.ask(|consumer| partitions(consumer.client(), topic, end))
    }

    fn ask<T>(
        &self,
        question: impl FnOnce(&BaseConsumer<Events>) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        if self.uses_tokens {
            // An event may ask for a token, without which no broker answers.
            self.serve();
        }
        let answer = question(&self.consumer);
        self.serve();
        let events = self.consumer.context();
        match answer {
            Ok(answer) => {
                events.success();
                Ok(answer)
            }
            Err(error) => Err(events.explain(error)),
        }
    }

    /// Serves the events of the client, unless they were served within the last second. Events that are not served
    /// accumulate without a limit during an outage.
    pub(crate) fn tend(&self) {
        let served = *self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if served.elapsed() >= TEND_INTERVAL {
            self.serve();
        }
    }

    fn serve(&self) {
        serve(&self.consumer);
        *self.served.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_an_outage_are_served_while_nothing_is_asked() {
        // No broker listens on this port.
        let settings = ClientSettings::parse([("bootstrap_servers", "127.0.0.1:1")]).unwrap();
        let lookup = Lookup::new(&settings).unwrap();
        assert!(lookup.count("t", Instant::now()).is_err());
        let end = Instant::now() + Duration::from_secs(20);
        for _ in 0..3 {
            while !lookup.consumer.context().take_all_down() {
                assert!(Instant::now() < end, "no event was served");
                lookup.tend();
                std::thread::yield_now();
            }
        }
    }
}
