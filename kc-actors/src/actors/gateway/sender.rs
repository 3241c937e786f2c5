use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kc_core::backend::{Backend, BackendError, BackendErrorKind, OutgoingRecord, Producer};
use tokio::sync::RwLock;
use tokio::time::{Instant, timeout, timeout_at};

use super::attempts::Attempts;
use super::closed;

/// Deadline for sending a record, including the time in which the producer connects and the time in which it waits for
/// a topic that the broker does not know yet.
const DEADLINE: Duration = Duration::from_secs(10);

/// Sends records concurrently through one producer. The first record connects the producer.
#[derive(Debug)]
pub(super) struct Sender {
    backend: Arc<dyn Backend>,
    connecting: Attempts,
    /// The number of producers created so far.
    made: AtomicU64,
    state: RwLock<State>,
}

#[derive(Debug)]
enum State {
    Unconnected,
    /// The producer with its number.
    Connected(u64, Box<dyn Producer>),
    Closed,
}

impl Sender {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            connecting: Attempts::default(),
            made: AtomicU64::new(0),
            state: RwLock::new(State::Unconnected),
        }
    }

    /// Sends a record, and waits until the broker has acknowledged it.
    pub(super) async fn send(&self, record: OutgoingRecord) -> Result<(), BackendError> {
        let late = BackendError::new(
            BackendErrorKind::Timeout,
            format!("send to {}", record.topic),
        );
        let sending = async {
            self.connected().await?;
            let (number, queued) = match &*self.state.read().await {
                State::Connected(number, producer) => (*number, producer.enqueue(record).await),
                _ => return Err(closed()),
            };
            let sent = match queued {
                Ok(queued) => queued.await.map(drop),
                Err(error) => Err(error),
            };
            match sent {
                Err(error) if error.kind() == BackendErrorKind::Closed => {
                    self.forget(number).await;
                    Err(error.retriable(true))
                }
                sent => sent,
            }
        };
        timeout(DEADLINE, sending).await.unwrap_or(Err(late))
    }

    /// Drops a producer that accepts no more records. The next record gets a new producer.
    async fn forget(&self, number: u64) {
        let mut state = self.state.write().await;
        if !matches!(*state, State::Connected(current, _) if current == number) {
            return;
        }
        if let State::Connected(_, producer) = std::mem::replace(&mut *state, State::Unconnected) {
            tracing::warn!(
                target: "kc::gateway",
                "producer was closed by the Kafka client: a new producer is created for the next record"
            );
            tokio::spawn(producer.close(Duration::ZERO));
        }
    }

    async fn connected(&self) -> Result<(), BackendError> {
        if !matches!(*self.state.read().await, State::Unconnected) {
            return Ok(());
        }
        self.connecting.share(self.connect()).await
    }

    /// Connects a producer, unless there is already one or the sender is closed. `connecting` allows only one call at a
    /// time. The state is not locked while the backend connects.
    async fn connect(&self) -> Result<(), BackendError> {
        if !matches!(*self.state.read().await, State::Unconnected) {
            return Ok(());
        }
        let producer = self.backend.producer().await?;
        let mut state = self.state.write().await;
        if matches!(*state, State::Closed) {
            return producer.close(Duration::ZERO).await;
        }
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        *state = State::Connected(number, producer);
        Ok(())
    }

    /// Sends the queued records, and disconnects no later than `end`. Refuses further records.
    pub(super) async fn close(&self, end: Instant) -> Result<(), BackendError> {
        let late = |_| {
            BackendError::new(
                BackendErrorKind::Timeout,
                "close the producer for control topics",
            )
        };
        let mut state = timeout_at(end, self.state.write()).await.map_err(late)?;
        match std::mem::replace(&mut *state, State::Closed) {
            State::Connected(_, producer) => {
                let left = end.saturating_duration_since(Instant::now());
                timeout_at(end, producer.close(left)).await.map_err(late)?
            }
            State::Unconnected | State::Closed => Ok(()),
        }
    }
}
