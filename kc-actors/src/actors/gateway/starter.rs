use std::time::Duration;

use kc_core::backend::{BackendError, BackendErrorKind, LogReader, LogStart};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::attempts::Attempts;
use super::{ControlTopic, GatewayParts};

/// How long finding the beginning of one topic may take.
const BEGIN_DEADLINE: Duration = Duration::from_secs(20);
/// How long a call may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long to wait before asking again for a position.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// How often positions are asked for before reading begins at the start: a new broker answers with errors for a while.
const POSITION_ATTEMPTS: usize = 4;

/// A topic to read from now on.
#[derive(Debug)]
pub(super) struct NewWatch {
    pub(super) name: String,
    pub(super) topic: ControlTopic,
    /// Resolves when reading has begun; `None` if the gateway itself wants the topic.
    pub(super) done: Option<oneshot::Sender<Result<(), BackendError>>>,
}

impl NewWatch {
    /// Answers the caller, which may have gone; the topic is read all the same.
    pub(super) fn answer(self, begun: Result<(), BackendError>) {
        if let Some(done) = self.done {
            drop(done.send(begun));
        }
    }
}

/// Finds where reading begins, on a connection of its own: topics that are read already do not wait for one that any
/// client may have created.
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
        let late = |_| BackendError::new(BackendErrorKind::Timeout, "begin to read");
        let finding = timeout(BEGIN_DEADLINE, self.find(&watch));
        let start = finding.await.map_err(late).flatten();
        Started {
            starter: self,
            watch,
            start,
        }
    }

    /// Disconnects, because no topic is to begin.
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
        // One that cannot be read fails here, and not where others are read.
        reader.watermarks(&watch.name, DEADLINE).await?;
        Ok(match watch.topic {
            // Whatever position was committed: the lists of this node may be older, or new.
            ControlTopic::Management(_) => LogStart::Earliest,
            ControlTopic::Side(..) => start_of(reader.as_mut(), &watch.name).await,
        })
    }
}

/// Returns where the group stopped: the first record, if it never read the topic or the broker does not answer.
async fn start_of(reader: &mut dyn LogReader, topic: &str) -> LogStart {
    for _ in 0..POSITION_ATTEMPTS {
        match reader.committed(&[topic.to_owned()], DEADLINE).await {
            Ok(committed) => {
                let position = committed.first().map(|position| position.offset);
                return position.map_or(LogStart::Earliest, LogStart::Offset);
            }
            Err(error) => {
                tracing::debug!(target: "kc::gateway", topic, %error, "no position yet");
                sleep(RETRY_DELAY).await;
            }
        }
    }
    LogStart::Earliest
}
