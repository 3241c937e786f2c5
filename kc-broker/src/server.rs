//! The listening socket: one task accepts, one task a connection serves.

mod activity;
mod connection;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use self::activity::{Activity, Moments, Open};
use crate::limits::MAX_CONNECTIONS;
use crate::state::Shared;

/// How long to leave the socket alone after it could not accept, as when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop` is sent or its sender is dropped; then closes all connections.
pub(crate) async fn run(listener: TcpListener, shared: Arc<Shared>, stop: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    tokio::select! {
        _ = stop => {}
        () = accept(&listener, &shared, &mut connections) => {}
        () = shared.run_group_timer() => {}
    }
    drop(listener);
    connections.shutdown().await;
    tracing::info!("broker stopped");
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>, connections: &mut JoinSet<()>) {
    let (moments, mut open) = (Moments::default(), Open::default());
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    if open.count() >= MAX_CONNECTIONS && !open.close_silent() {
                        tracing::warn!(%client, limit = MAX_CONNECTIONS, "too many connections");
                        continue;
                    }
                    let activity = moments.activity();
                    let serving = serve(stream, client, Arc::clone(shared), activity.clone());
                    open.add(connections.spawn(serving), activity);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended && !error.is_cancelled() {
                    tracing::error!(%error, "a connection's task failed");
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, client: SocketAddr, shared: Arc<Shared>, activity: Activity) {
    tracing::debug!(%client, "connected");
    match connection::serve(stream, client, &shared, &activity).await {
        Ok(()) => tracing::debug!(%client, "disconnected"),
        Err(error) if error.is_hang_up() => tracing::debug!(%client, %error, "disconnected"),
        Err(error) => tracing::warn!(%client, %error, "connection closed"),
    }
}
