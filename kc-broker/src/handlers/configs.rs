//! DescribeConfigs and IncrementalAlterConfigs: the settings of topics and of the broker.

use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

use super::{Refusal, code_and_message, text};
use crate::protocol::Context;
use crate::state::{NODE_ID, Settings, State};
use crate::topics::{ConfigError, Setting, TopicConfig};

/// The number of the resource type "topic" in the Kafka protocol.
const TOPIC: i8 = 2;
/// The number of the resource type "broker" in the Kafka protocol.
const BROKER: i8 = 4;
/// The config source of a value that was set for the topic, as a number of the Kafka protocol.
const SOURCE_TOPIC: i8 = 1;
/// The config source of a value that was fixed when the broker started.
const SOURCE_STATIC: i8 = 4;
/// The config source of a default value.
const SOURCE_DEFAULT: i8 = 5;
/// The value type "string".
const TYPE_TEXT: i8 = 2;

/// Returns the config source of a topic setting. `set` is the value that was set for the topic, or `None` if the
/// default applies.
pub(super) fn source(set: Option<&str>) -> i8 {
    if set.is_some() {
        SOURCE_TOPIC
    } else {
        SOURCE_DEFAULT
    }
}

pub(crate) fn describe(
    context: &Context<'_>,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let state = context.shared.state();
    let results = request.resources.into_iter().map(|resource| {
        let found = match resource.resource_type {
            TOPIC => describe_topic(&state, &resource.resource_name, request.include_synonyms),
            BROKER => describe_broker(context.shared.settings, &resource.resource_name),
            _ => Err(unknown_resource()),
        };
        let response = DescribeConfigsResult::default().with_resource_type(resource.resource_type);
        let response = match found {
            Ok(configs) => response.with_configs(only_asked(&resource, configs)),
            Err(refusal) => {
                let (code, message) = code_and_message::<()>(Err(refusal));
                response.with_error_code(code).with_error_message(message)
            }
        };
        response.with_resource_name(resource.resource_name)
    });
    let results = results.collect();
    DescribeConfigsResponse::default().with_results(results)
}

/// Removes the settings that the request does not name. Like Apache Kafka, takes an empty list of names as a request for
/// all settings.
fn only_asked(
    resource: &DescribeConfigsResource,
    mut configs: Vec<DescribeConfigsResourceResult>,
) -> Vec<DescribeConfigsResourceResult> {
    if let Some(keys) = &resource.configuration_keys
        && !keys.is_empty()
    {
        configs.retain(|config| keys.contains(&config.name));
    }
    configs
}

fn describe_topic(
    state: &State,
    name: &str,
    synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    let topic = state.topics.get(name);
    let topic = topic.ok_or((ResponseError::UnknownTopicOrPartition, None))?;
    let configs = Setting::all().iter().map(|setting| {
        let set = topic.config.get(setting);
        let value = set.unwrap_or(setting.default);
        let synonym = DescribeConfigsSynonym::default()
            .with_name(text(setting.name))
            .with_value(Some(text(value)))
            .with_source(source(set));
        DescribeConfigsResourceResult::default()
            .with_name(text(setting.name))
            .with_value(Some(text(value)))
            .with_config_source(source(set))
            .with_config_type(setting.type_code())
            .with_synonyms(if synonyms { vec![synonym] } else { vec![] })
    });
    Ok(configs.collect())
}

fn describe_broker(
    settings: Settings,
    name: &str,
) -> Result<Vec<DescribeConfigsResourceResult>, Refusal> {
    if !name.is_empty() && name != NODE_ID.to_string() {
        return Err((
            ResponseError::InvalidRequest,
            Some(format!(
                "unknown broker id {name:?}: the only broker has the id {NODE_ID}"
            )),
        ));
    }
    let values = [
        (
            "auto.create.topics.enable",
            settings.auto_create.to_string(),
        ),
        ("default.replication.factor", "1".to_owned()),
        ("num.partitions", settings.default_partitions.to_string()),
    ];
    let configs = values.into_iter().map(|(name, value)| {
        DescribeConfigsResourceResult::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
            .with_read_only(true)
            .with_config_source(SOURCE_STATIC)
            .with_config_type(TYPE_TEXT)
    });
    Ok(configs.collect())
}

pub(crate) fn alter(
    context: &Context<'_>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut state = context.shared.state();
    let responses = request.resources.into_iter().map(|resource| {
        let result = alter_one(&mut state, &resource, request.validate_only);
        let (code, message) = code_and_message(result);
        AlterConfigsResourceResponse::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name)
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

/// Changes all settings that the request names for one topic. If one of them is refused, or if `validate_only` is true,
/// changes no setting.
fn alter_one(
    state: &mut State,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refusal> {
    if resource.resource_type != TOPIC {
        return Err(unknown_resource());
    }
    let topic = state.topics.get_mut(&resource.resource_name);
    let topic = topic.ok_or((ResponseError::UnknownTopicOrPartition, None))?;
    let mut config = topic.config.clone();
    for change in &resource.configs {
        let operation = Operation::parse(change.config_operation)?;
        operation
            .apply(&mut config, &change.name, change.value.as_deref())
            .map_err(|e| (ResponseError::InvalidConfig, Some(e.to_string())))?;
    }
    if !validate_only {
        topic.config = config;
    }
    Ok(())
}

enum Operation {
    Set,
    Delete,
    Append,
    Subtract,
}

impl Operation {
    fn parse(number: i8) -> Result<Self, Refusal> {
        match number {
            0 => Ok(Self::Set),
            1 => Ok(Self::Delete),
            2 => Ok(Self::Append),
            3 => Ok(Self::Subtract),
            _ => Err((ResponseError::InvalidRequest, None)),
        }
    }

    fn apply(
        &self,
        config: &mut TopicConfig,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), ConfigError> {
        let value = value.ok_or(ConfigError::NoValue);
        match self {
            Self::Set => config.set(name, value?),
            Self::Delete => config.reset(name),
            Self::Append => config.append(name, value?),
            Self::Subtract => config.subtract(name, value?),
        }
    }
}

fn unknown_resource() -> Refusal {
    let message = "this broker does not support this request for resources of this type";
    (ResponseError::InvalidRequest, Some(message.to_owned()))
}
