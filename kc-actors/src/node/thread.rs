use std::convert::Infallible;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use actix::{Actor, System};
use kc_core::backend::{BackendError, BackendErrorKind};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::supervisor::{Supervisor, SupervisorParts};
use super::{NodeError, ShutdownReport};
use crate::actors::custody::CloseCollector;
use crate::actors::gateway::CloseGateway;

/// The additional time after the deadline for closing a node. It is needed because calls that get the same deadline end
/// shortly after the deadline.
const GRACE: Duration = Duration::from_millis(500);

/// The thread that runs the actors of a node, except the actors that have a thread of their own. The thread ends on
/// request, or when the node is dropped.
#[derive(Debug)]
pub(super) struct NodeThread {
    stop: Mutex<Option<oneshot::Sender<Stop>>>,
    threads: Threads,
}

/// The request to close the gateway and to stop the actors.
#[derive(Debug)]
struct Stop {
    deadline: Duration,
    gateway: mpsc::Sender<Result<(), BackendError>>,
}

/// The names of the threads of a node that have not ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Threads(Arc<(Mutex<Vec<&'static str>>, Condvar)>);

/// A guard that a thread holds until it ends.
#[derive(Debug)]
pub(super) struct Running {
    name: &'static str,
    threads: Threads,
}

impl NodeThread {
    /// Starts the actors, and waits until all of them are started.
    pub(super) fn spawn(parts: SupervisorParts) -> Result<Self, NodeError> {
        let (ready, started) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let threads = parts.threads.clone();
        let running = threads.begin("node");
        let run = move || {
            let _running = running;
            System::new().block_on(run(parts, ready, stopped));
        };
        let thread = thread::Builder::new().name("kc-node".into()).spawn(run);
        thread.map_err(NodeError::Thread)?;
        started.recv().map_err(|_| NodeError::Closed)?;
        Ok(Self {
            stop: Mutex::new(Some(stop)),
            threads,
        })
    }

    pub(super) fn is_stopped(&self) -> bool {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        stop.is_none()
    }

    /// Closes the gateway, stops the actors, and waits until their threads have ended and their files are free. If a
    /// thread blocks, stops waiting for that thread shortly after the deadline.
    pub(super) async fn stop(&self, deadline: Duration) -> Result<ShutdownReport, NodeError> {
        let asked = Instant::now();
        let (gateway, closed) = mpsc::channel();
        let stop = self
            .stop
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let stop = stop.ok_or(NodeError::Closed)?;
        stop.send(Stop { deadline, gateway })
            .map_err(|_| NodeError::Closed)?;
        let threads = self.threads.clone();
        // This thread keeps the deadline even if the node's thread does not.
        let ended = run_on_thread(move || {
            let gateway = match closed.recv_timeout(deadline.saturating_add(GRACE * 2)) {
                Ok(gateway) => gateway,
                Err(RecvTimeoutError::Timeout) => Err(not_closed(BackendErrorKind::Timeout)),
                Err(RecvTimeoutError::Disconnected) => return Err(NodeError::Closed),
            };
            let left = deadline.saturating_sub(asked.elapsed());
            Ok(ShutdownReport {
                clients: Ok(()),
                gateway,
                still_running: threads.wait(left.saturating_add(GRACE)),
            })
        });
        ended.await.map_err(NodeError::Thread)?
    }
}

impl Threads {
    /// Counts a thread as running until the returned value is dropped.
    pub(super) fn begin(&self, name: &'static str) -> Running {
        let (running, _) = &*self.0;
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        running.push(name);
        Running {
            name,
            threads: self.clone(),
        }
    }

    /// Waits at most `patience` until all threads have ended. Returns the names of the threads that are still running.
    fn wait(&self, patience: Duration) -> Vec<&'static str> {
        let (running, ended) = &*self.0;
        let running = running.lock().unwrap_or_else(PoisonError::into_inner);
        let running = ended.wait_timeout_while(running, patience, |running| !running.is_empty());
        let (running, _) = running.unwrap_or_else(PoisonError::into_inner);
        running.clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (running, ended) = &*self.threads.0;
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = running.iter().position(|name| *name == self.name) {
            running.swap_remove(index);
        }
        ended.notify_all();
    }
}

async fn run(parts: SupervisorParts, ready: mpsc::Sender<()>, stopped: oneshot::Receiver<Stop>) {
    let (roles, tables) = (parts.roles.clone(), Arc::clone(&parts.tables));
    let mut supervisor = Supervisor::new(parts);
    supervisor.restart_dead();
    let _supervisor = supervisor.start();
    // Sending cannot fail: `NodeThread::spawn` waits for this message.
    let _ = ready.send(());
    if let Ok(Stop { deadline, gateway }) = stopped.await {
        let begun = Instant::now();
        // The slot is empty in a node that is not a custodian.
        let _ = timeout(deadline, roles.collector.close.send(CloseCollector)).await;
        let deadline = deadline.saturating_sub(begun.elapsed());
        let close = roles.gateway.close.send(CloseGateway { deadline });
        let closed = match timeout(deadline.saturating_add(GRACE), close).await {
            Ok(Ok(closed)) => closed,
            // The gateway has died. It is unknown which records it had not sent.
            Ok(Err(_)) => Err(not_closed(BackendErrorKind::Closed)),
            Err(_) => Err(not_closed(BackendErrorKind::Timeout)),
        };
        // Sending fails if the caller dropped its future.
        let _ = gateway.send(closed);
    }
    tables.close();
    roles.disconnect();
}

fn not_closed(kind: BackendErrorKind) -> BackendError {
    BackendError::new(kind, "close the client for control topics")
}

/// Runs `work`, which may wait for a disk or a token, on a new thread. Works without a runtime. If `work` panics, this
/// function panics, too.
///
/// # Errors
/// Returns an error if the thread cannot be started.
pub(super) async fn run_on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (ends, end) = oneshot::channel::<Infallible>();
    let work = move || {
        // Dropped when `work` has returned or panicked.
        let _ends = ends;
        work()
    };
    let thread = thread::Builder::new().name("kc-open".into()).spawn(work)?;
    // The thread sends no value: the receiver wakes when the sender is dropped.
    let _ = end.await;
    thread.join().or_else(|panic| resume_unwind(panic))
}

#[cfg(test)]
mod tests;
