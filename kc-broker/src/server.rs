//! The listening socket: one task accepts connections, and one task serves each connection.

mod connection;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

use crate::limits::MAX_CONNECTIONS;
use crate::state::Shared;

/// The pause after the socket could not accept a connection, for example because the process has no free file
/// descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves clients until the sender of `stop` sends a value or is dropped. Then closes all connections.
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
                        tracing::warn!(%client, limit = MAX_CONNECTIONS, "connection refused: too many connections");
                        continue;
                    }
                    let activity = moments.activity();
                    let serving = serve(stream, client, Arc::clone(shared), activity.clone());
                    open.add(connections.spawn(serving), activity);
                }
                Err(error) => {
                    tracing::warn!(%error, "connection cannot be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended && !error.is_cancelled() {
                    tracing::error!(%error, "connection task failed");
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, client: SocketAddr, shared: Arc<Shared>, activity: Activity) {
    tracing::debug!(%client, "client connected");
    match connection::serve(stream, client, &shared, &activity).await {
        Ok(()) => tracing::debug!(%client, "client disconnected"),
        Err(error) if error.is_hang_up() => tracing::debug!(%client, %error, "client disconnected"),
        Err(error) => tracing::warn!(%client, %error, "connection closed"),
    }
}

/// The value of `silent_since` while a request is being served.
const BUSY: u64 = u64::MAX;

/// A counter that orders the moments at which connections became silent.
#[derive(Debug, Default)]
struct Moments(Arc<AtomicU64>);

impl Moments {
    fn activity(&self) -> Activity {
        let activity = Activity {
            moments: Arc::clone(&self.0),
            silent_since: Arc::new(AtomicU64::new(BUSY)),
        };
        activity.rests();
        activity
    }
}

/// The state of a connection: a request is being served, or the connection is silent.
#[derive(Clone, Debug)]
struct Activity {
    moments: Arc<AtomicU64>,
    silent_since: Arc<AtomicU64>,
}

impl Activity {
    /// Records that a request is being served.
    fn works(&self) {
        self.silent_since.store(BUSY, Ordering::Relaxed);
    }

    /// Records that the connection waits for its next request.
    fn rests(&self) {
        let moment = self.moments.fetch_add(1, Ordering::Relaxed);
        self.silent_since.store(moment, Ordering::Relaxed);
    }
}

/// The open connections.
#[derive(Debug, Default)]
struct Open(Vec<(AbortHandle, Activity)>);

impl Open {
    fn add(&mut self, task: AbortHandle, activity: Activity) {
        self.0.push((task, activity));
    }

    /// Returns the number of open connections.
    fn count(&mut self) -> usize {
        self.0.retain(|(task, _)| !task.is_finished());
        self.0.len()
    }

    /// Closes the connection that has been silent longest. Returns false if no connection is silent.
    fn close_silent(&mut self) -> bool {
        let since = |activity: &Activity| activity.silent_since.load(Ordering::Relaxed);
        let silent = self.0.iter().enumerate();
        let silent = silent.map(|(place, (_, activity))| (since(activity), place));
        let longest = silent.filter(|(since, _)| *since != BUSY).min();
        let Some((_, place)) = longest else {
            return false;
        };
        self.0.swap_remove(place).0.abort();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_one_that_has_been_silent_longest_makes_room() {
        let (moments, mut open) = (Moments::default(), Open::default());
        let tasks: Vec<_> = (0..3)
            .map(|_| tokio::spawn(std::future::pending::<()>()))
            .collect();
        let [first, second, third] = [(); 3].map(|()| moments.activity());
        for (task, activity) in tasks.iter().zip([&first, &second, &third]) {
            open.add(task.abort_handle(), activity.clone());
        }
        first.works();
        second.works();
        second.rests();
        assert_eq!(open.count(), 3);
        assert!(open.close_silent());
        let mut tasks = tasks.into_iter();
        let (serving, silent, longest) = (tasks.next(), tasks.next(), tasks.next());
        assert!(longest.unwrap().await.unwrap_err().is_cancelled());
        assert!(open.close_silent());
        assert!(silent.unwrap().await.unwrap_err().is_cancelled());
        assert!(!open.close_silent(), "the last is being served");
        assert!(!serving.unwrap().is_finished());
        assert_eq!(open.count(), 1);
    }
}
