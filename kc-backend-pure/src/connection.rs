//! A connection to the cluster.

use std::time::Duration;

use kc_core::backend::{BackendError, BackendErrorKind, ClientSettings};
use krafka::Kafka;

use crate::error::failed;
use crate::security::security;

/// Longest time to establish one connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects; `role` is for the error. Whether a missing topic may be created by asking for it is said by
/// `auto_create`.
pub(crate) async fn connect(
    settings: &ClientSettings,
    role: &str,
    auto_create: bool,
) -> Result<Kafka, BackendError> {
    let context = || format!("connect {role} to {}", settings.bootstrap_servers);
    let mut builder = Kafka::builder(&settings.bootstrap_servers)
        .client_id(&settings.client_id)
        .request_timeout(settings.request_timeout)
        .connect_timeout(settings.request_timeout.min(CONNECT_TIMEOUT))
        .metadata_max_age(settings.metadata_max_age)
        .connections_max_idle(Some(settings.connections_max_idle))
        .allow_auto_create_topics(auto_create);
    if let Some(security) = security(settings) {
        builder = builder.security(security);
    }
    match tokio::time::timeout(settings.request_timeout, builder.connect()).await {
        Ok(Ok(kafka)) => Ok(kafka),
        Ok(Err(error)) => {
            let error = failed(context(), error);
            if error.kind() == BackendErrorKind::Timeout {
                return Err(unreachable_brokers(context()).with_source(error));
            }
            Err(error)
        }
        Err(elapsed) => Err(unreachable_brokers(context()).with_source(elapsed)),
    }
}

fn unreachable_brokers(context: String) -> BackendError {
    BackendError::new(BackendErrorKind::Unreachable, context)
}
