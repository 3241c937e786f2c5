//! A cluster of three brokers.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::listeners::Ports;
use super::{Kafka, KafkaError, Listener, Version, readiness, storage};

/// The number of brokers.
const BROKERS: usize = 3;
/// The time that the brokers have to find each other.
const MEETING: Duration = Duration::from_mins(1);
/// The time between two requests for the number of brokers.
const ASK: Duration = Duration::from_millis(100);
/// The option for a heap that is large enough for one broker of a small cluster.
pub(super) const HEAP: &str = "-Xmx384m";

/// The place of a broker in a cluster.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) cluster_id: String,
}

/// Three brokers of Apache Kafka, each of which is also a controller. Topics have three replicas by default, of which two
/// must be in sync (`min.insync.replicas`). Dropping it kills them.
#[derive(Debug)]
pub struct Cluster {
    brokers: Vec<Kafka>,
    // Removed after the brokers have ended.
    _folder: TempDir,
}

impl Cluster {
    /// Starts the brokers, and waits until they know each other.
    ///
    /// # Errors
    /// The same as [`Builder::start`](super::Builder::start); [`KafkaError::NotServing`] if the brokers do not find each
    /// other.
    pub fn start(version: Version) -> Result<Self, KafkaError> {
        let folder = tempfile::Builder::new().prefix("kafka-cluster-").tempdir();
        let folder = folder.map_err(KafkaError::file(&std::env::temp_dir()))?;
        let ports = different_ports()?;
        let voters = (1..)
            .zip(&ports)
            .map(|(id, ports)| format!("{id}@{}:{}", Ipv4Addr::LOCALHOST, ports.controller()));
        let voters = voters.collect::<Vec<_>>().join(",");
        let member = Member {
            cluster_id: storage::cluster_id(),
        };
        let builders = (1..).zip(&ports).map(|(id, ports)| {
            let mut builder = Kafka::builder(version)
                .first_port(ports.of(Listener::Plaintext))
                .folder(folder.path().join(format!("broker-{id}")));
            builder.member = Some(member.clone());
            let replicated = [
                "offsets.topic.replication.factor",
                "transaction.state.log.replication.factor",
                "default.replication.factor",
            ];
            replicated
                .into_iter()
                .fold(builder, |builder, name| {
                    builder.property(name, BROKERS.to_string())
                })
                .property("min.insync.replicas", "2")
                .property("transaction.state.log.min.isr", "2")
                .property("node.id", id.to_string())
                .property("controller.quorum.voters", &voters)
        });
        // A broker serves when most of them run, so they start at the same time.
        let starting: Vec<_> = builders
            .map(|builder| thread::spawn(|| builder.start()))
            .collect();
        let started = starting.into_iter().map(|thread| {
            let failed = || KafkaError::NotServing {
                seconds: MEETING.as_secs(),
                log: "the thread that starts a broker panicked".to_owned(),
            };
            thread.join().unwrap_or_else(|_| Err(failed()))
        });
        let cluster = Self {
            brokers: started.collect::<Result<_, _>>()?,
            _folder: folder,
        };
        cluster.await_all()?;
        Ok(cluster)
    }

    /// Waits until each broker knows all brokers.
    ///
    /// # Errors
    /// [`KafkaError::NotServing`] after a minute.
    pub fn await_all(&self) -> Result<(), KafkaError> {
        let deadline = Instant::now() + MEETING;
        let address = |kafka: &Kafka| -> SocketAddr {
            (Ipv4Addr::LOCALHOST, kafka.port(Listener::Plaintext)).into()
        };
        while !self
            .brokers
            .iter()
            .all(|kafka| readiness::brokers(address(kafka)).is_some_and(|count| count == BROKERS))
        {
            if Instant::now() > deadline {
                return Err(KafkaError::NotServing {
                    seconds: MEETING.as_secs(),
                    log: "not all brokers found each other".to_owned(),
                });
            }
            thread::sleep(ASK);
        }
        Ok(())
    }

    /// Returns the addresses of all brokers, for `bootstrap_servers`.
    #[must_use]
    pub fn address(&self) -> String {
        let brokers = self.brokers.iter();
        let addresses: Vec<_> = brokers
            .map(|kafka| kafka.address(Listener::Plaintext))
            .collect();
        addresses.join(",")
    }

    /// Returns the brokers.
    pub fn brokers(&mut self) -> &mut [Kafka] {
        &mut self.brokers
    }
}

/// Returns the ports of each broker, which do not overlap.
fn different_ports() -> Result<Vec<Ports>, KafkaError> {
    let mut ports: Vec<Ports> = Vec::new();
    while ports.len() < BROKERS {
        let next = Ports::free()?;
        if ports.iter().all(|other| !other.overlaps(next)) {
            ports.push(next);
        }
    }
    Ok(ports)
}
