//! The key exchanges that the client offers in TLS.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use kc_backend_pure::PureBackend;
use kc_core::backend::{Backend, ClientSettings};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

/// The extension "supported_groups" of TLS 1.3 (RFC 8446 section 4.2.7).
const SUPPORTED_GROUPS: usize = 10;
/// The group of the hybrid key exchange with ML-KEM-768.
const X25519_MLKEM768: usize = 0x11ec;

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

/// Returns the groups in a ClientHello, in the order of preference.
fn groups(hello: &[u8]) -> Vec<usize> {
    // The record's and the message's header, the version and the random number.
    let mut rest = &hello[5 + 4 + 2 + 32..];
    // The session id, the cipher suites and the compression methods.
    for length in [1, 2, 1] {
        rest = &rest[length + number(&rest[..length])..];
    }
    let mut extensions = &rest[2..2 + number(&rest[..2])];
    while !extensions.is_empty() {
        let (kind, length) = (number(&extensions[..2]), number(&extensions[2..4]));
        if kind == SUPPORTED_GROUPS {
            return extensions[6..4 + length].chunks(2).map(number).collect();
        }
        extensions = &extensions[4 + length..];
    }
    Vec::new()
}

#[tokio::test]
async fn the_post_quantum_key_exchange_comes_first_if_it_is_built_in() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let settings = [
        ("bootstrap_servers", &*address),
        ("security_protocol", "SSL"),
    ];
    let backend = PureBackend::new(ClientSettings::parse(settings).unwrap()).unwrap();
    let connecting = tokio::spawn(async move { backend.admin().await.map(drop) });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut hello = vec![0; 5];
    stream.read_exact(&mut hello).await.unwrap();
    hello.resize(5 + number(&hello[3..]), 0);
    stream.read_exact(&mut hello[5..]).await.unwrap();
    connecting.abort();
    let offered = groups(&hello);
    let is_built_in = cfg!(feature = "post-quantum-tls");
    assert!(!offered.is_empty());
    assert_eq!(offered[0] == X25519_MLKEM768, is_built_in, "{offered:x?}");
}
