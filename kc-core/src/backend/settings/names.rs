//! The names of the settings.

use super::invalid;
use crate::backend::{BackendError, BackendErrorKind};

/// The names that are supported: kafka-python's, kc's own in the same style, and librdkafka's for PEM texts.
const SETTINGS: &[&str] = &[
    "acks",
    "allow_auto_create_topics",
    "auto_offset_reset",
    "batch_size",
    "bootstrap_servers",
    "buffer_memory",
    "client_id",
    "compression_type",
    "connections_max_idle_ms",
    "delivery_timeout_ms",
    "enable_idempotence",
    "fetch_max_bytes",
    "fetch_max_wait_ms",
    "group_id",
    "heartbeat_interval_ms",
    "isolation_level",
    "linger_ms",
    "max_block_ms",
    "max_partition_fetch_bytes",
    "max_poll_interval_ms",
    "max_poll_records",
    "max_request_size",
    "metadata_max_age_ms",
    "request_timeout_ms",
    "sasl_aws_region",
    "sasl_mechanism",
    "sasl_oauth_assertion_file",
    "sasl_oauth_cafile",
    "sasl_oauth_client_id",
    "sasl_oauth_client_secret",
    "sasl_oauth_extensions",
    "sasl_oauth_scope",
    "sasl_oauth_token_command",
    "sasl_oauth_token_endpoint",
    "sasl_oauth_token_file",
    "sasl_plain_password",
    "sasl_plain_username",
    "security_protocol",
    "session_timeout_ms",
    "ssl.ca.pem",
    "ssl.certificate.pem",
    "ssl.key.pem",
    "ssl_cafile",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
    "ssl_password",
];

/// librdkafka's names for the same settings, each with its canonical name.
const ALIASES: &[(&str, &str)] = &[
    ("acks", "acks"),
    ("allow.auto.create.topics", "allow_auto_create_topics"),
    ("auto.offset.reset", "auto_offset_reset"),
    ("batch.size", "batch_size"),
    ("bootstrap.servers", "bootstrap_servers"),
    ("client.id", "client_id"),
    ("compression.codec", "compression_type"),
    ("compression.type", "compression_type"),
    ("connections.max.idle.ms", "connections_max_idle_ms"),
    ("delivery.timeout.ms", "delivery_timeout_ms"),
    ("enable.idempotence", "enable_idempotence"),
    ("fetch.max.bytes", "fetch_max_bytes"),
    ("fetch.message.max.bytes", "max_partition_fetch_bytes"),
    ("fetch.wait.max.ms", "fetch_max_wait_ms"),
    ("group.id", "group_id"),
    ("heartbeat.interval.ms", "heartbeat_interval_ms"),
    ("https.ca.location", "sasl_oauth_cafile"),
    ("isolation.level", "isolation_level"),
    ("linger.ms", "linger_ms"),
    ("max.partition.fetch.bytes", "max_partition_fetch_bytes"),
    ("max.poll.interval.ms", "max_poll_interval_ms"),
    ("message.max.bytes", "max_request_size"),
    ("message.timeout.ms", "delivery_timeout_ms"),
    ("metadata.broker.list", "bootstrap_servers"),
    ("metadata.max.age.ms", "metadata_max_age_ms"),
    ("queue.buffering.max.ms", "linger_ms"),
    ("request.required.acks", "acks"),
    ("request.timeout.ms", "request_timeout_ms"),
    ("sasl.mechanism", "sasl_mechanism"),
    ("sasl.mechanisms", "sasl_mechanism"),
    (
        "sasl.oauthbearer.assertion.file",
        "sasl_oauth_assertion_file",
    ),
    (
        "sasl.oauthbearer.client.credentials.client.id",
        "sasl_oauth_client_id",
    ),
    (
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl_oauth_client_secret",
    ),
    ("sasl.oauthbearer.client.id", "sasl_oauth_client_id"),
    ("sasl.oauthbearer.client.secret", "sasl_oauth_client_secret"),
    ("sasl.oauthbearer.extensions", "sasl_oauth_extensions"),
    ("sasl.oauthbearer.scope", "sasl_oauth_scope"),
    (
        "sasl.oauthbearer.token.endpoint.url",
        "sasl_oauth_token_endpoint",
    ),
    ("sasl.password", "sasl_plain_password"),
    ("sasl.username", "sasl_plain_username"),
    ("security.protocol", "security_protocol"),
    ("session.timeout.ms", "session_timeout_ms"),
    ("socket.timeout.ms", "request_timeout_ms"),
    ("ssl.ca.location", "ssl_cafile"),
    ("ssl.certificate.location", "ssl_certfile"),
    (
        "ssl.endpoint.identification.algorithm",
        "ssl_check_hostname",
    ),
    ("ssl.key.location", "ssl_keyfile"),
    ("ssl.key.password", "ssl_password"),
];

