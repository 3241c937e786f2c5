//! Waits for the first answer of a broker, and probes the addresses if no broker answers.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use kc_core::backend::{AdvertisedBroker, BackendError, BackendErrorKind, ClientSettings};
use rdkafka::ClientContext;
use rdkafka::client::Client;

use crate::events::Events;

/// The time to wait for an answer before the events are checked for the first time. The time is doubled after each
/// check, because distant brokers need more time.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// Waits until a broker answers, or until it is certain that no broker will answer. The text of an error contains
/// `role`, the name of the client that connects. `serve` lets librdkafka deliver its events.
///
/// # Errors
/// Returns [`BackendErrorKind::Unreachable`] if no broker answers within `request_timeout` or no address accepts
/// connections; [`BackendErrorKind::Tls`] if only one side uses TLS or TLS fails; [`BackendErrorKind::Authentication`]
/// if a broker refuses the credentials; and another kind if an event reports another failure.
pub(crate) fn await_broker<C: ClientContext>(
    settings: &ClientSettings,
    role: &str,
    client: &Client<C>,
    events: &Events,
    serve: impl Fn(),
) -> Result<(), BackendError> {
    let context = format!("connect {role} to {}", settings.bootstrap_servers);
    let end = Instant::now() + settings.request_timeout;
    let mut wait = FIRST_WAIT;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let answer = answer(client, wait.min(left));
        serve();
        match answer {
            Some(Answer::Brokers(brokers)) => {
                events.success();
                return probe(settings, context, brokers);
            }
            Some(Answer::Only) => {
                events.success();
                let again = metadata(client, AdvertisedBroker::TIMEOUT);
                serve();
                return match (again, events.reason().as_deref().and_then(lost_broker)) {
                    (Some(brokers), _) => probe(settings, context, brokers),
                    (None, Some(failure)) => {
                        Err(AdvertisedBroker::unreachable(context, &[failure]))
                    }
                    // The first call of the client reports the failure.
                    (None, None) => Ok(()),
                };
            }
            None => {}
        }
        if let Some(failure) = events.failure(&context) {
            return Err(failure);
        }
        if events.take_all_down()
            && let Some(kind) = hopeless(settings)
        {
            return Err(unanswered(kind, context, events));
        }
        if left.is_zero() {
            return Err(unanswered(BackendErrorKind::Unreachable, context, events));
        }
        wait = wait.saturating_mul(2);
    }
}

/// Returns an error if the client can reach none of the addresses that the brokers advertise.
fn probe(
    settings: &ClientSettings,
    context: String,
    brokers: Vec<AdvertisedBroker>,
) -> Result<(), BackendError> {
    let brokers = AdvertisedBroker::to_probe(brokers, &settings.bootstrap_servers);
    let end = Instant::now() + AdvertisedBroker::TIMEOUT;
    let (report, reports) = mpsc::channel();
    let mut waiting = Vec::new();
    for broker in brokers {
        let (report, address) = (report.clone(), broker.address().to_owned());
        let number = waiting.len();
        // The thread ends by itself: resolving a name cannot be interrupted.
        let probing = move || drop(report.send((number, reach(&address, end))));
        let thread = thread::Builder::new().name("kc probe".to_owned());
        if thread.spawn(probing).is_err() {
            return Ok(());
        }
        waiting.push(Some(broker));
    }
    drop(report);
    let left = || end.saturating_duration_since(Instant::now());
    let mut failures = Vec::new();
    while let Ok((number, attempt)) = reports.recv_timeout(left()) {
        let broker = waiting.get_mut(number).and_then(Option::take);
        match (attempt, broker) {
            (Ok(()), _) => return Ok(()),
            (Err(error), Some(broker)) => failures.push((broker, error)),
            (Err(_), None) => {}
        }
    }
    let late = waiting.into_iter().flatten();
    failures.extend(late.map(|broker| (broker, io::ErrorKind::TimedOut.into())));
    if failures.is_empty() {
        return Ok(());
    }
    Err(AdvertisedBroker::unreachable(context, &failures))
}

