//! What became of the records that were queued.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kc_core::backend::{BackendError, BackendErrorKind, Delivery};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use tokio::sync::{Notify, oneshot};

use crate::error::failed;
use crate::events::Events;

/// What librdkafka calls back to.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    pub(super) events: Events,
    state: Mutex<State>,
    /// Told whenever nothing is outstanding.
    idle: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// How many records are queued and not delivered.
    outstanding: usize,
    /// The first failure since it was last asked for, whether or not anybody awaited the record.
    failure: Option<(String, KafkaError)>,
    /// Whether topics existed when they were last looked for.
    topics: HashMap<String, bool>,
}

/// A record that is queued.
pub(super) type Queued = Box<oneshot::Sender<Result<Delivery, BackendError>>>;

impl Deliveries {
    /// A record is about to be queued.
    pub(super) fn queued(&self) {
        self.with(|state| state.outstanding += 1);
    }

    /// It was not.
    pub(super) fn not_queued(&self) {
        self.done(|_| ());
    }

    /// Waits until nothing is outstanding.
    pub(super) async fn all_done(&self) {
        loop {
            let idle = self.idle.notified();
            if self.with(|state| state.outstanding == 0) {
                return;
            }
            idle.await;
        }
    }

    /// The first failure since this was last asked.
    pub(super) fn take_failure(&self) -> Result<(), BackendError> {
        match self.with(|state| state.failure.take()) {
            Some((topic, error)) => Err(self.error(&topic, error)),
            None => Ok(()),
        }
    }

    /// Whether a topic existed when it was last looked for.
    pub(super) fn knows(&self, topic: &str) -> Option<bool> {
        self.with(|state| state.topics.get(topic).copied())
    }

    pub(super) fn learn(&self, topic: &str, exists: bool) {
        self.with(|state| state.topics.insert(topic.to_owned(), exists));
    }

    /// The error of a record that was not delivered.
    pub(super) fn error(&self, topic: &str, error: KafkaError) -> BackendError {
        let error = failed(format!("send to topic {topic}"), error);
        self.events.explain(error)
    }

    fn done(&self, note: impl FnOnce(&mut State)) {
        let is_idle = self.with(|state| {
            note(state);
            state.outstanding = state.outstanding.saturating_sub(1);
            state.outstanding == 0
        });
        if is_idle {
            self.idle.notify_waiters();
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Queued;

    fn delivery(&self, result: &DeliveryResult<'_>, queued: Queued) {
        match result {
            Ok(message) => {
                self.events.success();
                // Nobody may wait for it.
                let _ = queued.send(Ok(Delivery {
                    partition: message.partition(),
                    offset: message.offset().max(-1),
                }));
                self.done(|_| ());
            }
            Err((error, message)) => {
                let topic = message.topic();
                let told = self.error(topic, error.clone());
                let is_gone = told.kind() == BackendErrorKind::UnknownTopic;
                let _ = queued.send(Err(told));
                self.done(|state| {
                    if is_gone {
                        state.topics.remove(topic);
                    }
                    state
                        .failure
                        .get_or_insert_with(|| (topic.to_owned(), error.clone()));
                });
            }
        }
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.events.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.events.error(error, reason);
    }
}