/// librdkafka's other settings. A backend that uses librdkafka passes these settings to librdkafka.
const LIBRDKAFKA: &[&str] = &[
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "batch.num.messages",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "check.crcs",
    "client.dns.lookup",
    "client.rack",
    "compression.level",
    "coordinator.query.interval.ms",
    "debug",
    "enable.metrics.push",
    "enable.random.seed",
    "fetch.error.backoff.ms",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "group.instance.id",
    "log.connection.close",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.copy.max.bytes",
    "message.send.max.retries",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "partitioner",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.providers",
    "ssl.sigalgs.list",
    "sticky.partitioning.linger.ms",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
];

/// Names of settings that are accepted but have no effect, because kc makes the choice itself or has no such feature.
const IGNORED: &[&str] = &[
    "api_version",
    "api_version_auto_timeout_ms",
    "auto.commit.interval.ms",
    "auto_commit_interval_ms",
    "check_crcs",
    "client_rack",
    "consumer_timeout_ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable_auto_commit",
    "exclude_internal_topics",
    "fetch_min_bytes",
    "leave_group_on_close",
    "max_in_flight_requests_per_connection",
    "metric_group_prefix",
    "metrics_num_samples",
    "metrics_sample_window_ms",
    "receive_buffer_bytes",
    "reconnect_backoff_max_ms",
    "reconnect_backoff_ms",
    "retries",
    "retry_backoff_ms",
    "sasl.oauthbearer.method",
    "send_buffer_bytes",
    "sock_chunk_buffer_count",
    "sock_chunk_bytes",
];

/// Names that would change what is sent, read or trusted, and that no backend supports.
const NOT_SUPPORTED: &[&str] = &[
    "default_offset_commit_callback",
    "enable.gapless.guarantee",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "enable.ssl.certificate.verification",
    "group.protocol",
    "group.remote.assignor",
    "group_instance_id",
    "group_protocol",
    "interceptors",
    "kafka_client",
    "key_deserializer",
    "key_serializer",
    "metric_reporters",
    "partition.assignment.strategy",
    "partition_assignment_strategy",
    "plugin.library.paths",
    "proxy_url",
    "sasl.kerberos.keytab",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.oauthbearer.config",
    "sasl_kerberos_domain_name",
    "sasl_kerberos_name",
    "sasl_kerberos_service_name",
    "sasl_oauth_token_provider",
    "selector",
    "socket_options",
    "socks5_proxy",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl_ciphers",
    "ssl_context",
    "ssl_crlfile",
    "state_change_callback",
    "transaction.timeout.ms",
    "transaction_timeout_ms",
    "transactional.id",
    "transactional_id",
    "value_deserializer",
    "value_serializer",
];

