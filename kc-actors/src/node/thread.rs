use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix::{Actor, System};
use kc_core::backend::{BackendError, BackendErrorKind};
use tokio::sync::oneshot;

use super::parts::RootParts;
use super::root::RootActor;
use super::{NodeError, ShutdownReport};
use crate::messages::CloseGateway;

/// How long the actors' threads may take to end once nobody can reach them.
const THREADS_DEADLINE: Duration = Duration::from_secs(10);

/// Has the actors stopped in order.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) deadline: Duration,
    pub(super) report: oneshot::Sender<ShutdownReport>,
}

/// Runs the actors on a thread of their own until they are stopped, or the node is dropped. The thread
/// ends when all of them have, so that their files are free.
pub(super) fn spawn(
    root: RootParts,
    ended: Receiver<Infallible>,
    stopped: oneshot::Receiver<Stop>,
) -> Result<JoinHandle<()>, NodeError> {
    let (ready, started) = mpsc::channel();
    let run = move || {
        let done = System::new().block_on(run(root, ready, stopped));
        // Nothing is ever sent: what is waited for is that nobody is left to send.
        let _ = ended.recv_timeout(THREADS_DEADLINE);
        if let Some((report, gateway)) = done {
            // Who asked may have gone.
            let _ = report.send(ShutdownReport { gateway });
        }
    };
    let thread = thread::Builder::new().name("kc-node".into()).spawn(run);
    let thread = thread.map_err(NodeError::Thread)?;
    started.recv().map_err(|_| NodeError::Closed)?;
    Ok(thread)
}

/// Where the end is reported, and how the gateway closed.
type Done = (oneshot::Sender<ShutdownReport>, Result<(), BackendError>);

async fn run(
    root: RootParts,
    ready: mpsc::Sender<()>,
    stopped: oneshot::Receiver<Stop>,
) -> Option<Done> {
    let (ports, tables) = (root.ports.clone(), Arc::clone(&root.tables));
    let _root = RootActor::new(root).start();
    while !ports.is_connected() {
        tokio::task::yield_now().await;
    }
    // The node is being started, so it listens.
    let _ = ready.send(());
    let done = match stopped.await {
        Ok(Stop { deadline, report }) => {
            let closed = ports.close_gateway.send(CloseGateway { deadline }).await;
            Some((report, closed.unwrap_or_else(|_| Err(died()))))
        }
        Err(_) => None,
    };
    tables.close();
    ports.disconnect();
    done
}

/// What a gateway had not sent when it died, nobody knows.
fn died() -> BackendError {
    BackendError::new(BackendErrorKind::Closed, "close the gateway")
}
