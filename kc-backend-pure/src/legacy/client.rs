//! A client of the crate `kafka` that reconnects when necessary. All functions block.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use kafka::client::{Compression as Codec, FetchOffset, GroupOffsetStorage, KafkaClient};
use kafka::error::{Error, KafkaCode, Result};
use kc_core::backend::{AdvertisedBroker, ClientSettings, Compression, TopicPartition, Watermarks};
use kc_core::text::with_sources;

use super::error::{breaks_connection, code, is_transient};
use crate::lookup::is_legal;

/// The maximum time to establish one connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause before a failed call is retried.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Kafka's internal topics.
const INTERNAL: [&str; 2] = ["__consumer_offsets", "__transaction_state"];

pub(super) struct Client {
    settings: Arc<ClientSettings>,
    kafka: Option<KafkaClient>,
    /// The time at which topics and leaders were last requested; `None` if they are out of date.
    listed: Option<Instant>,
}

impl Client {
    pub(super) fn new(settings: Arc<ClientSettings>) -> Self {
        Self {
            settings,
            kafka: None,
            listed: None,
        }
    }

    /// Connects, unless the client is connected.
    pub(super) fn connect(&mut self) -> Result<()> {
        self.with(|_| Ok(()))
    }

    /// Makes a call. If an existing connection is broken, repeats the call once on a new connection. A broken
    /// connection is usual after a pause, because brokers close idle connections.
    pub(super) fn with<T>(
        &mut self,
        mut call: impl FnMut(&mut KafkaClient) -> Result<T>,
    ) -> Result<T> {
        let was_connected = self.kafka.is_some();
        match self.attempt(&mut call) {
            Err(error) if was_connected && breaks_connection(&error) => self.attempt(&mut call),
            result => result,
        }
    }

    /// Makes a call like [`with`](Self::with), and repeats it until `end` while the broker is not ready.
    pub(super) fn until<T>(
        &mut self,
        end: Instant,
        mut call: impl FnMut(&mut KafkaClient) -> Result<T>,
    ) -> Result<T> {
        loop {
            match self.with(&mut call) {
                Err(error) if is_transient(&error) && Instant::now() + RETRY_PAUSE < end => {
                    tracing::debug!(error = %with_sources(&error), "broker is not ready; retrying");
                    self.forget_leaders();
                    sleep(RETRY_PAUSE);
                }
                result => return result,
            }
        }
    }

    fn attempt<T>(&mut self, call: &mut impl FnMut(&mut KafkaClient) -> Result<T>) -> Result<T> {
        let mut kafka = match self.kafka.take() {
            Some(kafka) => kafka,
            None => self.connect_anew()?,
        };
        let max_age = self.settings.metadata_max_age;
        let known = self.listed.is_some_and(|at| at.elapsed() < max_age);
        let result = guarded(|| {
            if !known {
                kafka.load_metadata_all()?;
            }
            call(&mut kafka)
        });
        if !result.as_ref().is_err_and(breaks_connection) {
            self.kafka = Some(kafka);
            self.listed = self.listed.filter(|_| known).or(Some(Instant::now()));
        }
        result
    }

    fn connect_anew(&mut self) -> Result<KafkaClient> {
        self.listed = None;
        let mut kafka = connect(&self.settings)?;
        guarded(|| kafka.load_metadata_all()).map_err(at_first)?;
        probe_leaders(&kafka, &self.settings)?;
        self.listed = Some(Instant::now());
        Ok(kafka)
    }

    /// Discards the known partitions and leaders, so that the next call requests them from the brokers again.
    pub(super) fn forget_leaders(&mut self) {
        self.listed = None;
    }

    /// Returns all topics, each with its number of partitions. Leaves out Kafka's internal topics and invalid names.
    /// Never requests a topic by its name, because such a request might create the topic.
    pub(super) fn topics(&mut self) -> Result<BTreeMap<String, i32>> {
        self.forget_leaders();
        self.with(|kafka| {
            let mut topics = BTreeMap::new();
            for topic in kafka.topics().iter() {
                let partitions = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
                let is_internal = INTERNAL.contains(&topic.name());
                if partitions > 0 && !is_internal && is_legal(topic.name()) {
                    topics.insert(topic.name().to_owned(), partitions);
                }
            }
            Ok(topics)
        })
    }

    /// Returns the leader of each partition, `host:port`; `None` if the partition has no leader or is unknown.
    pub(super) fn leaders<'a>(
        &mut self,
        partitions: impl Iterator<Item = &'a TopicPartition> + Clone,
    ) -> Result<Vec<Option<String>>> {
        self.with(|kafka| {
            let topics = kafka.topics();
            let leaders = partitions.clone().map(|at| {
                let partition = topics.partitions(&at.topic)?.partition(at.partition)?;
                partition.leader().map(|leader| leader.host().to_owned())
            });
            Ok(leaders.collect())
        })
    }

    /// Returns the first offset and the end offset of each partition (see [`Watermarks`]). All of the partitions must
    /// exist.
    pub(super) fn watermarks(
        &mut self,
        partitions: &[TopicPartition],
        end: Instant,
    ) -> Result<HashMap<TopicPartition, Watermarks>> {
        let topics: BTreeSet<&str> = partitions.iter().map(|at| at.topic.as_str()).collect();
        let topics: Vec<&str> = topics.into_iter().collect();
        if topics.is_empty() {
            return Ok(HashMap::new());
        }
        self.until(end, |kafka| {
            let lows = offsets(kafka, &topics, FetchOffset::Earliest)?;
            let highs = offsets(kafka, &topics, FetchOffset::Latest)?;
            let mut found = HashMap::new();
            for at in partitions {
                let (Some(low), Some(high)) = (lows.get(at), highs.get(at)) else {
                    return Err(Error::Kafka(KafkaCode::LeaderNotAvailable));
                };
                let have = Watermarks {
                    low: *low,
                    high: *high,
                };
                found.insert(at.clone(), have);
            }
            Ok(found)
        })
    }
}

