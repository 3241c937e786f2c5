//! The tested backends, and the brokers that each one supports.

use std::sync::Arc;

use kc::backend_pure::{LegacyBackend, PureBackend};
use kc::backend_rdkafka::RdkafkaBackend;
use kc::core::backend::Backend;
use kc::{BackendChoice, BackendError, ClientSettings};
use kc_testkit::kafka::Version;

/// Each backend with each version that it supports.
pub(crate) const ALL: [(BackendChoice, Version); 5] = [
    (BackendChoice::Pure, Version::V4),
    (BackendChoice::Pure, Version::V3_9),
    (BackendChoice::Rdkafka, Version::V4),
    (BackendChoice::Rdkafka, Version::V3_9),
    (BackendChoice::Legacy, Version::V3_9),
];

/// The backends with all features.
pub(crate) const FULL: [BackendChoice; 2] = [BackendChoice::Pure, BackendChoice::Rdkafka];

pub(crate) fn backend<'s>(
    choice: BackendChoice,
    settings: impl IntoIterator<Item = (&'s str, &'s str)>,
) -> Result<Arc<dyn Backend>, BackendError> {
    choice.backend(ClientSettings::parse(settings)?)
}

/// Returns a backend for the conformance suite, which gives up within seconds.
pub(crate) fn impatient(choice: BackendChoice, bootstrap: &str) -> Box<dyn Backend> {
    let settings = ClientSettings::parse([
        ("bootstrap_servers", bootstrap),
        ("request_timeout_ms", "10000"),
        ("max_block_ms", "4000"),
        ("delivery_timeout_ms", "11000"),
        ("heartbeat_interval_ms", "100"),
        ("metadata_max_age_ms", "2000"),
    ])
    .unwrap();
    match choice {
        BackendChoice::Pure => Box::new(PureBackend::new(settings).unwrap()),
        BackendChoice::Rdkafka => Box::new(RdkafkaBackend::new(settings).unwrap()),
        BackendChoice::Legacy => Box::new(LegacyBackend::new(settings).unwrap()),
        other => panic!("no such backend: {other}"),
    }
}
