use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use kc::core::backend::{
    Admin, Backend, BackendError, Capabilities, DeliveryFuture, GroupConsumer, GroupStart,
    LogReader, OutgoingRecord, Producer, Subscription,
};

/// A backend that counts the records sent by another backend.
#[derive(Debug)]
pub(crate) struct Counting<B> {
    pub(crate) inner: B,
    pub(crate) sent: Arc<AtomicU64>,
}

#[async_trait]
impl<B: Backend> Backend for Counting<Arc<B>> {
    fn name(&self) -> &'static str {
        "counting"
    }
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    async fn admin(&self) -> Result<Box<dyn Admin>, BackendError> {
        self.inner.admin().await
    }
    async fn producer(&self) -> Result<Box<dyn Producer>, BackendError> {
        let (inner, sent) = (self.inner.producer().await?, Arc::clone(&self.sent));
        Ok(Box::new(Counting { inner, sent }))
    }
    async fn log_reader(&self, group: Option<&str>) -> Result<Box<dyn LogReader>, BackendError> {
        self.inner.log_reader(group).await
    }
    async fn group_consumer(
        &self,
        group: &str,
        topics: &Subscription,
        start: GroupStart,
    ) -> Result<Box<dyn GroupConsumer>, BackendError> {
        self.inner.group_consumer(group, topics, start).await
    }
}

#[async_trait]
impl Producer for Counting<Box<dyn Producer>> {
    async fn enqueue(&self, record: OutgoingRecord) -> Result<DeliveryFuture, BackendError> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.inner.enqueue(record).await
    }
    async fn flush(&self, deadline: Duration) -> Result<(), BackendError> {
        self.inner.flush(deadline).await
    }
    async fn close(self: Box<Self>, deadline: Duration) -> Result<(), BackendError> {
        self.inner.close(deadline).await
    }
}
