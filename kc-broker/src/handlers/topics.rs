//! CreateTopics, CreatePartitions, DeleteTopics: these requests create and delete topics and their partitions.

use std::collections::BTreeMap;

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, TopicName as WireName,
};
use uuid::Uuid;

use super::configs::source;
use super::{Refusal, code_and_message, text};
use crate::log::Partition;
use crate::protocol::Context;
use crate::state::{NODE_ID, State};
use crate::topics::{ConfigError, Setting, TopicConfig, TopicName};

/// The first CreateTopics version with the settings of the new topic in its response.
const CREATE_TELLS_CONFIG: i16 = 5;
/// The first DeleteTopics version with topic ids in the request.
const DELETE_BY_ID: i16 = 6;
/// The first DeleteTopics version with error messages.
const DELETE_HAS_MESSAGES: i16 = 5;

pub(crate) fn create(context: &Context<'_>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for topic in &request.topics {
        *counts.entry(topic.name.to_string()).or_default() += 1;
    }
    let state = &mut *context.shared.state();
    let topics = request.topics.into_iter().map(|topic| {
        let result = if counts.get(topic.name.as_str()) == Some(&1) {
            create_one(context, state, &topic, request.validate_only)
        } else {
            let message = "the request contains this topic more than once";
            Err((ResponseError::InvalidRequest, Some(message.to_owned())))
        };
        answer(context.version, topic.name, result)
    });
    CreateTopicsResponse::default().with_topics(topics.collect())
}

/// A topic that was created, or that was only validated.
struct Created {
    /// The topic's id, or the nil UUID if the request was only validated.
    id: Uuid,
    partitions: i32,
    config: TopicConfig,
}

fn create_one(
    context: &Context<'_>,
    state: &mut State,
    asked: &CreatableTopic,
    validate_only: bool,
) -> Result<Created, Refusal> {
    let name = TopicName::parse(&asked.name)
        .map_err(|e| (ResponseError::InvalidTopicException, Some(e.to_string())))?;
    let count = partition_count(context.shared.settings.default_partitions, asked)
        .map_err(|error| (error, None))?;
    let mut config = TopicConfig::default();
    for setting in &asked.configs {
        let value = setting.value.as_deref().ok_or(ConfigError::NoValue);
        value
            .and_then(|value| config.set(&setting.name, value))
            .map_err(|e| (ResponseError::InvalidConfig, Some(e.to_string())))?;
    }
    let partitions = usize::from(count);
    let id = if validate_only {
        state
            .topics
            .check_new(&name, partitions)
            .map(|()| Uuid::nil())
    } else {
        let created = state.topics.create(&name, partitions, config.clone());
        created.map(|topic| topic.id)
    };
    Ok(Created {
        id: id.map_err(|error| (error, Some(explain(error).to_owned())))?,
        partitions: count.into(),
        config,
    })
}

fn explain(error: ResponseError) -> &'static str {
    match error {
        ResponseError::TopicAlreadyExists => "the topic already exists",
        _ => "the number of partitions would exceed the limit of this broker",
    }
}

/// Returns the number of partitions that a request asks for. The request has the number itself, or -1 for `default`, or
/// an assignment of all partitions to this broker.
fn partition_count(default: u16, asked: &CreatableTopic) -> Result<u16, ResponseError> {
    if !matches!(asked.replication_factor, -1 | 1) {
        return Err(ResponseError::InvalidReplicationFactor);
    }
    if asked.assignments.is_empty() {
        return match asked.num_partitions {
            -1 => Ok(default),
            n => u16::try_from(n)
                .ok()
                .filter(|n| *n > 0)
                .ok_or(ResponseError::InvalidPartitions),
        };
    }
    if asked.num_partitions != -1 {
        return Err(ResponseError::InvalidRequest);
    }
    let mut indexes: Vec<i32> = asked
        .assignments
        .iter()
        .map(|a| a.partition_index)
        .collect();
    indexes.sort_unstable();
    let complete = indexes.iter().copied().eq((0..).take(indexes.len()));
    let here = asked
        .assignments
        .iter()
        .all(|a| a.broker_ids.iter().map(|b| b.0).eq([NODE_ID]));
    let count = u16::try_from(indexes.len())
        .ok()
        .filter(|_| complete && here);
    count.ok_or(ResponseError::InvalidReplicaAssignment)
}

