//! Waiting for the first answer of a broker.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use kc_core::backend::{BackendError, BackendErrorKind, ClientSettings};
use rdkafka::ClientContext;
use rdkafka::client::Client;

use crate::events::Events;

/// How long to wait for an answer before looking at events; then twice as long, and so on, for brokers far away.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// How early librdkafka may end a wait.
const PUNCTUALITY: Duration = Duration::from_millis(10);

/// Waits until a broker answers, or it is clear that none will. `role` is for the error; `serve` lets librdkafka
/// bring its events.
///
/// # Errors
/// `Unreachable`, `Tls`, `Authentication`, ...
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
        let answered = has_answered(client, wait.min(left));
        serve();
        if answered {
            events.success();
            return Ok(());
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

/// Whether a broker has told about the cluster; waits for that. The cluster's id ends the wait, and so does an answer
/// without one, which is all that tells it from none.
fn has_answered<C: ClientContext>(client: &Client<C>, wait: Duration) -> bool {
    // A consumer looks for a broker only once a second, unless it is asked something. This does not wait for the answer.
    let _ = client.fetch_metadata(None, Duration::ZERO);
    let start = Instant::now();
    client.fetch_cluster_id(wait).is_some() || start.elapsed() + PUNCTUALITY < wait
}

/// Why waiting does not help, now that no broker could be connected to. It does if one listens: a host may have
/// addresses that are tried later, and brokers that start hang up on their clients.
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

/// The longest wait for each address to accept and to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A request for `ApiVersions`, version 0, with the correlation id [`CORRELATION`], of the client "kc".
const REQUEST: &[u8] = b"\0\0\0\x0c\0\x12\0\0\x6b\x63\x6b\x63\0\x02kc";

const CORRELATION: &[u8] = b"\x6b\x63\x6b\x63";

/// How an alert of TLS begins.
const ALERT: &[u8] = b"\x15\x03";

/// Who listens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// Nobody accepts.
    Nobody,
    /// Somebody who speaks Kafka's protocol in plaintext.
    Plaintext,
    /// Somebody who speaks TLS.
    Tls,
    /// Somebody who says nothing, or something else.
    Unknown,
}

/// Asks the addresses, `host:port,...`, until one has an answer; blocks.
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
    // What came before it failed counts, too.
    let _ = exchange(&mut stream, &mut answer);
    if answer.starts_with(ALERT) {
        Listener::Tls
    } else if answer.ends_with(CORRELATION) {
        Listener::Plaintext
    } else {
        Listener::Unknown
    }
}

/// Reads the first 8 bytes of the answer: its length and the correlation id.
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
