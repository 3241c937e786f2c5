//! The connection to the cluster, and the settings for it.

use kc::core::backend::Admin;

use super::Args;
use super::finding::{Check, Findings};
use super::settings::names_broker;
use crate::args::Connection;
use crate::commands::reach::{Step, StepKind, Steps, connect};
use crate::error::CliError;
use crate::stored::StoredNode;
use crate::ui::Ui;

/// A cluster that can be reached.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) connection: Connection,
    pub(super) admin: Box<dyn Admin>,
}

/// Reports the steps of a connection as findings.
pub(super) struct AsFindings<'f>(pub(super) &'f mut Findings);

impl Steps for AsFindings<'_> {
    fn report(&mut self, step: Step) -> Result<(), CliError> {
        let check = match step.kind {
            StepKind::Resolve => Check::BrokerResolve,
            StepKind::Connect => Check::BrokerConnect,
            StepKind::Tls => Check::BrokerTls,
            StepKind::Sasl => Check::BrokerSasl,
            StepKind::Versions => Check::BrokerVersions,
            StepKind::Advertised => Check::BrokerAdvertised,
            StepKind::Brokers => Check::BrokerAnswers,
            StepKind::Topics => Check::BrokerTopics,
            StepKind::Access => Check::TopicsAccess,
        };
        match &step.advice {
            Some(advice) => self.0.fail(check, &step.target, &step.detail, advice),
            None => self.0.ok(check, &step.target, &step.detail),
        }
    }
}

/// Connects to the cluster that the flags or the configuration name. Returns it, or the check that failed.
pub(super) async fn check(
    args: &Args,
    node: &StoredNode,
    ui: Ui,
    findings: &mut Findings,
) -> Result<Result<Cluster, Check>, CliError> {
    if findings.has_failed(Check::ConfigKafka) {
        return Ok(Err(Check::ConfigKafka));
    }
    if !args.connection.names_broker() && !names_broker(node)? {
        findings.fail(
            Check::BrokerResolve,
            "brokers",
            "neither the flags nor the configuration name a broker",
            "give -b HOST:PORT, or set bootstrap_servers; --offline checks only the files",
        )?;
        return Ok(Err(Check::BrokerResolve));
    }
    let name = args.node.node.as_str();
    let connection = args.connection.connect(Some(name), &args.copies, ui)?;
    let admin = connect(&connection, &mut AsFindings(findings)).await?;
    let steps = [
        Check::BrokerAnswers,
        Check::BrokerAdvertised,
        Check::BrokerVersions,
        Check::BrokerSasl,
        Check::BrokerTls,
        Check::BrokerConnect,
    ];
    let failed = steps.into_iter().find(|check| findings.has_failed(*check));
    Ok(match admin {
        Some(admin) => Ok(Cluster { connection, admin }),
        None => Err(failed.unwrap_or(Check::BrokerResolve)),
    })
}
