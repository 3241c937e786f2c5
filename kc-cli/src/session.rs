//! A node that a command has open.

use std::time::Duration;

use kc::actors::NodeError;
use kc::core::chain::Usage;
use kc::{ErrorKind, Node, NodeBuilder};
use tokio::task::JoinHandle;

use crate::error::CliError;
use crate::neighbours::KnownNames;
use crate::pin;
use crate::status::StatusServer;
use crate::stop::{Ended, Until};
use crate::ui::Ui;
use crate::watch;

/// The time limit for closing a node and its clients.
pub(crate) const CLOSE_DEADLINE: Duration = Duration::from_secs(30);

/// The time that opening a node may still take after a signal or the time limit has ended the run, so that a call to a
/// token is not interrupted.
const OPEN_GRACE: Duration = Duration::from_secs(1);

/// An open node that answers `kc node status`, and reports on stderr the events that its operator should know.
#[derive(Debug)]
pub(crate) struct Session {
    open: Node,
    status: Option<StatusServer>,
    watching: JoinHandle<()>,
}

impl Session {
    /// Opens a node. If the run ends, and the node is still not open after [`OPEN_GRACE`], returns the cause that ended
    /// the run.
    pub(crate) async fn open(
        options: NodeBuilder,
        command: &'static str,
        ui: Ui,
        until: &mut Until,
    ) -> Result<Result<Self, Ended>, CliError> {
        let opened = until.or_after(OPEN_GRACE, Self::start(options, command, ui));
        match opened.await {
            Ok(opened) => opened.map(Ok),
            Err(ended) => Ok(Err(ended)),
        }
    }

    async fn start(options: NodeBuilder, command: &'static str, ui: Ui) -> Result<Self, CliError> {
        let open = pin::open(options).await?;
        let names = KnownNames::near(Some(open.files()));
        let watching = watch::start(&open, names, ui);
        let status = StatusServer::start(open.clone(), command)
            .inspect_err(|error| {
                tracing::warn!(%error, "status socket unavailable; `kc node status` cannot ask this process");
            })
            .ok();
        Ok(Self {
            open,
            status,
            watching,
        })
    }

    pub(crate) fn node(&self) -> &Node {
        &self.open
    }

    /// Checks that the node's chain grants one of these usages for a topic.
    ///
    /// # Errors
    /// [`Exit::Refused`](crate::error::Exit::Refused) if no chain of the node grants any of the usages.
    pub(crate) async fn require(&self, topic: &str, usages: &[Usage]) -> Result<(), CliError> {
        let granted = self.open.actors().authorize(topic, usages).await;
        granted.map_err(|error| {
            let NodeError::NotGranted(refusal) = error else {
                return error.into();
            };
            let names: Vec<_> = usages.iter().map(|usage| usage.as_str()).collect();
            let (node, names) = (self.open.config().node_id(), names.join(" or "));
            CliError::refused(
                format!("node {node} may not use topic {topic}, which needs the usage {names}"),
                &refusal,
            )
        })
    }

    /// Sends the queued records, and closes the node. Failures of Kafka and timeouts are only logged; other errors are
    /// returned.
    pub(crate) async fn close(self) -> Result<(), CliError> {
        if let Some(status) = self.status {
            status.stop().await;
        }
        self.watching.abort();
        match self.open.close_within(CLOSE_DEADLINE).await {
            Err(error) if matches!(error.kind(), ErrorKind::Kafka(_) | ErrorKind::Timeout) => {
                tracing::warn!(?error, "closing the node failed or took too long");
                Ok(())
            }
            closed => Ok(closed?),
        }
    }
}
