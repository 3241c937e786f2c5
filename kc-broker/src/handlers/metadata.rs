//! Metadata: the broker, its topics, and topics that come to be on demand.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, MetadataRequest, MetadataResponse, TopicName as WireName,
};

use super::{CLUSTER_OPERATIONS, OPERATIONS_NOT_ASKED, TOPIC_OPERATIONS, text};
use crate::protocol::Context;
use crate::state::{CLUSTER_ID, NODE_ID, Settings, State};
use crate::topics::{Topic, TopicConfig, TopicName};

/// The last version without topic ids in the request and without a flag for auto-creation.
const ALWAYS_ALLOWS_CREATION: i16 = 3;

pub(crate) fn handle(context: &Context<'_>, request: MetadataRequest) -> MetadataResponse {
    let allowed = context.version <= ALWAYS_ALLOWS_CREATION || request.allow_auto_topic_creation;
    let lookup = Lookup {
        settings: context.shared.settings,
        create: allowed && context.shared.settings.auto_create,
        operations: if request.include_topic_authorized_operations {
            TOPIC_OPERATIONS
        } else {
            OPERATIONS_NOT_ASKED
        },
    };
    let state = &mut *context.shared.state();
    let topics = match request.topics {
        Some(asked) if context.version > 0 || !asked.is_empty() => {
            asked.into_iter().map(|t| lookup.one(state, t)).collect()
        }
        _ => {
            let topics = state.topics.iter();
            topics
                .map(|(name, topic)| lookup.describe(name, topic))
                .collect()
        }
    };
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE_ID))
        .with_host(text(context.broker.ip().to_string()))
        .with_port(context.broker.port().into());
    let response = MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_cluster_id(Some(text(CLUSTER_ID)))
        .with_controller_id(BrokerId(NODE_ID))
        .with_topics(topics);
    if request.include_cluster_authorized_operations {
        response.with_cluster_authorized_operations(CLUSTER_OPERATIONS)
    } else {
        response
    }
}

struct Lookup {
    settings: Settings,
    create: bool,
    operations: i32,
}

impl Lookup {
    fn one(&self, state: &mut State, asked: MetadataRequestTopic) -> MetadataResponseTopic {
        let known = match &asked.name {
            Some(name) => Some(name.to_string()),
            None => state.topics.name_of(asked.topic_id).map(str::to_owned),
        };
        let Some(name) = known else {
            return MetadataResponseTopic::default()
                .with_topic_id(asked.topic_id)
                .with_error_code(ResponseError::UnknownTopicId.code());
        };
        match self.find_or_create(state, &name) {
            Ok(topic) => self.describe(&name, topic),
            Err(error) => MetadataResponseTopic::default()
                .with_name(Some(WireName(text(name))))
                .with_error_code(error.code()),
        }
    }

    fn find_or_create<'s>(
        &self,
        state: &'s mut State,
        name: &str,
    ) -> Result<&'s Topic, ResponseError> {
        if state.topics.get(name).is_none() {
            let name = TopicName::parse(name).map_err(|_| ResponseError::InvalidTopicException)?;
            if self.create {
                let partitions = self.settings.default_partitions.into();
                state
                    .topics
                    .create(&name, partitions, TopicConfig::default())?;
            }
        }
        let topic = state.topics.get(name);
        topic.ok_or(ResponseError::UnknownTopicOrPartition)
    }

    fn describe(&self, name: &str, topic: &Topic) -> MetadataResponseTopic {
        let partitions = (0..).zip(&topic.partitions).map(|(index, _)| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(BrokerId(NODE_ID))
                .with_leader_epoch(0)
                .with_replica_nodes(vec![BrokerId(NODE_ID)])
                .with_isr_nodes(vec![BrokerId(NODE_ID)])
        });
        MetadataResponseTopic::default()
            .with_name(Some(WireName(text(name))))
            .with_topic_id(topic.id)
            .with_partitions(partitions.collect())
            .with_topic_authorized_operations(self.operations)
    }
}
