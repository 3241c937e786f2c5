//! Translates settings to librdkafka's names, and makes native clients.

use std::time::Duration;

use kc_core::backend::{
    BackendError, BackendErrorKind, ClientSettings, Compression, OAuthBearer, Sasl, SaslMechanism,
    TokenSource, canonical_name, unsupported,
};
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, ClientContext};

use crate::error::failed;
use crate::files;

/// The maximum time to establish one connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The range that librdkafka accepts for `socket.timeout.ms`.
const REQUEST_TIMEOUTS: (Duration, Duration) =
    (Duration::from_millis(10), Duration::from_secs(300));

/// The maximum that librdkafka accepts for `topic.metadata.refresh.interval.ms`.
const LONGEST_METADATA_AGE: Duration = Duration::from_secs(3_600);

/// The first and the maximum pause between attempts to connect, in milliseconds. The maximum is short, so that clients
/// reconnect soon after an outage. The first is short because librdkafka also pauses for half of it before it connects to the
/// brokers that the first broker has named: by default, the first request of each client waits for 50 ms.
const RECONNECT_BACKOFF: (&str, &str) = ("20", "1000");

/// The pause before a consumer repeats a request, beyond the time that a fetch waits for records. librdkafka finds the
/// coordinator of the group through a connection that may be occupied by a fetch, and then drops the requests that are
/// queued for the coordinator. A commit that was repeated before that would be dropped each time.
const COORDINATOR_LOOKUP: Duration = Duration::from_millis(250);

/// The maximum that librdkafka accepts for `retry.backoff.ms`, and the default of `retry.backoff.max.ms`.
const RETRY_BACKOFF: (Duration, Duration) = (Duration::from_mins(5), Duration::from_secs(1));

/// The maximum time for which a fetch of a reader waits for records. A topic that is assigned meanwhile is not fetched before
/// that, because librdkafka has one fetch at a time under way to each broker, and data keys wait for such topics.
const READER_WAIT: Duration = Duration::from_millis(100);

/// The time in milliseconds that librdkafka waits before it fetches again, after its queue was full. By default it waits for
/// a second, in which a fast consumer has nothing to do.
const FETCH_BACKOFF: &str = "10";

/// The default of librdkafka's `message.max.bytes`.
const MESSAGE_MAX_BYTES: i32 = 1_000_000;

