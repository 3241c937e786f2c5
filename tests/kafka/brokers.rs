//! One broker of each version, which trials share.

use std::sync::{LazyLock, Mutex, PoisonError};

use kc_testkit::kafka::{Certificates, Kafka, Listener, Version};

static V4: LazyLock<Shared> = LazyLock::new(|| Shared::start(Version::V4));
static V3_9: LazyLock<Shared> = LazyLock::new(|| Shared::start(Version::V3_9));

/// A broker with all listeners, for trials that do not change it.
pub(crate) struct Shared {
    kafka: Mutex<Option<Kafka>>,
    pub(crate) certificates: Certificates,
}

/// Returns the shared broker of a version; the first call starts it.
pub(crate) fn shared(version: Version) -> &'static Shared {
    match version {
        Version::V4 => &V4,
        Version::V3_9 => &V3_9,
    }
}

/// Stops the shared brokers that run.
pub(crate) fn stop() {
    for shared in [&V4, &V3_9] {
        if let Some(shared) = LazyLock::get(shared) {
            drop(lock(&shared.kafka).take());
        }
    }
}

impl Shared {
    fn start(version: Version) -> Self {
        let kafka = Kafka::builder(version).tls().sasl().start().unwrap();
        Self {
            certificates: kafka.certificates().clone(),
            kafka: Mutex::new(Some(kafka)),
        }
    }

    pub(crate) fn address(&self, listener: Listener) -> String {
        lock(&self.kafka).as_ref().unwrap().address(listener)
    }

    /// Returns the settings that a client needs to connect to a listener.
    pub(crate) fn settings(&self, listener: Listener) -> Vec<(&'static str, String)> {
        lock(&self.kafka)
            .as_ref()
            .unwrap()
            .client_settings(listener)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