fn offsets(
    kafka: &mut KafkaClient,
    topics: &[&str],
    which: FetchOffset,
) -> Result<HashMap<TopicPartition, i64>> {
    let found = kafka.fetch_offsets(topics, which).map_err(|error| {
        // Other brokers list the topic, so this means that the leader does not know the topic yet.
        match code(&error) {
            Some(KafkaCode::UnknownTopicOrPartition) => Error::Kafka(KafkaCode::LeaderNotAvailable),
            _ => error,
        }
    })?;
    let mut offsets = HashMap::new();
    for (topic, partitions) in found {
        for found in partitions {
            let at = TopicPartition {
                topic: topic.clone(),
                partition: found.partition,
            };
            offsets.insert(at, found.offset);
        }
    }
    Ok(offsets)
}

fn connect(settings: &ClientSettings) -> Result<KafkaClient> {
    let host = first_reachable(&settings.bootstrap_servers, settings.request_timeout)?;
    let mut kafka = KafkaClient::new(vec![host]);
    kafka.set_client_id(settings.client_id.clone());
    kafka.set_compression(match settings.compression {
        Compression::Gzip => Codec::GZIP,
        Compression::Snappy => Codec::SNAPPY,
        _ => Codec::NONE,
    });
    kafka.set_group_offset_storage(Some(GroupOffsetStorage::Kafka));
    kafka.set_connection_idle_timeout(settings.connections_max_idle);
    kafka.set_fetch_min_bytes(1);
    // Let the crate not retry by itself: `Client::until` retries with a time limit.
    kafka.set_retry_max_attempts(1);
    kafka.set_retry_backoff_time(RETRY_PAUSE);
    Ok(kafka)
}

/// Calls the crate, and turns a panic into an error. The crate panics if it cannot replace an idle connection, and if
/// an answer contains an invalid length.
fn guarded<T>(call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(Err(Error::NoHostReachable))
}

/// Adds the likely cause to the error of a broker that accepts connections but does not answer.
fn at_first(error: Error) -> Error {
    match error {
        Error::Io(error) => {
            let text = format!(
                "{error}; brokers of Kafka 4 and brokers that require TLS close the connection like this"
            );
            Error::Io(io::Error::new(error.kind(), text))
        }
        other => other,
    }
}

/// Returns an error if none of the addresses that the brokers advertise can be reached. Only the leaders of existing
/// partitions are known: the crate hides the other brokers.
fn probe_leaders(kafka: &KafkaClient, settings: &ClientSettings) -> io::Result<()> {
    let mut leaders = BTreeMap::new();
    for topic in kafka.topics().iter() {
        let known = topic.partitions().iter();
        let known = known.filter_map(|partition| partition.leader());
        leaders.extend(known.map(|leader| (leader.id(), leader.host().to_owned())));
    }
    let leaders = leaders.into_iter();
    let brokers = leaders.map(|(id, address)| AdvertisedBroker::at(id, &address));
    let brokers = AdvertisedBroker::to_probe(brokers.collect(), &settings.bootstrap_servers);
    // One after the other, in the time of one.
    let count = u32::try_from(brokers.len()).unwrap_or(1).max(1);
    let mut failures = Vec::new();
    for broker in brokers {
        match probe(broker.address(), AdvertisedBroker::TIMEOUT / count) {
            Ok(()) => return Ok(()),
            Err(error) => failures.push((broker, error)),
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let context = format!("connect to {}", settings.bootstrap_servers);
    Err(io::Error::other(AdvertisedBroker::unreachable(
        context, &failures,
    )))
}

/// Returns the first address that accepts connections. The crate itself would wait for minutes for an address that does
/// not answer, and would not report the reason.
fn first_reachable(servers: &str, timeout: Duration) -> io::Result<String> {
    let count = u32::try_from(servers.split(',').count()).unwrap_or(1);
    let timeout = CONNECT_TIMEOUT.min(timeout / count);
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for server in servers.split(',') {
        match probe(server, timeout) {
            Ok(()) => return Ok(server.to_owned()),
            Err(error) => failure = io::Error::new(error.kind(), format!("{server}: {error}")),
        }
    }
    Err(failure)
}

fn probe(server: &str, timeout: Duration) -> io::Result<()> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in server.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, timeout) {
            Ok(_) => return Ok(()),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    fn the_first_server_that_listens_is_taken() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let listens = listener.local_addr().unwrap().to_string();
        let servers = format!("{},{listens}", free_address());
        let found = first_reachable(&servers, Duration::from_secs(4)).unwrap();
        assert_eq!(found, listens);
    }

    #[test]
    fn where_none_listens_the_last_one_is_named() {
        let (first, last) = (free_address(), free_address());
        let servers = format!("{first},{last}");
        let error = first_reachable(&servers, Duration::from_secs(4)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&last), "{error}");
    }

    fn free_address() -> String {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap().to_string()
    }
}