/// Names in the lists above that only consumers have. kafka-python's producers and administrative clients fail to
/// start if one of these settings is given.
const OF_CONSUMERS: &[&str] = &[
    "auto.commit.interval.ms",
    "auto_commit_interval_ms",
    "auto_offset_reset",
    "check.crcs",
    "check_crcs",
    "client_rack",
    "consumer_timeout_ms",
    "coordinator.query.interval.ms",
    "default_offset_commit_callback",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable_auto_commit",
    "exclude_internal_topics",
    "fetch.error.backoff.ms",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch_max_bytes",
    "fetch_max_wait_ms",
    "fetch_min_bytes",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "group_id",
    "group_instance_id",
    "group_protocol",
    "heartbeat_interval_ms",
    "isolation_level",
    "key_deserializer",
    "leave_group_on_close",
    "max_partition_fetch_bytes",
    "max_poll_interval_ms",
    "max_poll_records",
    "metric_group_prefix",
    "partition.assignment.strategy",
    "partition_assignment_strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session_timeout_ms",
    "value_deserializer",
];

/// Names that only producers have. kafka-python's consumers and administrative clients fail to start if one of these
/// settings is given.
const OF_PRODUCERS: &[&str] = &[
    "acks",
    "allow_auto_create_topics",
    "batch.num.messages",
    "batch_size",
    "buffer_memory",
    "compression.level",
    "compression_type",
    "delivery_timeout_ms",
    "enable.gapless.guarantee",
    "enable_idempotence",
    "key_serializer",
    "linger_ms",
    "max_block_ms",
    "max_request_size",
    "message.send.max.retries",
    "partitioner",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.messages",
    "retries",
    "sticky.partitioning.linger.ms",
    "transaction.timeout.ms",
    "transaction_timeout_ms",
    "transactional.id",
    "transactional_id",
    "value_serializer",
];

/// The clients that a setting applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientRole {
    /// All clients.
    Every,
    /// Consumers only.
    Consumer,
    /// Producers only.
    Producer,
}

/// The kind of setting that a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// A setting, by its canonical name.
    Setting(&'static str),
    /// A setting that only librdkafka has.
    Librdkafka,
    /// A setting without effect.
    Ignored,
}

/// Returns the canonical name of a setting: the name in kafka-python if the setting has one, otherwise `name` itself.
/// Two names with the same canonical name mean the same setting. A value under one name therefore overrides a value
/// under the other name in a more general section of the configuration.
///
/// ```
/// use kc_core::backend::canonical_name;
///
/// assert_eq!(canonical_name("bootstrap.servers"), "bootstrap_servers");
/// assert_eq!(canonical_name("linger_ms"), "linger_ms");
/// ```
#[must_use]
pub fn canonical_name(name: &str) -> &str {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    alias.map_or(name, |(_, name)| *name)
}

/// Returns the canonical names of the settings that have no effect without TLS.
pub fn settings_of_tls() -> impl Iterator<Item = &'static str> {
    SETTINGS
        .iter()
        .copied()
        .filter(|name| name.starts_with("ssl"))
}

/// Returns the canonical names of the settings that have no effect without SASL.
pub fn settings_of_sasl() -> impl Iterator<Item = &'static str> {
    SETTINGS
        .iter()
        .copied()
        .filter(|name| name.starts_with("sasl"))
}

/// Returns the clients that a setting applies to. `name` is the setting's name in kafka-python or in librdkafka.
///
/// ```
/// use kc_core::backend::{ClientRole, client_role};
///
/// assert_eq!(client_role("auto.offset.reset")?, ClientRole::Consumer);
/// assert_eq!(client_role("linger_ms")?, ClientRole::Producer);
/// assert_eq!(client_role("client_id")?, ClientRole::Every);
/// # Ok::<_, kc_core::backend::BackendError>(())
/// ```
///
/// # Errors
/// Returns an error of the kind `Configuration` that names the most similar known setting if there is no setting
/// `name`, and one of the kind `Unsupported` if no backend supports the setting.
pub fn client_role(name: &str) -> Result<ClientRole, BackendError> {
    look_up(name)?;
    let name = canonical_name(name);
    Ok(if OF_CONSUMERS.contains(&name) {
        ClientRole::Consumer
    } else if OF_PRODUCERS.contains(&name) {
        ClientRole::Producer
    } else {
        ClientRole::Every
    })
}

