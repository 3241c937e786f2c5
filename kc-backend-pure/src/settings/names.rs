//! Which names there are.

use kc_core::backend::BackendError;

use super::invalid;

/// Names that [`Settings`](super::Settings) takes.
const SUPPORTED: &[&str] = &[
    "acks",
    "allow_auto_create_topics",
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
    "heartbeat_interval_ms",
    "linger_ms",
    "max_block_ms",
    "max_partition_fetch_bytes",
    "max_poll_interval_ms",
    "max_poll_records",
    "max_request_size",
    "metadata_max_age_ms",
    "request_timeout_ms",
    "security_protocol",
    "session_timeout_ms",
    "ssl_cafile",
    "ssl_certfile",
    "ssl_check_hostname",
    "ssl_keyfile",
];

/// Names of kafka-python's that it does not take (yet).
const NOT_SUPPORTED: &[&str] = &[
    "api_version",
    "api_version_auto_timeout_ms",
    "auto_commit_interval_ms",
    "auto_offset_reset",
    "check_crcs",
    "client_rack",
    "consumer_timeout_ms",
    "default_offset_commit_callback",
    "enable_auto_commit",
    "exclude_internal_topics",
    "fetch_min_bytes",
    "group_id",
    "group_instance_id",
    "group_protocol",
    "interceptors",
    "isolation_level",
    "kafka_client",
    "key_deserializer",
    "key_serializer",
    "leave_group_on_close",
    "max_in_flight_requests_per_connection",
    "metric_group_prefix",
    "metric_reporters",
    "metrics_num_samples",
    "metrics_sample_window_ms",
    "partition_assignment_strategy",
    "partitioner",
    "proxy_url",
    "receive_buffer_bytes",
    "reconnect_backoff_max_ms",
    "reconnect_backoff_ms",
    "retries",
    "retry_backoff_ms",
    "sasl_kerberos_domain_name",
    "sasl_kerberos_name",
    "sasl_kerberos_service_name",
    "sasl_mechanism",
    "sasl_oauth_token_provider",
    "sasl_plain_password",
    "sasl_plain_username",
    "selector",
    "send_buffer_bytes",
    "sock_chunk_buffer_count",
    "sock_chunk_bytes",
    "socket_options",
    "socks5_proxy",
    "ssl_ciphers",
    "ssl_context",
    "ssl_crlfile",
    "ssl_password",
    "state_change_callback",
    "transaction_timeout_ms",
    "transactional_id",
    "value_deserializer",
    "value_serializer",
];

/// Whether a name can be set.
pub(super) fn check(name: &str) -> Result<(), BackendError> {
    if SUPPORTED.contains(&name) {
        Ok(())
    } else if NOT_SUPPORTED.contains(&name) {
        Err(invalid(format!(
            "`{name}` is not supported by the pure backend"
        )))
    } else {
        Err(unknown(name))
    }
}

pub(super) fn unknown(name: &str) -> BackendError {
    let nearest = SUPPORTED
        .iter()
        .chain(NOT_SUPPORTED)
        .min_by_key(|known| strsim::damerau_levenshtein(known, name))
        .copied()
        .unwrap_or_default();
    invalid(format!(
        "there is no setting `{name}`; the nearest is `{nearest}`"
    ))
}

#[cfg(test)]
mod tests {
    use super::{NOT_SUPPORTED, SUPPORTED};
    use crate::settings::Parsing;

    #[test]
    fn each_supported_name_is_read() {
        for name in SUPPORTED {
            let value = match *name {
                "acks" => "all",
                "compression_type" => "lz4",
                "security_protocol" => "SSL",
                "allow_auto_create_topics" | "enable_idempotence" | "ssl_check_hostname" => "true",
                _ => "1",
            };
            Parsing::default().set(name, value).unwrap();
        }
    }

    #[test]
    fn no_name_is_in_both_lists() {
        assert!(!SUPPORTED.iter().any(|name| NOT_SUPPORTED.contains(name)));
    }
}
