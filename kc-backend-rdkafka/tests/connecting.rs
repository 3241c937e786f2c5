//! Brokers that are missing or expect another protocol, and settings that librdkafka does not accept.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kc_backend_rdkafka::RdkafkaBackend;
use kc_broker::Broker;
use kc_core::backend::{
    Backend, BackendError, BackendErrorKind, ClientSettings, GroupStart, OutgoingRecord,
    Subscription,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A TLS alert, "internal error".
const ALERT: &[u8] = b"\x15\x03\x03\0\x02\x02\x50";

fn settings(servers: &str, more: &[(&str, &str)]) -> ClientSettings {
    let mut settings = vec![
        ("bootstrap_servers", servers),
        ("request_timeout_ms", "1000"),
        ("delivery_timeout_ms", "2000"),
        ("max_block_ms", "2000"),
        ("linger_ms", "0"),
    ];
    settings.extend(more);
    ClientSettings::parse(settings).unwrap()
}

fn backend(servers: &str, more: &[(&str, &str)]) -> RdkafkaBackend {
    RdkafkaBackend::new(settings(servers, more)).unwrap()
}

fn refused(more: &[(&str, &str)]) -> BackendError {
    RdkafkaBackend::new(settings("127.0.0.1:1", more)).unwrap_err()
}

/// Starts a server that accepts connections, sends `words` and closes them.
async fn saying(words: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 64];
                let _ = stream.readable().await;
                let _ = stream.try_read(&mut request);
                let _ = stream.write_all(words).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_never_answers_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let start = Instant::now();
    let error = backend(&address, &[]).admin().await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Unreachable);
    assert!(error.to_string().contains(&address), "{error}");
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn one_that_hangs_up_may_yet_start() {
    let address = saying(b"").await;
    let error = backend(&address, &[]).producer().await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Unreachable);
    assert!(error.is_retriable());
}

#[tokio::test]
async fn plaintext_to_a_server_with_tls_is_told_as_such() {
    let address = saying(ALERT).await;
    let start = Instant::now();
    let error = backend(
        &address,
        &[
            ("request_timeout_ms", "10000"),
            ("delivery_timeout_ms", "20000"),
        ],
    )
    .log_reader(None)
    .await
    .unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Tls, "{error:?}");
    assert!(!error.is_retriable());
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_value_that_librdkafka_does_not_take_is_named() {
    for (name, value) in [
        ("broker.address.family", "v5"),
        ("socket.max.fails", "-1"),
        ("fetch_max_bytes", "2147483647"),
        ("max_request_size", "10"),
    ] {
        let error = refused(&[(name, value)]);
        assert_eq!(error.kind(), BackendErrorKind::Configuration);
        assert!(error.to_string().contains(&format!("`{name}`")), "{error}");
    }
}

#[tokio::test]
async fn values_that_contradict_each_other_are_told() {
    let backend = backend("127.0.0.1:1", &[("max_poll_interval_ms", "10000")]);
    let topics = Subscription::to(["t"]);
    let joined = backend
        .group_consumer("g", &topics, GroupStart::Latest)
        .await;
    let error = joined.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Configuration);
    assert!(
        error.to_string().contains("max.poll.interval.ms"),
        "{error}"
    );
}

#[test]
fn zstd_is_not_built_in() {
    let error = refused(&[("compression_type", "zstd")]);
    assert_eq!(error.kind(), BackendErrorKind::Unsupported);
    assert!(error.to_string().contains("zstd"), "{error}");
}

#[cfg(not(feature = "ssl"))]
#[test]
fn what_needs_openssl_names_the_feature() {
    let scram = [
        ("security_protocol", "SASL_PLAINTEXT"),
        ("sasl_mechanism", "SCRAM-SHA-256"),
        ("sasl_plain_username", "alice"),
        ("sasl_plain_password", "hush"),
    ];
    for refused in [refused(&[("security_protocol", "SSL")]), refused(&scram)] {
        assert_eq!(refused.kind(), BackendErrorKind::Unsupported);
        let text = refused.to_string();
        assert!(text.ends_with(": not supported"), "{text}");
        let advice = refused.advice().unwrap();
        assert!(advice.contains("feature `rdkafka-ssl`"), "{advice}");
    }
}

#[cfg(feature = "ssl")]
mod with_openssl {
    use super::*;

    const SSL: (&str, &str) = ("security_protocol", "SSL");

    #[tokio::test]
    async fn tls_to_a_server_without_it_is_told_as_such() {
        let broker = Broker::builder().start().await.unwrap();
        let address = broker.address().to_string();
        let error = backend(&address, &[SSL]).admin().await.unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Tls, "{error:?}");
        assert!(!error.is_retriable());
        broker.shutdown().await;
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_named() {
        for more in [
            &[SSL, ("ssl_cafile", "/nowhere/ca.pem")][..],
            &[
                SSL,
                ("ssl_certfile", "/nowhere/c.pem"),
                ("ssl_keyfile", "/nowhere/k.pem"),
            ],
        ] {
            let error = backend("127.0.0.1:1", more).producer().await.unwrap_err();
            assert_eq!(error.kind(), BackendErrorKind::Configuration);
            let (name, path) = more[1];
            let text = error.to_string();
            assert!(
                text.contains(&format!("`{name}`")) && text.contains(path),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn a_file_without_certificates_is_named() {
        let more = [
            SSL,
            (
                "ssl_cafile",
                concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
            ),
        ];
        let error = backend("127.0.0.1:1", &more)
            .log_reader(None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), BackendErrorKind::Configuration);
        assert!(error.to_string().contains("Cargo.toml"), "{error}");
    }
}

/// A server that forwards connections to a broker, and its answers until it is silenced.
struct Proxy {
    address: String,
    is_silent: Arc<AtomicBool>,
}

impl Proxy {
    async fn start(broker: &Broker) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        broker.faults().advertise("127.0.0.1", address.port());
        let broker = broker.address();
        let is_silent = Arc::new(AtomicBool::new(false));
        let silenced = Arc::clone(&is_silent);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut requests, mut answers) = client.into_split();
                let (mut from, mut to) = TcpStream::connect(broker).await.unwrap().into_split();
                tokio::spawn(async move { tokio::io::copy(&mut requests, &mut to).await });
                let silenced = Arc::clone(&silenced);
                tokio::spawn(async move {
                    let mut answer = vec![0; 65_536];
                    while let Ok(read @ 1..) = from.read(&mut answer).await {
                        let answer = answer.get(..read).unwrap();
                        if !silenced.load(Ordering::Relaxed)
                            && answers.write_all(answer).await.is_err()
                        {
                            break;
                        }
                    }
                });
            }
        });
        let address = address.to_string();
        Self { address, is_silent }
    }
}

#[tokio::test]
async fn a_missing_topic_is_named_though_the_last_lookup_times_out() {
    let broker = Broker::builder().start().await.unwrap();
    let proxy = Proxy::start(&broker).await;
    let backend = backend(&proxy.address, &[]);
    let producer = backend.producer().await.unwrap();
    for is_silent in [false, true] {
        proxy.is_silent.store(is_silent, Ordering::Relaxed);
        let record = OutgoingRecord {
            topic: "missing".to_owned(),
            ..OutgoingRecord::default()
        };
        let error = producer.enqueue(record).await.err().unwrap();
        assert_eq!(error.kind(), BackendErrorKind::UnknownTopic, "{error}");
    }
}
