use std::sync::Arc;

use async_trait::async_trait;
use kc_core::backend::{
    Admin, Backend, BackendError, Capabilities, GroupConsumer, GroupStart, LogReader, Producer,
    Subscription,
};

/// Sends, and manages topics, by one backend, and reads by another: in a node's configuration producers
/// and consumers have settings of their own.
#[derive(Debug)]
pub(crate) struct ByRole {
    pub(crate) sending: Arc<dyn Backend>,
    pub(crate) reading: Arc<dyn Backend>,
}

#[async_trait]
impl Backend for ByRole {
    fn name(&self) -> &'static str {
        self.sending.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.sending.capabilities()
    }

    async fn admin(&self) -> Result<Box<dyn Admin>, BackendError> {
        self.sending.admin().await
    }

    async fn producer(&self) -> Result<Box<dyn Producer>, BackendError> {
        self.sending.producer().await
    }

    async fn log_reader(&self, group: Option<&str>) -> Result<Box<dyn LogReader>, BackendError> {
        self.reading.log_reader(group).await
    }

    async fn group_consumer(
        &self,
        group: &str,
        topics: &Subscription,
        start: GroupStart,
    ) -> Result<Box<dyn GroupConsumer>, BackendError> {
        self.reading.group_consumer(group, topics, start).await
    }
}
