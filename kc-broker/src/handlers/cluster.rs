//! ApiVersions, Metadata, DescribeTopicPartitions, FindCoordinator, InitProducerId: the first requests of a client.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, BrokerId, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    InitProducerIdRequest, InitProducerIdResponse, MetadataRequest, MetadataResponse, ProducerId,
    TopicName as WireName,
};
use kafka_protocol::protocol::StrBytes;

use super::{
    CLUSTER_OPERATIONS, OPERATIONS_NOT_ASKED, Refusal, TOPIC_OPERATIONS, code_and_message, text,
};
use crate::faults::CoordinatorRequest;
use crate::protocol::{Context, SUPPORTED};
use crate::state::{CLUSTER_ID, NODE_ID, Settings, State};
use crate::topics::{Topic, TopicConfig, TopicName};

/// The last Metadata version without the flag `allow_auto_topic_creation` in the request. Up to this version, each
/// request allows the creation of topics.
const ALWAYS_ALLOWS_CREATION: i16 = 3;
/// The first FindCoordinator version with several keys in a request.
const FIND_SEVERAL: i16 = 4;
/// The first FindCoordinator version with error messages.
const FIND_HAS_MESSAGES: i16 = 1;
/// The largest number of partitions in a response to DescribeTopicPartitions, as in Apache Kafka.
const MOST_DESCRIBED: usize = 2000;
/// The key type of consumer groups.
const GROUP: i8 = 0;
/// The key type of transactions.
const TRANSACTION: i8 = 1;

pub(crate) fn api_versions(_: &Context<'_>, _: ApiVersionsRequest) -> ApiVersionsResponse {
    api_versions_response()
}

pub(crate) fn api_versions_response() -> ApiVersionsResponse {
    let apis = SUPPORTED.iter().map(|api| {
        ApiVersion::default()
            .with_api_key(api.key as i16)
            .with_min_version(api.min)
            .with_max_version(api.max)
    });
    ApiVersionsResponse::default().with_api_keys(apis.collect())
}

pub(crate) fn metadata(context: &Context<'_>, request: MetadataRequest) -> MetadataResponse {
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
    let (host, port) = context.shared.faults.advertised(context.broker);
    let broker = MetadataResponseBroker::default()
        .with_node_id(BrokerId(NODE_ID))
        .with_host(text(host))
        .with_port(port.into());
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

/// Describes topics in the order of their names, and all topics if the request names none. If the response has no room
/// for all partitions, its cursor names the first partition of the next response.
pub(crate) fn describe_topic_partitions(
    context: &Context<'_>,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let state = context.shared.state();
    let mut names: Vec<String> = match request.topics.as_slice() {
        [] => state
            .topics
            .iter()
            .map(|(name, _)| name.to_owned())
            .collect(),
        asked => asked.iter().map(|topic| topic.name.to_string()).collect(),
    };
    names.sort();
    names.dedup();
    let (start, first) = request.cursor.map_or_else(Default::default, |cursor| {
        (cursor.topic_name.to_string(), cursor.partition_index)
    });
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut room = limit.clamp(1, MOST_DESCRIBED);
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names.into_iter().filter(|name| *name >= start) {
        let first = if name == start { first.max(0) } else { 0 };
        let cursor = |index| {
            let cursor = Cursor::default().with_partition_index(index);
            Some(cursor.with_topic_name(WireName(text(name.clone()))))
        };
        if room == 0 {
            return response.with_next_cursor(cursor(first));
        }
        let described = DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(WireName(text(name.clone()))))
            .with_topic_authorized_operations(TOPIC_OPERATIONS);
        let Some(topic) = state.topics.get(&name) else {
            let error = match TopicName::parse(&name) {
                Ok(_) => ResponseError::UnknownTopicOrPartition,
                Err(_) => ResponseError::InvalidTopicException,
            };
            let described = described.with_error_code(error.code());
            response.topics.push(described);
            continue;
        };
        let mut indexes = (0..).zip(&topic.partitions).map(|(index, _)| index);
        let mut left = indexes.by_ref().skip_while(|index| *index < first);
        let partitions: Vec<_> = left.by_ref().take(room).map(described_partition).collect();
        room -= partitions.len();
        let next = left.next();
        let described = described
            .with_topic_id(topic.id)
            .with_partitions(partitions);
        response.topics.push(described);
        if let Some(next) = next {
            return response.with_next_cursor(cursor(next));
        }
    }
    response
}

fn described_partition(index: i32) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(BrokerId(NODE_ID))
        .with_leader_epoch(0)
        .with_replica_nodes(vec![BrokerId(NODE_ID)])
        .with_isr_nodes(vec![BrokerId(NODE_ID)])
}

pub(crate) fn find_coordinator(
    context: &Context<'_>,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let (error_code, message) = code_and_message(check_coordinator(context, request.key_type));
    let found = error_code == 0;
    let node = BrokerId(if found { NODE_ID } else { -1 });
    let (host, port) = if found {
        let (host, port) = context.shared.faults.advertised(context.broker);
        (text(host), port.into())
    } else {
        (StrBytes::new(), -1)
    };
    if context.version < FIND_SEVERAL {
        return FindCoordinatorResponse::default()
            .with_error_code(error_code)
            .with_error_message(message.filter(|_| context.version >= FIND_HAS_MESSAGES))
            .with_node_id(node)
            .with_host(host)
            .with_port(port);
    }
    let one = |key: StrBytes| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(error_code)
            .with_error_message(message.clone())
            .with_node_id(node)
            .with_host(host.clone())
            .with_port(port)
    };
    let coordinators = request.coordinator_keys.into_iter().map(one).collect();
    FindCoordinatorResponse::default().with_coordinators(coordinators)
}

fn check_coordinator(context: &Context<'_>, key_type: i8) -> Result<(), Refusal> {
    match key_type {
        GROUP => {
            let fault = context
                .shared
                .faults
                .take(CoordinatorRequest::FindCoordinator);
            fault.map_or(Ok(()), |error| Err((error, None)))
        }
        TRANSACTION => Err((
            ResponseError::TransactionalIdAuthorizationFailed,
            Some("this broker does not support transactions".to_owned()),
        )),
        _ => Err((ResponseError::InvalidRequest, None)),
    }
}

/// Gives each idempotent producer a new id, even if it already has an id. Refuses transactional ids with an error after
/// which clients do not retry.
pub(crate) fn init_producer_id(
    context: &Context<'_>,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    if request.transactional_id.is_some() {
        tracing::warn!("transactional producer refused: this broker does not support transactions");
        return InitProducerIdResponse::default()
            .with_error_code(ResponseError::TransactionalIdAuthorizationFailed.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
    }
    let mut state = context.shared.state();
    state.last_producer_id += 1;
    InitProducerIdResponse::default()
        .with_producer_id(ProducerId(state.last_producer_id))
        .with_producer_epoch(0)
}