fn answer(version: i16, name: WireName, result: Result<Created, Refusal>) -> CreatableTopicResult {
    let response = CreatableTopicResult::default().with_name(name);
    let created = match result {
        Ok(created) => created,
        Err(refusal) => {
            let (code, message) = code_and_message::<()>(Err(refusal));
            return response.with_error_code(code).with_error_message(message);
        }
    };
    let response = response
        .with_topic_id(created.id)
        .with_num_partitions(created.partitions)
        .with_replication_factor(1);
    if version < CREATE_TELLS_CONFIG {
        return response;
    }
    let configs = Setting::all().iter().map(|setting| {
        let value = created.config.get(setting);
        CreatableTopicConfigs::default()
            .with_name(text(setting.name))
            .with_config_source(source(value))
            .with_value(Some(text(value.unwrap_or(setting.default))))
    });
    response.with_configs(Some(configs.collect()))
}

pub(crate) fn create_partitions(
    context: &Context<'_>,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let state = &mut *context.shared.state();
    let results = request.topics.into_iter().map(|topic| {
        let result = create_in_topic(state, &topic, request.validate_only);
        let (code, message) = code_and_message(result);
        CreatePartitionsTopicResult::default()
            .with_name(topic.name)
            .with_error_code(code)
            .with_error_message(message)
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

fn create_in_topic(
    state: &mut State,
    asked: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refusal> {
    let missing = (ResponseError::UnknownTopicOrPartition, None);
    let present = state
        .topics
        .get(&asked.name)
        .ok_or(missing)?
        .partitions
        .len();
    let count = usize::try_from(asked.count).unwrap_or(0);
    if count <= present {
        let message = format!(
            "the topic already has {present} partitions; their number can only be increased"
        );
        return Err((ResponseError::InvalidPartitions, Some(message)));
    }
    let full = "the number of partitions would exceed the limit of this broker";
    state
        .topics
        .check_room(count - present)
        .map_err(|error| (error, Some(full.to_owned())))?;
    if let Some(topic) = state.topics.get_mut(&asked.name)
        && !validate_only
    {
        topic.partitions.resize_with(count, Partition::default);
    }
    Ok(())
}

pub(crate) fn delete(context: &Context<'_>, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let mut state = context.shared.state();
    let responses = if context.version < DELETE_BY_ID {
        let names = request.topic_names.into_iter();
        names
            .map(|name| delete_one(context.version, &mut state, Some(name), Uuid::nil()))
            .collect()
    } else {
        let topics = request.topics.into_iter();
        topics
            .map(|t| delete_one(context.version, &mut state, t.name, t.topic_id))
            .collect()
    };
    drop(state);
    context.shared.log_changed.notify_waiters();
    DeleteTopicsResponse::default().with_responses(responses)
}

/// Deletes a topic by its name, or by its id if `name` is `None`.
fn delete_one(
    version: i16,
    state: &mut State,
    name: Option<WireName>,
    id: Uuid,
) -> DeletableTopicResult {
    let (name, missing) = match name {
        Some(name) => (Some(name), ResponseError::UnknownTopicOrPartition),
        None => {
            let found = state.topics.name_of(id).map(|name| WireName(text(name)));
            (found, ResponseError::UnknownTopicId)
        }
    };
    let present = name
        .as_ref()
        .and_then(|name| Some((name.clone(), state.topics.get(name)?.id)));
    let response = DeletableTopicResult::default().with_name(name);
    let Some((name, id)) = present else {
        let message = (version >= DELETE_HAS_MESSAGES).then(|| text("unknown topic"));
        return response
            .with_topic_id(id)
            .with_error_code(missing.code())
            .with_error_message(message);
    };
    state.topics.delete(&name, &mut state.memory);
    state.groups.topic_deleted(&name);
    response.with_topic_id(id)
}
