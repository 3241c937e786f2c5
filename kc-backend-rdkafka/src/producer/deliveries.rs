//! Tracks queued records until librdkafka reports their delivery or failure.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use kc_core::backend::{BackendError, BackendErrorKind, Delivery, ProgressCounter};
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use tokio::sync::{Notify, oneshot};

use crate::error::failed;
use crate::events::{Events, guarded};

/// The receiver of librdkafka's callbacks for a producer.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    pub(super) events: Events,
    pub(super) counter: ProgressCounter,
    state: Mutex<State>,
    /// Notified each time that the last outstanding record of a span ([`State::span`]) is delivered or fails.
    settled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The number of flushes so far. This number identifies the current span. A span is the time from one flush to the
    /// next.
    span: u64,
    /// The number of records of each span that were queued, and that were neither delivered nor have failed yet. Spans
    /// without such records are not in the map.
    outstanding: BTreeMap<u64, usize>,
    /// The first failure to deliver a record since the last flush. It is kept even if the caller does not wait for the
    /// delivery of that record.
    failure: Option<(String, KafkaError)>,
    /// The topics that were looked up, each with `true` if the topic existed, or `false` if it did not exist.
    topics: HashMap<String, bool>,
}

/// A record that is queued.
#[derive(Debug)]
pub(super) struct Queued {
    span: u64,
    deliver: oneshot::Sender<Result<Delivery, BackendError>>,
}

impl Queued {
    pub(super) fn new(deliver: oneshot::Sender<Result<Delivery, BackendError>>) -> Self {
        Self { span: 0, deliver }
    }
}

impl Deliveries {
    /// Counts a record that is about to be queued.
    pub(super) fn queued(&self, queued: &mut Queued) {
        self.counter.queued();
        self.with(|state| {
            queued.span = state.span;
            *state.outstanding.entry(state.span).or_default() += 1;
        });
    }

    /// Stops counting a record that was counted by [`queued`](Self::queued), but could not be queued.
    pub(super) fn not_queued(&self, queued: &Queued) {
        self.counter.failed();
        self.done(queued.span, |_| ());
    }

    /// Waits until all records queued before this call are delivered, or their delivery has failed. Does not wait for
    /// records that are queued later. Cancel safe.
    pub(super) async fn all_done(&self) {
        let last = self.with(|state| {
            state.span += 1;
            state.span - 1
        });
        loop {
            let settled = self.settled.notified();
            if self.with(|state| state.outstanding.range(..=last).next().is_none()) {
                return;
            }
            settled.await;
        }
    }

    /// Returns the first failure to deliver a record since the last call.
    pub(super) fn take_failure(&self) -> Result<(), BackendError> {
        match self.with(|state| state.failure.take()) {
            Some((topic, error)) => Err(self.error(&topic, error)),
            None => Ok(()),
        }
    }

    /// Returns whether a topic existed at the last lookup. Returns `None` if the topic was not looked up yet, or not
    /// since a delivery failed because the topic did not exist.
    pub(super) fn knows(&self, topic: &str) -> Option<bool> {
        self.with(|state| state.topics.get(topic).copied())
    }

    pub(super) fn learn(&self, topic: &str, exists: bool) {
        self.with(|state| state.topics.insert(topic.to_owned(), exists));
    }

    /// Returns the error of a record that was not delivered.
    pub(super) fn error(&self, topic: &str, error: KafkaError) -> BackendError {
        let error = failed(format!("send to topic {topic}"), error);
        self.events.explain(error)
    }

    fn done(&self, span: u64, note: impl FnOnce(&mut State)) {
        let is_settled = self.with(|state| {
            note(state);
            let Entry::Occupied(mut outstanding) = state.outstanding.entry(span) else {
                return false;
            };
            *outstanding.get_mut() -= 1;
            let is_settled = *outstanding.get() == 0;
            if is_settled {
                outstanding.remove();
            }
            is_settled
        });
        if is_settled {
            self.settled.notify_waiters();
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Queued>;

    fn delivery(&self, result: &DeliveryResult<'_>, queued: Box<Queued>) {
        guarded("delivery", || self.delivered(result, *queued));
    }
}

impl Deliveries {
    fn delivered(&self, result: &DeliveryResult<'_>, Queued { span, deliver }: Queued) {
        match result {
            Ok(message) => {
                self.events.success();
                self.counter.acknowledged();
                // The caller may have dropped the delivery.
                let _ = deliver.send(Ok(Delivery {
                    partition: message.partition(),
                    offset: message.offset().max(-1),
                }));
                self.done(span, |_| ());
            }
            Err((error, message)) => {
                self.counter.failed();
                let topic = message.topic();
                let told = self.error(topic, error.clone());
                let is_gone = told.kind() == BackendErrorKind::UnknownTopic;
                let _ = deliver.send(Err(told));
                self.done(span, |state| {
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
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(
        &self,
        path: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.events.generate_oauth_token(path)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.events.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.events.error(error, reason);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flush_waits_for_what_was_queued_before_and_for_nothing_else() {
        let deliveries = Deliveries::default();
        let queue = || {
            let mut queued = Queued::new(oneshot::channel().0);
            deliveries.queued(&mut queued);
            queued
        };
        let first = queue();
        let deliver = |queued: &Queued| deliveries.done(queued.span, |_| ());
        let steady = async {
            let mut last = first;
            // Something is outstanding at any time.
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                let next = queue();
                deliver(&last);
                last = next;
            }
        };
        let flushed = tokio::time::timeout(Duration::from_secs(1), deliveries.all_done());
        tokio::select! {
            flushed = flushed => flushed.unwrap(),
            () = steady => {}
        }
        // Records queued after the first flush are outstanding.
        let second = deliveries.all_done();
        assert!(
            tokio::time::timeout(Duration::from_secs(1), second)
                .await
                .is_err()
        );
    }
}