/// Connects to `address` (`host:port`), and disconnects. Tries no further IP address after `end`.
fn reach(address: &str, end: Instant) -> io::Result<()> {
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in address.to_socket_addrs()? {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match TcpStream::connect_timeout(&address, left) {
            Ok(_) => return Ok(()),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The answer of a broker.
enum Answer {
    /// The brokers of the cluster.
    Brokers(Vec<AdvertisedBroker>),
    /// librdkafka had an answer before the request for the brokers, and may have no connection any more: after the first
    /// answer, it uses only the addresses that the brokers advertise.
    Only,
}

/// Waits until a broker answers, but at most for `wait`.
fn answer<C: ClientContext>(client: &Client<C>, wait: Duration) -> Option<Answer> {
    let brokers = metadata(client, wait).map(Answer::Brokers);
    brokers.or_else(|| {
        client
            .fetch_cluster_id(Duration::ZERO)
            .map(|_| Answer::Only)
    })
}

/// Returns the brokers that the metadata of the cluster list, or `None` if no broker answers in time.
fn metadata<C: ClientContext>(client: &Client<C>, wait: Duration) -> Option<Vec<AdvertisedBroker>> {
    let metadata = client.fetch_metadata(None, wait).ok()?;
    let brokers = metadata.brokers().iter();
    let brokers = brokers.map(|it| AdvertisedBroker::new(it.id(), it.host(), it.port()));
    Some(brokers.collect())
}

/// Returns the broker, and the cause, of a failed connection to an advertised address. librdkafka describes it as
/// `host:port/id: cause`, and a bootstrap server as `host:port/bootstrap: cause`.
fn lost_broker(reason: &str) -> Option<(AdvertisedBroker, io::Error)> {
    let (name, cause) = reason.split_once(": ")?;
    let (address, id) = name.rsplit_once('/')?;
    let address = address.rsplit('/').next().unwrap_or_default();
    let broker = AdvertisedBroker::at(id.parse().ok()?, address);
    Some((broker, io::Error::other(cause.to_owned())))
}

/// Returns the error kind if further waiting is useless after all connections failed: no address accepts connections,
/// or only one side uses TLS. Otherwise returns `None`, because a broker that is starting closes connections, too.
fn hopeless(settings: &ClientSettings) -> Option<BackendErrorKind> {
    let has_tls = settings.tls.is_some();
    match ask(&settings.bootstrap_servers) {
        Listener::Nobody => Some(BackendErrorKind::Unreachable),
        Listener::Plaintext if has_tls => Some(BackendErrorKind::Tls),
        Listener::Tls if !has_tls => Some(BackendErrorKind::Tls),
        _ => None,
    }
}

fn unanswered(kind: BackendErrorKind, context: String, events: &Events) -> BackendError {
    let error = BackendError::new(kind, context);
    match events.reason() {
        Some(reason) => error.with_source(reason),
        None => error,
    }
}

/// The maximum time to wait until an address accepts a connection. Also the maximum time to wait for each read of the
/// answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// An `ApiVersions` request, version 0, with the correlation id [`CORRELATION`] and the client id "kc".
const REQUEST: &[u8] = b"\0\0\0\x0c\0\x12\0\0\x6b\x63\x6b\x63\0\x02kc";

const CORRELATION: &[u8] = b"\x6b\x63\x6b\x63";

/// The first bytes of a TLS alert.
const ALERT: &[u8] = b"\x15\x03";

/// The protocol of the first address that answers in a known protocol.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// No address accepts connections.
    Nobody,
    /// An address answers in Kafka's protocol without TLS.
    Plaintext,
    /// An address answers with TLS.
    Tls,
    /// At least one address accepts connections, but none answers in a known protocol.
    Unknown,
}

/// Sends a request to each address of `servers` (`host:port,...`) until one of them answers in a known protocol. This
/// request is necessary because librdkafka does not report why a broker closed a connection: the broker may be
/// starting, or may expect another protocol. Blocks.
pub(crate) fn ask(servers: &str) -> Listener {
    let mut found = Listener::Nobody;
    let addresses = servers
        .split(',')
        .filter_map(|it| it.to_socket_addrs().ok());
    for address in addresses.flatten() {
        match ask_one(address) {
            Listener::Nobody => {}
            Listener::Unknown => found = Listener::Unknown,
            answer => return answer,
        }
    }
    found
}

fn ask_one(address: SocketAddr) -> Listener {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, PATIENCE) else {
        return Listener::Nobody;
    };
    let mut answer = Vec::new();
    // Ignore a failure: the bytes received before it are examined, too.
    let _ = exchange(&mut stream, &mut answer);
    if answer.starts_with(ALERT) {
        Listener::Tls
    } else if answer.ends_with(CORRELATION) {
        Listener::Plaintext
    } else {
        Listener::Unknown
    }
}

/// Sends the request and reads the first 8 bytes of the answer: its length and the correlation id.
fn exchange(stream: &mut TcpStream, answer: &mut Vec<u8>) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(REQUEST)?;
    stream.take(8).read_to_end(answer)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_broker_is_known_by_its_id_and_a_bootstrap_server_is_not() {
        let (broker, cause) = lost_broker("ssl://kafka.invalid:9092/1: Failed to resolve").unwrap();
        assert_eq!(broker, AdvertisedBroker::at(1, "kafka.invalid:9092"));
        assert_eq!(cause.to_string(), "Failed to resolve");
        for reason in [
            "127.0.0.1:9092/bootstrap: Connect failed",
            "kafka:9092/1",
            "",
        ] {
            assert!(lost_broker(reason).is_none(), "{reason}");
        }
    }

    fn answering(answer: &'static [u8]) -> Listener {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; REQUEST.len()];
            stream.read_exact(&mut request).unwrap();
            assert_eq!(request, REQUEST);
            stream.write_all(answer).unwrap();
        });
        let found = ask(&address);
        server.join().unwrap();
        found
    }

    #[test]
    fn listeners_are_told_apart() {
        assert_eq!(answering(b"\x15\x03\x03\0\x02\x02\x50"), Listener::Tls);
        assert_eq!(answering(b"\0\0\0\x1akckc\0\0"), Listener::Plaintext);
        assert_eq!(answering(b""), Listener::Unknown);
    }

    #[test]
    fn where_nobody_listens_is_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        assert_eq!(
            ask(&format!("{address},no-such-host.invalid:1")),
            Listener::Nobody
        );
    }
}