pub(super) fn look_up(name: &str) -> Result<Known, BackendError> {
    let canonical = canonical_name(name);
    if let Some(setting) = SETTINGS.iter().find(|setting| **setting == canonical) {
        return Ok(Known::Setting(setting));
    }
    if IGNORED.contains(&name) {
        return Ok(Known::Ignored);
    }
    if LIBRDKAFKA.contains(&name) {
        return Ok(Known::Librdkafka);
    }
    if NOT_SUPPORTED.contains(&name) {
        return Err(BackendError::new(
            BackendErrorKind::Unsupported,
            format!("the setting `{name}`"),
        )
        .with_advice("remove the setting: no backend supports it"));
    }
    Err(unknown(name))
}

pub(super) fn unknown(name: &str) -> BackendError {
    let known = SETTINGS
        .iter()
        .chain(ALIASES.iter().map(|(alias, _)| alias))
        .chain(LIBRDKAFKA)
        .chain(IGNORED)
        .chain(NOT_SUPPORTED);
    let nearest = known
        .min_by_key(|known| strsim::damerau_levenshtein(known, name))
        .copied()
        .unwrap_or_default();
    invalid(format!(
        "there is no setting `{name}`; the most similar name is `{nearest}`"
    ))
    .with_advice(
        "correct the name of the setting in -X, in the environment or in the node's .config",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::backend::settings::parsing::Parsing;

    #[test]
    fn each_setting_is_read() {
        for name in SETTINGS {
            let value = match *name {
                "acks" => "all",
                "auto_offset_reset" => "earliest",
                "compression_type" => "lz4",
                "isolation_level" => "read_committed",
                "sasl_mechanism" => "PLAIN",
                "sasl_oauth_extensions" => "logicalCluster=lkc-1",
                "security_protocol" => "SSL",
                "allow_auto_create_topics" | "enable_idempotence" | "ssl_check_hostname" => "true",
                _ => "1",
            };
            Parsing::default().set(name, name, value).unwrap();
        }
    }

    #[test]
    fn aliases_stand_for_settings() {
        for (alias, name) in ALIASES {
            assert!(SETTINGS.contains(name), "{alias}");
        }
    }

    #[test]
    fn a_name_of_one_role_is_known_and_counts() {
        for name in OF_CONSUMERS.iter().chain(OF_PRODUCERS) {
            let known = [SETTINGS, LIBRDKAFKA, IGNORED, NOT_SUPPORTED].concat();
            assert!(known.contains(name), "{name}");
            assert_eq!(canonical_name(name), *name);
            assert!(!(OF_CONSUMERS.contains(name) && OF_PRODUCERS.contains(name)));
        }
        for name in [
            "bootstrap_servers",
            "ssl.ca.location",
            "request_timeout_ms",
            "debug",
        ] {
            assert_eq!(client_role(name).unwrap(), ClientRole::Every, "{name}");
        }
        assert_eq!(
            client_role("auto.offset.reset").unwrap(),
            ClientRole::Consumer
        );
        assert_eq!(
            client_role("compression.codec").unwrap(),
            ClientRole::Producer
        );
        assert!(
            client_role("auto_offset_rest")
                .unwrap_err()
                .to_string()
                .contains("auto_offset_reset")
        );
    }

    #[test]
    fn no_name_is_in_two_lists() {
        let mut seen = BTreeSet::new();
        let aliases = ALIASES.iter().map(|(alias, _)| alias);
        let aliases = aliases.filter(|alias| !SETTINGS.contains(alias));
        for name in SETTINGS
            .iter()
            .chain(aliases)
            .chain(LIBRDKAFKA)
            .chain(IGNORED)
            .chain(NOT_SUPPORTED)
        {
            assert!(seen.insert(*name), "{name}");
        }
    }
}
