//! Waiting for the first answer of a broker.

use std::time::{Duration, Instant};

use kc_core::backend::{BackendError, BackendErrorKind, ClientSettings};
use rdkafka::ClientContext;
use rdkafka::client::Client;

use crate::events::Events;
use crate::probe::{self, Listener};

/// How long to wait for an answer before looking at events; then twice as long, and so on, for brokers far away.
const FIRST_WAIT: Duration = Duration::from_millis(50);

/// How early librdkafka may end a wait.
const PUNCTUALITY: Duration = Duration::from_millis(10);

/// Waits until a broker answers, or it is clear that none will. `role` is for the error; `serve` lets librdkafka
/// bring its events.
///
/// # Errors
/// `Unreachable`, `Tls`, `Authentication`, ...
pub(crate) fn await_broker<C: ClientContext>(
    settings: &ClientSettings,
    role: &str,
    client: &Client<C>,
    events: &Events,
    serve: impl Fn(),
) -> Result<(), BackendError> {
    let context = format!("connect {role} to {}", settings.bootstrap_servers);
    let end = Instant::now() + settings.request_timeout;
    let mut wait = FIRST_WAIT;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let answered = has_answered(client, wait.min(left));
        serve();
        if answered {
            events.success();
            return Ok(());
        }
        if let Some(failure) = events.failure(&context) {
            return Err(failure);
        }
        if events.take_all_down()
            && let Some(kind) = hopeless(settings)
        {
            return Err(unanswered(kind, context, events));
        }
        if left.is_zero() {
            return Err(unanswered(BackendErrorKind::Unreachable, context, events));
        }
        wait = wait.saturating_mul(2);
    }
}

/// Whether a broker has told about the cluster; waits for that. The cluster's id ends the wait, and so does an answer
/// without one, which is all that tells it from none.
fn has_answered<C: ClientContext>(client: &Client<C>, wait: Duration) -> bool {
    // A consumer looks for a broker only once a second, unless it is asked something. This does not wait for the answer.
    let _ = client.fetch_metadata(None, Duration::ZERO);
    let start = Instant::now();
    client.fetch_cluster_id(wait).is_some() || start.elapsed() + PUNCTUALITY < wait
}

/// Why waiting does not help, now that no broker could be connected to. It does if one listens: a host may have
/// addresses that are tried later, and brokers that start hang up on their clients.
fn hopeless(settings: &ClientSettings) -> Option<BackendErrorKind> {
    let has_tls = settings.tls.is_some();
    match probe::ask(&settings.bootstrap_servers) {
        Listener::Nobody => Some(BackendErrorKind::Unreachable),
        Listener::Plaintext if has_tls => Some(BackendErrorKind::Tls),
        Listener::Tls if !has_tls => Some(BackendErrorKind::Tls),
        _ => None,
    }
}

fn unanswered(kind: BackendErrorKind, context: String, events: &Events) -> BackendError {
    let error = BackendError::new(kind, context);
    match events.reason() {
        Some(reason) => error.with_source(reason),
        None => error,
    }
}
