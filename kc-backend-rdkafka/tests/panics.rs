//! A panic in a callback of librdkafka must not reach C code: it would end the process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::sync::atomic::{AtomicUsize, Ordering};

use kc_backend_rdkafka::RdkafkaBackend;
use kc_core::backend::{Backend, BackendErrorKind, ClientSettings};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Panics when a message of librdkafka is logged.
struct Panicking;

impl Subscriber for Panicking {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "librdkafka"
    }

    fn event(&self, _: &Event<'_>) {
        PANICS.fetch_add(1, Ordering::Relaxed);
        panic!("of a subscriber");
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_subscriber_that_panics_ends_no_process() {
    tracing::subscriber::set_global_default(Panicking).unwrap();
    // No broker listens on this port.
    let settings = ClientSettings::parse([("bootstrap_servers", "127.0.0.1:1")]).unwrap();
    let backend = RdkafkaBackend::new(settings).unwrap();
    let error = backend.admin().await.unwrap_err();
    assert_eq!(error.kind(), BackendErrorKind::Unreachable);
    assert!(PANICS.load(Ordering::Relaxed) > 0);
}