/// The role of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Role<'a> {
    /// Reads metadata, or creates topics.
    Admin,
    /// Reads metadata with requests that let brokers create a missing topic.
    Creator,
    Producer,
    /// Reads assigned partitions. librdkafka requires the name of a group even from a client that joins no group.
    Reader(&'a str),
    /// A member of this group.
    Member(&'a str),
}

/// Returns an error for settings that this build does not support, and for values that librdkafka does not accept.
pub(crate) fn check(settings: &ClientSettings) -> Result<(), BackendError> {
    const BUILD: &str = "build kc with the feature `rdkafka-ssl` or `rdkafka-ssl-vendored`";
    let refuse = |what: &str, advice| Err(unsupported("rdkafka", what, advice));
    if cfg!(not(feature = "ssl")) {
        if settings.tls.is_some() {
            return refuse("TLS in `security_protocol`", BUILD);
        }
        if let Some(mechanism) = settings.sasl.as_ref().map(Sasl::mechanism)
            && mechanism != SaslMechanism::Plain
        {
            let what = format!("the value {} of `sasl_mechanism`", mechanism.name());
            return refuse(&what, BUILD);
        }
    }
    const OTHER_BACKEND: &str = "use the backend pure";
    match &settings.sasl {
        Some(Sasl::OAuthBearer(bearer)) if !bearer.extensions.is_empty() => {
            return refuse("the setting `sasl_oauth_extensions`", OTHER_BACKEND);
        }
        Some(Sasl::OAuthBearer(OAuthBearer {
            source: TokenSource::File(_),
            ..
        }))
        | Some(Sasl::Password { .. })
        | None => {}
        Some(Sasl::OAuthBearer(_)) => {
            const ADVICE: &str = "use the backend pure, or let another program write a token to `sasl_oauth_token_file`";
            return refuse("tokens from a command or an endpoint", ADVICE);
        }
        Some(_) => return refuse("the value AWS_MSK_IAM of `sasl_mechanism`", OTHER_BACKEND),
    }
    if settings.compression == Compression::Zstd {
        return refuse(
            "the value zstd of `compression_type`",
            "use none, gzip, snappy or lz4",
        );
    }
    for role in [Role::Producer, Role::Member("group")] {
        config(settings, role)
            .create_native_config()
            .map_err(invalid)?;
    }
    Ok(())
}

/// Creates a native client. librdkafka connects it in the background.
pub(crate) fn client<C, T>(
    settings: &ClientSettings,
    role: Role<'_>,
    context: C,
) -> Result<T, BackendError>
where
    C: ClientContext,
    T: FromClientConfigAndContext<C>,
{
    let files = settings.tls.as_ref().map(files::read).transpose()?;
    T::from_config_and_context(&config(settings, role), context).map_err(|error| match error {
        KafkaError::ClientCreation(reason) => match files {
            Some(files) => files.blame(reason),
            None => BackendError::new(BackendErrorKind::Configuration, reason),
        },
        KafkaError::ClientConfig(..) | KafkaError::Nul(_) => invalid(error),
        error => failed("create a client of librdkafka", error),
    })
}

/// Returns the error for an invalid value. librdkafka's own message is not used, because it shows the value, and the
/// value may be a password.
fn invalid(error: KafkaError) -> BackendError {
    let context = match &error {
        KafkaError::ClientConfig(_, reason, name, _) => {
            format!("`{}`: {}", canonical_name(name), reason.trim())
        }
        _ => "librdkafka does not accept a setting".to_owned(),
    };
    BackendError::new(BackendErrorKind::Configuration, context)
}

fn config(settings: &ClientSettings, role: Role<'_>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(log_level(settings));
    common(settings, &mut config);
    security(settings, &mut config);
    match role {
        Role::Admin => {}
        Role::Creator => {
            config.set("allow.auto.create.topics", "true");
        }
        Role::Producer => producer(settings, &mut config),
        Role::Reader(group) => {
            config.set("group.id", group);
            let wait = settings.fetch_max_wait.min(READER_WAIT);
            consumer(settings, wait, &mut config);
        }
        Role::Member(group) => {
            config.set("group.id", group);
            consumer(settings, settings.fetch_max_wait, &mut config);
            member(settings, &mut config);
        }
    }
    for (name, value) in &settings.librdkafka {
        config.set(name, value);
    }
    config
}

/// Returns the log level of librdkafka: debug if the setting `debug` is set, and otherwise info. At level info,
/// librdkafka logs the reasons of lost connections.
fn log_level(settings: &ClientSettings) -> RDKafkaLogLevel {
    if has(settings, "debug") {
        RDKafkaLogLevel::Debug
    } else {
        RDKafkaLogLevel::Info
    }
}

fn has(settings: &ClientSettings, name: &str) -> bool {
    settings.librdkafka.iter().any(|(other, _)| other == name)
}

fn common(settings: &ClientSettings, config: &mut ClientConfig) {
    let (least, most) = REQUEST_TIMEOUTS;
    let connect = settings.request_timeout.min(CONNECT_TIMEOUT);
    config
        .set("bootstrap.servers", &settings.bootstrap_servers)
        .set("client.id", &settings.client_id)
        .set("allow.auto.create.topics", "false")
        .set("enable.metrics.push", "false")
        .set(
            "socket.timeout.ms",
            millis(settings.request_timeout.clamp(least, most)),
        )
        .set(
            "socket.connection.setup.timeout.ms",
            millis(connect.max(Duration::from_secs(1))),
        )
        .set(
            "topic.metadata.refresh.interval.ms",
            millis(settings.metadata_max_age.min(LONGEST_METADATA_AGE)),
        )
        .set(
            "connections.max.idle.ms",
            millis(settings.connections_max_idle),
        );
    // librdkafka refuses a maximum that is less than `reconnect.backoff.ms`.
    if !has(settings, "reconnect.backoff.ms") {
        let (first, longest) = RECONNECT_BACKOFF;
        config
            .set("reconnect.backoff.ms", first)
            .set("reconnect.backoff.max.ms", longest);
    }
}

fn security(settings: &ClientSettings, config: &mut ClientConfig) {
    let protocol = match (&settings.tls, &settings.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    config.set("security.protocol", protocol);
    if let Some(sasl) = &settings.sasl {
        config.set("sasl.mechanisms", sasl.mechanism().name());
        match sasl {
            Sasl::Password {
                username, password, ..
            } => {
                config
                    .set("sasl.username", username)
                    .set("sasl.password", password.expose());
            }
            Sasl::OAuthBearer(OAuthBearer {
                source: TokenSource::File(path),
                ..
            }) => {
                // librdkafka passes this text to the callback that gets the token.
                config.set("sasl.oauthbearer.config", path);
            }
            _ => {}
        }
    }
    if let Some(tls) = &settings.tls {
        files::configure(tls, config);
    }
}

fn producer(settings: &ClientSettings, config: &mut ClientConfig) {
    let auto_create = settings.allow_auto_create_topics;
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("allow.auto.create.topics", auto_create.to_string())
        .set("linger.ms", millis(settings.linger))
        .set("batch.size", settings.batch_size.to_string())
        .set("message.max.bytes", settings.max_request_size.to_string())
        .set(
            "queue.buffering.max.kbytes",
            settings.buffer_memory.div_ceil(1024).to_string(),
        )
        .set("message.timeout.ms", millis(settings.delivery_timeout))
        .set("request.timeout.ms", millis(settings.request_timeout))
        .set("compression.type", settings.compression.name())
        // Use the partitioner of Kafka's own clients, so that all clients send the same key to the same partition.
        .set("partitioner", "murmur2_random");
}

fn consumer(settings: &ClientSettings, fetch_max_wait: Duration, config: &mut ClientConfig) {
    let isolation = if settings.read_committed {
        "read_committed"
    } else {
        "read_uncommitted"
    };
    config
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("check.crcs", "true")
        .set("isolation.level", isolation)
        .set("fetch.max.bytes", settings.fetch_max_bytes.to_string())
        .set(
            "fetch.message.max.bytes",
            settings.max_partition_fetch_bytes.to_string(),
        )
        .set("fetch.wait.max.ms", millis(fetch_max_wait))
        .set("fetch.queue.backoff.ms", FETCH_BACKOFF);
    if !has(settings, "retry.backoff.ms") && !has(settings, "retry.backoff.max.ms") {
        let (longest, usual) = RETRY_BACKOFF;
        let backoff = (fetch_max_wait + COORDINATOR_LOOKUP).min(longest);
        config
            .set("retry.backoff.ms", millis(backoff))
            .set("retry.backoff.max.ms", millis(backoff.max(usual)));
    }
    // librdkafka refuses a `message.max.bytes` that is more than `fetch.max.bytes`.
    if settings.fetch_max_bytes < MESSAGE_MAX_BYTES {
        config.set(
            "message.max.bytes",
            settings.fetch_max_bytes.max(1_000).to_string(),
        );
    }
}

fn member(settings: &ClientSettings, config: &mut ClientConfig) {
    config
        .set("session.timeout.ms", millis(settings.session_timeout))
        .set("heartbeat.interval.ms", millis(settings.heartbeat_interval))
        .set("max.poll.interval.ms", millis(settings.max_poll_interval))
        // The members of a group must use the same strategy. All clients support `range`.
        .set("partition.assignment.strategy", "range");
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}
