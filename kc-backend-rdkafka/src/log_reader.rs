//! Reads all partitions of topics, from known offsets on.

mod reading;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use kc_core::backend::{
    BackendError, BackendErrorKind, ClientSettings, Committed, LogReader, LogStart, Record,
    Watermarks, end_of,
};

use crate::positions;
use crate::worker::Worker;
use reading::{Outbox, Reading};

/// The maximum time to close a client.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct RdkafkaLogReader {
    worker: Worker<Reading>,
    outbox: Arc<Outbox>,
    group: Option<String>,
    request_timeout: Duration,
}

impl RdkafkaLogReader {
    pub(crate) async fn connect(
        settings: Arc<ClientSettings>,
        group: Option<&str>,
    ) -> Result<Self, BackendError> {
        let outbox = Arc::new(Outbox::default());
        let group = group.map(str::to_owned);
        let request_timeout = settings.request_timeout;
        let worker = Worker::start("kc log reader", {
            let (outbox, group) = (Arc::clone(&outbox), group.clone());
            move || Reading::connect(&settings, group.as_deref(), outbox)
        });
        Ok(Self {
            worker: worker.await?,
            outbox,
            group,
            request_timeout,
        })
    }

    fn group(&self) -> Result<&str, BackendError> {
        self.group.as_deref().ok_or_else(|| {
            BackendError::new(
                BackendErrorKind::Unsupported,
                "read or commit positions without a consumer group",
            )
        })
    }
}

#[async_trait]
impl LogReader for RdkafkaLogReader {
    async fn assign(&mut self, topics: &[(String, LogStart)]) -> Result<(), BackendError> {
        let deadline = self.request_timeout;
        let end = end_of(Instant::now(), deadline);
        let topics = topics.to_vec();
        let job = move |reading: &mut Reading| reading.assign(topics, end);
        self.worker.call(deadline, "assign topics", job).await?
    }

    async fn unassign(&mut self, topics: &[String]) -> Result<(), BackendError> {
        let topics = topics.to_vec();
        let job = move |reading: &mut Reading| reading.unassign(&topics);
        self.worker
            .call(self.request_timeout, "stop reading topics", job)
            .await?
    }

    async fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, BackendError> {
        // An earlier poll that was dropped may have fetched records.
        if self.outbox.is_empty() {
            let end = end_of(Instant::now(), wait);
            let poll = self
                .worker
                .poll(wait, "poll topics", move |reading, wanted| {
                    reading.poll(end, wanted)
                });
            poll.await?;
        }
        Ok(self.outbox.take())
    }

    async fn watermarks(
        &mut self,
        topic: &str,
        deadline: Duration,
    ) -> Result<Option<Vec<Watermarks>>, BackendError> {
        let context = format!("list offsets of topic {topic}");
        let end = end_of(Instant::now(), deadline);
        let topic = topic.to_owned();
        let job = move |reading: &mut Reading| reading.watermarks(&topic, end);
        self.worker.call(deadline, &context, job).await?
    }

    async fn committed(
        &mut self,
        topics: &[String],
        deadline: Duration,
    ) -> Result<Vec<Committed>, BackendError> {
        let context = format!("read the committed positions of group {}", self.group()?);
        let end = end_of(Instant::now(), deadline);
        let topics = topics.to_vec();
        let job = {
            let context = context.clone();
            move |reading: &mut Reading| {
                let partitions = reading.partitions(&topics, end)?;
                let found = positions::committed(reading.consumer(), &partitions, &context, end)
                    .map_err(|error| reading.explain(error))?;
                let found = found.into_iter();
                let found = found.map(|(at, offset)| Committed::new(at, offset));
                Ok(found.collect())
            }
        };
        self.worker.call(deadline, &context, job).await?
    }

    async fn commit(
        &mut self,
        positions: &[Committed],
        deadline: Duration,
    ) -> Result<(), BackendError> {
        let context = format!("commit positions of group {}", self.group()?);
        let end = end_of(Instant::now(), deadline);
        let positions = positions
            .iter()
            .map(|position| (position.at(), position.offset))
            .collect();
        let job = {
            let context = context.clone();
            move |reading: &mut Reading| {
                positions::commit(reading.consumer(), &positions, &context, end)
                    .map_err(|error| reading.explain(error))
            }
        };
        self.worker.call(deadline, &context, job).await?
    }

    async fn close(self: Box<Self>) {
        self.worker.end(CLOSE_TIMEOUT).await;
    }
}

impl fmt::Debug for RdkafkaLogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdkafkaLogReader")
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
