//! A node while a command has it open.

use std::sync::Arc;
use std::time::Duration;

use kc::core::chain::Usage;
use kc::{NodeOptions, OpenNode};
use tokio::task::JoinHandle;

use crate::error::CliError;
use crate::neighbours::KnownNames;
use crate::pin;
use crate::status::StatusServer;
use crate::ui::Ui;
use crate::until::{Ended, Until};
use crate::watch;

/// How long closing may take: of a node, and of what is closed at the same time.
pub(crate) const CLOSE_DEADLINE: Duration = Duration::from_secs(30);

/// How long opening may still take when a run has ended: a token is better not left in the midst of a call.
const OPEN_GRACE: Duration = Duration::from_secs(1);

/// An open node that answers `kc node status`, and reports on stderr what its operator should know.
#[derive(Debug)]
pub(crate) struct Session {
    open: Arc<OpenNode>,
    status: Option<StatusServer>,
    watching: JoinHandle<()>,
}

impl Session {
    /// Opens a node, unless the run ends before.
    pub(crate) async fn open(
        options: NodeOptions,
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

    async fn start(options: NodeOptions, command: &'static str, ui: Ui) -> Result<Self, CliError> {
        let open = Arc::new(pin::open(options).await?);
        let names = KnownNames::near(Some(open.files()));
        let roots = open
            .node
            .roots()
            .map(kc::core::keys::VerifyingKey::fingerprint);
        let watching = watch::start(open.node.events(), roots.collect(), names, ui);
        let status = StatusServer::start(Arc::clone(&open), command)
            .inspect_err(|error| tracing::warn!(%error, "`kc node status` will not work"))
            .ok();
        Ok(Self {
            open,
            status,
            watching,
        })
    }

    pub(crate) fn node(&self) -> &OpenNode {
        &self.open
    }

    /// Makes sure that the node's chain grants one of these usages for a topic.
    pub(crate) async fn require(&self, topic: &str, usages: &[Usage]) -> Result<(), CliError> {
        let granted = self.open.node.authorize(topic, usages).await?;
        granted.map_err(|refusal| {
            let names: Vec<_> = usages.iter().map(|usage| usage.as_str()).collect();
            let (node, names) = (self.open.config().node_id(), names.join(" or "));
            CliError::refused(
                format!("node {node} may not use topic {topic} ({names})"),
                &refusal,
            )
        })
    }

    /// Closes the node: what is to be sent is sent.
    pub(crate) async fn close(self) -> Result<(), CliError> {
        if let Some(status) = self.status {
            status.stop().await;
        }
        self.watching.abort();
        let Some(open) = Arc::into_inner(self.open) else {
            return Err(CliError::failure("the node is still in use"));
        };
        let report = open.node.shutdown(CLOSE_DEADLINE).await?;
        if let Err(error) = report.gateway {
            tracing::warn!(%error, "not everything was sent to the side topics");
        }
        if !report.still_running.is_empty() {
            let running = report.still_running.join(", ");
            tracing::warn!(%running, "the node was not closed in time");
        }
        Ok(())
    }
}
