//! Who listens where librdkafka cannot connect. It says so only when a broker tells it, and a broker that hangs up
//! may be starting, or may be spoken to in the wrong way.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

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
