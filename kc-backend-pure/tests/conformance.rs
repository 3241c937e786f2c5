//! The pure backend keeps the promises of the traits, on the embedded broker.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use kc_backend_pure::PureBackend;
use kc_core::backend::{Backend, ClientSettings};

fn make(bootstrap: &str) -> Box<dyn Backend> {
    let settings = ClientSettings::parse([
        ("bootstrap_servers", bootstrap),
        ("request_timeout_ms", "4000"),
        ("max_block_ms", "2000"),
        ("delivery_timeout_ms", "5000"),
        ("heartbeat_interval_ms", "100"),
    ]);
    Box::new(PureBackend::new(settings.unwrap()).unwrap())
}

kc_testkit::backend_conformance!(make);
