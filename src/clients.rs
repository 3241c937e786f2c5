use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::num::NonZero;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use kc_actors::{
    Assignment, Clients, Consumer, ConsumerOptions, Policy, Producer, ProducerOptions, Reason,
    Undecryptable, UndecryptableError,
};
use kc_core::backend::{Backend, GroupStart, Subscription, TopicPartition};
use kc_core::types::ManagementTopics;

use crate::error::Error;

/// A builder of a producer, returned by [`Node::producer`](crate::Node::producer). Awaiting the builder connects the
/// producer.
#[derive(Clone, Debug)]
#[must_use = "a producer is connected when this is awaited"]
pub struct ProducerBuilder {
    clients: Clients,
    backend: Arc<dyn Backend>,
    options: ProducerOptions,
}

/// A builder of a consumer, returned by [`Node::consumer`](crate::Node::consumer). [`join`](Self::join) joins the
/// consumer group.
#[derive(Clone, Debug)]
#[must_use = "a group is joined by `join`"]
pub struct ConsumerBuilder {
    clients: Clients,
    backend: Arc<dyn Backend>,
    topics: Vec<String>,
    management: Option<ManagementTopics>,
    group: String,
    start: GroupStart,
    undecryptable: Undecryptable,
    plain: bool,
    plain_keys: bool,
    no_commit: bool,
    assignment: Option<Assignment>,
    skip_until: BTreeMap<TopicPartition, i64>,
    threads: Option<NonZero<usize>>,
}

impl ProducerBuilder {
    pub(crate) fn new(
        clients: Clients,
        backend: Arc<dyn Backend>,
        metadata_max_age: Duration,
    ) -> Self {
        Self {
            clients,
            backend,
            options: ProducerOptions {
                metadata_max_age,
                ..ProducerOptions::default()
            },
        }
    }

    /// Makes the producer send keys and values unsealed, so that brokers see both. All other settings stay the same.
    pub fn plain(mut self) -> Self {
        self.options.plain = true;
        self
    }

    /// Leaves Kafka keys unsealed, so that brokers see them. A compacted topic needs this, because sealing equal keys
    /// gives different bytes. Consumers must use [`ConsumerBuilder::plain_keys`], too.
    pub fn plain_keys(mut self) -> Self {
        self.options.plain_keys = true;
        self
    }
}

impl IntoFuture for ProducerBuilder {
    type Output = Result<Producer, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Connects the producer. Cancel safe: if the future is dropped, no client stays connected.
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
            assignment: None,
            undecryptable: Undecryptable::default(),
            plain: false,
            plain_keys: false,
            no_commit: false,
            skip_until: BTreeMap::new(),
            threads: None,
        }
    }

    /// Sets the consumer group. The default is `group_id` in the configuration of the node, or else the id of the
    /// node.
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// Starts at the first record if the group has no committed position. By default the group starts at the end,
    /// unless the configuration of the node has `auto_offset_reset : earliest`.
    pub fn from_beginning(self) -> Self {
        self.starting_at(GroupStart::Earliest)
    }

    /// Starts at the end if the group has no committed position, even if the configuration of the node has
    /// `auto_offset_reset : earliest`. Topics that are created later start at their first record.
    pub fn from_end(self) -> Self {
        self.starting_at(GroupStart::Latest)
    }

    /// Sets the treatment of records that cannot be opened for this reason. The default is the setting
    /// `undecryptable` of the node, or else [`Policy::Hold`] while the data key may still arrive, and [`Policy::Fail`]
    /// otherwise. [`Reason::ALL`] has all reasons.
    pub fn undecryptable(mut self, reason: Reason, policy: Policy) -> Self {
        self.undecryptable = self.undecryptable.with(reason, policy);
        self
    }

    /// Sets policies in their text form, as in the setting `undecryptable`: see [`Undecryptable`]. Reasons that the text
    /// does not name keep their policies.
    ///
    /// # Errors
    /// Returns [`UndecryptableError`] if a reason or a policy is unknown.
    pub fn undecryptable_as(mut self, text: &str) -> Result<Self, UndecryptableError> {
        self.undecryptable = self.undecryptable.with_text(text)?;
        Ok(self)
    }

    /// Sets the time that a record waits for its data key before the policy for its reason applies. The default is the
    /// setting `patience` of the node, or else 30 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.undecryptable = self.undecryptable.with_patience(patience);
        self
    }

    pub(crate) fn treating(mut self, undecryptable: Undecryptable) -> Self {
        self.undecryptable = undecryptable;
        self
    }

    /// Makes the consumer return keys and values without opening them: the application gets the bytes that the broker
    /// stores. All other settings stay the same.
    pub fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    /// Makes the consumer return Kafka keys without opening them. This is needed for topics whose producers use
    /// [`ProducerBuilder::plain_keys`].
    pub fn plain_keys(mut self) -> Self {
        self.plain_keys = true;
        self
    }

    /// Makes the consumer commit no positions: the positions of the group do not change, and the application does not
    /// have to acknowledge records.
    pub fn no_commit(mut self) -> Self {
        self.no_commit = true;
        self
    }

    /// Makes the consumer read the assigned partitions without a consumer group: it neither begins at committed
    /// positions nor commits any. The topics must be given by name, and must exist.
    pub fn without_group(mut self, assignment: Assignment) -> Self {
        self.assignment = Some(assignment);
        self.no_commit = true;
        self
    }

    /// Leaves out the records of a partition before `offset`, whatever their policy is: for example those that no node can
    /// open any more. The position of the group moves on. Has no effect on records that are already parked.
    pub fn skip_until(mut self, topic: impl Into<String>, partition: i32, offset: i64) -> Self {
        let topic = topic.into();
        let at = TopicPartition { topic, partition };
        self.skip_until.insert(at, offset);
        self
    }

    /// Sets the maximum number of threads that open the records of this consumer. Records keep their order. The threads
    /// start when there is enough work for them: some hundred kilobytes at once. The default is the setting `threads` of the
    /// node, or else one for each processor, at most eight.
    pub fn threads(self, threads: NonZero<usize>) -> Self {
        self.opened_by(Some(threads))
    }

    pub(crate) fn opened_by(mut self, threads: Option<NonZero<usize>>) -> Self {
        self.threads = threads;
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

    /// Joins the group. A topic that does not exist yet is not an error: its records are delivered once it exists.
    ///
    /// Cancel safe: if the future is dropped, the consumer leaves the group in the background.
    ///
    /// # Errors
    /// Returns [`Error`] if a topic is an invalid regular expression, the group cannot be joined, the consumer's thread
    /// cannot be started, or the node is closed.
    pub async fn join(self) -> Result<Consumer, Error> {
        let mut topics = Subscription::parse(self.topics)?;
        if let Some(management) = self.management {
            self.undecryptable.require_no_letters_to(&management)?;
            topics = topics.except(move |topic| management.names().contains(&topic));
        }
        let options = ConsumerOptions {
            group: self.group,
            topics,
            start: self.start,
            assignment: self.assignment,
            undecryptable: self.undecryptable,
            plain_keys: self.plain_keys,
            plain: self.plain,
            no_commit: self.no_commit,
            skip_until: self.skip_until,
            threads: self.threads,
        };
        Ok(self.clients.consumer(self.backend, options).await?)
    }
}
