use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;

use kc_actors::{Clients, Consumer, ConsumerOptions, ForeignPolicy, Producer, ProducerOptions};
use kc_core::backend::{Backend, GroupStart, Subscription};
use kc_core::types::ManagementTopics;

use crate::error::Error;

/// Connects a producer: [`Node::producer`](crate::Node::producer). Await it.
#[derive(Clone, Debug)]
#[must_use = "a producer is connected when this is awaited"]
pub struct ProducerBuilder {
    clients: Clients,
    backend: Arc<dyn Backend>,
    options: ProducerOptions,
}

/// Joins a consumer group: [`Node::consumer`](crate::Node::consumer).
#[derive(Clone, Debug)]
#[must_use = "a group is joined by `join`"]
pub struct ConsumerBuilder {
    clients: Clients,
    backend: Arc<dyn Backend>,
    topics: Vec<String>,
    management: Option<ManagementTopics>,
    group: String,
    start: GroupStart,
    policy: ForeignPolicy,
    plain: bool,
    plain_keys: bool,
    no_commit: bool,
}

impl ProducerBuilder {
    pub(crate) fn new(clients: Clients, backend: Arc<dyn Backend>) -> Self {
        Self {
            clients,
            backend,
            options: ProducerOptions::default(),
        }
    }

    /// Seals nothing: brokers see keys and values. The settings are the same.
    pub fn plain(mut self) -> Self {
        self.options.plain = true;
        self
    }

    /// Leaves Kafka keys as they are, for brokers to see: a compacted topic needs it, because no two sealed keys are
    /// equal. Consumers must [know it](ConsumerBuilder::plain_keys), too.
    pub fn plain_keys(mut self) -> Self {
        self.options.plain_keys = true;
        self
    }
}

impl IntoFuture for ProducerBuilder {
    type Output = Result<Producer, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Connects. Cancel safe: dropping the future leaves nothing behind.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let backend = self.backend.as_ref();
            Ok(self.clients.producer(backend, self.options).await?)
        })
    }
}

impl ConsumerBuilder {
    pub(crate) fn new(clients: Clients, backend: Arc<dyn Backend>, topics: Vec<String>) -> Self {
        Self {
            clients,
            backend,
            topics,
            management: None,
            group: String::new(),
            start: GroupStart::Latest,
            policy: ForeignPolicy::default(),
            plain: false,
            plain_keys: false,
            no_commit: false,
        }
    }

    /// Names the consumer group. The default is `group_id` in the node's configuration, or the node's id.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// Starts at the first record, if the group has no committed position. The default is to start at the end, unless
    /// the node's configuration says `auto_offset_reset : earliest`.
    pub fn from_beginning(self) -> Self {
        self.starting_at(GroupStart::Earliest)
    }

    /// Starts at the end, if the group has no committed position, whatever the node's configuration says. Topics that
    /// appear later start at their first record.
    pub fn from_end(self) -> Self {
        self.starting_at(GroupStart::Latest)
    }

    /// Sets what to do with records that are not sealed, or that no key opens. The default is to end with an error.
    pub fn foreign(mut self, policy: ForeignPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Opens nothing: keys and values are as the broker holds them. The settings are the same.
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Takes Kafka keys as they are: for topics whose producers [leave them so](ProducerBuilder::plain_keys).
    pub fn plain_keys(mut self) -> Self {
        self.plain_keys = true;
        self
    }

    /// Commits nothing, so that records need not be acknowledged: the group's positions stay where they are.
    pub fn no_commit(mut self) -> Self {
        self.no_commit = true;
        self
    }

    pub(crate) fn starting_at(mut self, start: GroupStart) -> Self {
        self.start = start;
        self
    }

    pub(crate) fn except(mut self, management: ManagementTopics) -> Self {
        self.management = Some(management);
        self
    }

    /// Joins the group.
    ///
    /// Cancel safe: if the future is dropped, the group is left in the background.
    ///
    /// # Errors
    /// [`Error`]. A topic that does not exist yet is none: its records come once it does.
    pub async fn join(self) -> Result<Consumer, Error> {
        let mut topics = Subscription::parse(self.topics)?;
        if let Some(management) = self.management {
            topics = topics.except(move |topic| management.names().contains(&topic));
        }
        let options = ConsumerOptions {
            group: self.group,
            topics,
            start: self.start,
            policy: self.policy,
            plain_keys: self.plain_keys,
            plain: self.plain,
            no_commit: self.no_commit,
        };
        Ok(self.clients.consumer(self.backend, options).await?)
    }
}
