use std::time::Duration;

use kc_core::backend::{BackendError, BackendErrorKind, LogReader, LogStart};
use kc_core::text::with_sources;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::attempts::Attempts;
use super::{ControlTopic, GatewayParts};

/// Deadline for finding the start position of one topic.
const BEGIN_DEADLINE: Duration = Duration::from_secs(20);
/// Deadline for a call of the Kafka client.
const DEADLINE: Duration = Duration::from_secs(2);
/// Time to wait before the next request for a position.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// Maximum number of requests for a committed position. If all of them fail, reading begins at the start of the topic.
/// Requests are repeated because a broker answers with errors for some time after its start.
const POSITION_ATTEMPTS: usize = 4;

/// A topic that is to be read from now on.
#[derive(Debug)]
pub(super) struct NewWatch {
    pub(super) name: String,
    pub(super) topic: ControlTopic,
    /// The channel for the result; `None` if no caller waits for it.
    pub(super) done: Option<oneshot::Sender<Result<(), BackendError>>>,
}

impl NewWatch {
    /// Sends the result to the caller, if there is one. A topic whose reading has begun is read even if the caller no
    /// longer waits.
    pub(super) fn answer(self, begun: Result<(), BackendError>) {
        if let Some(done) = self.done {
            drop(done.send(begun));
        }
    }
}

/// Finds the start position of a topic. Any client may create topics, also topics that cannot be read. Therefore the
/// starter has a connection of its own: such a topic does not delay the topics that are already read.
#[derive(Debug)]
pub(super) struct Starter {
    parts: GatewayParts,
    connecting: Attempts,
    reader: Option<Box<dyn LogReader>>,
}

/// The result of a starter.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) starter: Starter,
    pub(super) watch: NewWatch,
    pub(super) start: Result<LogStart, BackendError>,
}

impl Starter {
    pub(super) fn new(parts: &GatewayParts) -> Self {
        Self {
            parts: parts.clone(),
            connecting: Attempts::default(),
            reader: None,
        }
    }

    pub(super) async fn start(mut self, watch: NewWatch) -> Started {
        let late =
            |_| BackendError::new(BackendErrorKind::Timeout, "begin to read a control topic");
        let finding = timeout(BEGIN_DEADLINE, self.find(&watch));
        let start = finding.await.map_err(late).flatten();
        Started {
            starter: self,
            watch,
            start,
        }
    }

    /// Disconnects. The next call of `start` connects again.
    pub(super) fn rest(mut self) -> Self {
        if let Some(reader) = self.reader.take() {
            tokio::spawn(reader.close());
        }
        self
    }

    async fn find(&mut self, watch: &NewWatch) -> Result<LogStart, BackendError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let connect = self.parts.backend.log_reader(Some(&self.parts.group));
                self.reader.insert(self.connecting.share(connect).await?)
            }
        };
        // A topic that cannot be read fails here, where it does not disturb the others.
        reader.watermarks(&watch.name, DEADLINE).await?;
        Ok(match watch.topic {
            // The committed position is ignored, because the lists of this node may be new, or restored from an old
            // copy.
            ControlTopic::Management(_) => LogStart::Earliest,
            ControlTopic::Side(..) => start_of(reader.as_mut(), &watch.name).await,
        })
    }
}

/// Returns the positions that the group has committed in the topic. Returns the start of the topic if the group has
/// committed no position, or if [`POSITION_ATTEMPTS`] requests for the position have failed.
async fn start_of(reader: &mut dyn LogReader, topic: &str) -> LogStart {
    for _ in 0..POSITION_ATTEMPTS {
        match reader.committed(&[topic.to_owned()], DEADLINE).await {
            Ok(committed) => {
                let positions = committed.into_iter();
                let positions = positions.map(|at| (at.partition, at.offset));
                return LogStart::Offsets(positions.collect());
            }
            Err(error) => {
                tracing::debug!(target: "kc::gateway", topic, error = %with_sources(&error), "committed position cannot be read yet");
                sleep(RETRY_DELAY).await;
            }
        }
    }
    LogStart::Earliest
}
