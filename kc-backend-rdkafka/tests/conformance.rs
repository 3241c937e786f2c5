//! The conformance suite of backends, on the embedded broker.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use kc_backend_rdkafka::RdkafkaBackend;
use kc_core::backend::Backend;
use kc_testkit::backend::impatient;

fn make(bootstrap: &str) -> Box<dyn Backend> {
    let settings = impatient(bootstrap);
    Box::new(RdkafkaBackend::new(settings.unwrap()).unwrap())
}

kc_testkit::backend_conformance!(make);
