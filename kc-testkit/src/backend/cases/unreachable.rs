//! Brokers that cannot be reached.

use std::net::{Ipv4Addr, TcpListener};

use kc_core::backend::{Backend, BackendError, BackendErrorKind, GroupStart, Subscription};

use crate::backend::{Bench, Failure};
use crate::failure::{ensure, ensure_fails};

/// Every call fails in bounded time and names the address if no broker listens.
///
/// # Errors
/// [`Failure::Broken`] if the backend breaks this promise; [`Failure::Backend`] if another call fails.
pub async fn nobody_listens(bench: &Bench) -> Result<(), Failure> {
    let address = free_address()?;
    let backend = bench.backend_at(&address);
    for (what, result) in attempts(&*backend).await {
        let error = ensure_fails(what, result, &[BackendErrorKind::Unreachable])?;
        let named = error.to_string().contains(&address);
        ensure(named, || format!("{what}: no address in {error}"))?;
        ensure(error.is_retriable(), || format!("{what}: not retriable"))?;
    }
    Ok(())
}

/// Connects each kind of client.
pub(super) async fn attempts(
    backend: &dyn Backend,
) -> [(&'static str, Result<(), BackendError>); 4] {
    let topics = Subscription::to(["topic"]);
    let (admin, producer, reader, consumer) = tokio::join!(
        backend.admin(),
        backend.producer(),
        backend.log_reader(Some("group")),
        backend.group_consumer("group", &topics, GroupStart::Latest),
    );
    [
        ("admin", admin.map(drop)),
        ("producer", producer.map(drop)),
        ("log reader", reader.map(drop)),
        ("group consumer", consumer.map(drop)),
    ]
}

/// Returns an address of this host that is free at the moment.
pub(super) fn free_address() -> Result<String, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.to_string())
        .map_err(|error| Failure::Broken(format!("no free port: {error}")))
}
