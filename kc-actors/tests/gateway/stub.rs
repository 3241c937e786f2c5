//! A Kafka client without a broker, whose calls fail as a test chooses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use kc_core::backend::{
    Admin, Backend, BackendError, BackendErrorKind, Capabilities, Committed, Delivery,
    DeliveryFuture, GroupConsumer, GroupStart, LogReader, LogStart, OutgoingRecord, Producer,
    Record, Subscription, TopicSpec, Watermarks,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// The fault of a call: the kind of the error, and the time before it.
type Fault = (BackendErrorKind, Duration);

/// A Kafka client that records its calls. The names of calls are `admin`, `producer` and `log reader` for connecting;
/// `create t.keys`, `send t.keys`, `watermarks t.keys`, `assign t.keys`, `unassign t.keys`, `poll` and `list`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stub(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    faults: Mutex<HashMap<String, Fault>>,
    calls: Mutex<Vec<(Instant, String)>>,
    topics: Mutex<Vec<String>>,
    called: Notify,
}

impl Stub {
    /// Makes a call fail from now on.
    pub(crate) fn fail(&self, call: &str, kind: BackendErrorKind, after: Duration) {
        let mut faults = self.0.faults.lock().unwrap();
        faults.insert(call.to_owned(), (kind, after));
    }

    /// Makes a call work from now on.
    pub(crate) fn mend(&self, call: &str) {
        self.0.faults.lock().unwrap().remove(call);
    }

    /// Makes these topics exist from now on.
    pub(crate) fn list(&self, topics: &[&str]) {
        let topics = topics.iter().map(|&topic| topic.to_owned());
        *self.0.topics.lock().unwrap() = topics.collect();
    }

    /// Returns the times at which a call was made.
    pub(crate) fn times(&self, call: &str) -> Vec<Instant> {
        let calls = self.0.calls.lock().unwrap();
        let of_call = calls.iter().filter(|(_, name)| name == call);
        of_call.map(|(time, _)| *time).collect()
    }

    /// Waits until a call was made this number of times.
    pub(crate) async fn called(&self, call: &str, times: usize) {
        while self.times(call).len() < times {
            self.0.called.notified().await;
        }
    }

    async fn call(&self, call: String) -> Result<(), BackendError> {
        self.0
            .calls
            .lock()
            .unwrap()
            .push((Instant::now(), call.clone()));
        self.0.called.notify_one();
        let fault = self.0.faults.lock().unwrap().get(&call).copied();
        let Some((kind, after)) = fault else {
            return Ok(());
        };
        if !after.is_zero() {
            sleep(after).await;
        }
        Err(BackendError::new(kind, call))
    }
}

#[async_trait]
impl Backend for Stub {
    fn name(&self) -> &'static str {
        "stub"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }

    async fn admin(&self) -> Result<Box<dyn Admin>, BackendError> {
        self.call("admin".to_owned()).await?;
        Ok(Box::new(self.clone()))
    }

    async fn producer(&self) -> Result<Box<dyn Producer>, BackendError> {
        self.call("producer".to_owned()).await?;
        Ok(Box::new(self.clone()))
    }

    async fn log_reader(&self, _: Option<&str>) -> Result<Box<dyn LogReader>, BackendError> {
        self.call("log reader".to_owned()).await?;
        Ok(Box::new(self.clone()))
    }

    async fn group_consumer(
        &self,
        _: &str,
        _: &Subscription,
        _: GroupStart,
    ) -> Result<Box<dyn GroupConsumer>, BackendError> {
        Err(BackendError::new(BackendErrorKind::Unsupported, "group"))
    }
}

#[async_trait]
impl Admin for Stub {
    async fn partitions(
        &self,
        _: &str,
        _: bool,
        _: Duration,
    ) -> Result<Option<usize>, BackendError> {
        Ok(Some(1))
    }

    async fn topics(&self, _: Duration) -> Result<Vec<String>, BackendError> {
        self.call("list".to_owned()).await?;
        Ok(self.0.topics.lock().unwrap().clone())
    }

    async fn create_topic(&self, spec: &TopicSpec, _: Duration) -> Result<(), BackendError> {
        self.call(format!("create {}", spec.name)).await
    }

    async fn close(self: Box<Self>) {}
}

#[async_trait]
impl Producer for Stub {
    async fn enqueue(&self, record: OutgoingRecord) -> Result<DeliveryFuture, BackendError> {
        self.call(format!("send {}", record.topic)).await?;
        let (partition, offset) = (0, 0);
        Ok(Box::pin(async move { Ok(Delivery { partition, offset }) }))
    }

    async fn flush(&self, _: Duration) -> Result<(), BackendError> {
        Ok(())
    }

    async fn close(self: Box<Self>, _: Duration) -> Result<(), BackendError> {
        Ok(())
    }
}

#[async_trait]
impl LogReader for Stub {
    async fn assign(&mut self, topics: &[(String, LogStart)]) -> Result<(), BackendError> {
        for (topic, _) in topics {
            self.call(format!("assign {topic}")).await?;
        }
        Ok(())
    }

    async fn unassign(&mut self, topics: &[String]) -> Result<(), BackendError> {
        for topic in topics {
            self.call(format!("unassign {topic}")).await?;
        }
        Ok(())
    }

    async fn poll(&mut self, wait: Duration) -> Result<Vec<Record>, BackendError> {
        self.call("poll".to_owned()).await?;
        sleep(wait).await;
        Ok(Vec::new())
    }

    async fn watermarks(
        &mut self,
        topic: &str,
        _: Duration,
    ) -> Result<Option<Vec<Watermarks>>, BackendError> {
        self.call(format!("watermarks {topic}")).await?;
        Ok(None)
    }

    async fn committed(
        &mut self,
        _: &[String],
        _: Duration,
    ) -> Result<Vec<Committed>, BackendError> {
        Ok(Vec::new())
    }

    async fn commit(&mut self, _: &[Committed], _: Duration) -> Result<(), BackendError> {
        Ok(())
    }

    async fn close(self: Box<Self>) {}
}
