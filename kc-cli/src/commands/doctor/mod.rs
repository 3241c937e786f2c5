//! `kc doctor`: all checks of a node, from its files to the answers of other nodes.
//!
//! | module | checks |
//! |---|---|
//! | `finding` | the ids of all checks, and the printing of results |
//! | `files` | files, permissions, folder, disk, lock |
//! | `settings` | the configuration |
//! | `trust`, `chain` | roots of trust, certificate chains |
//! | `ratchet` | the ratchet, and keys on a token |
//! | `broker`, `topics` | the connection, topics and accesses |
//! | `clock`, `exchange` | the times of records, the answers of other nodes; `tail` reads the last records of topics |

mod broker;
mod chain;
mod clock;
mod exchange;
mod files;
mod finding;
mod ratchet;
mod settings;
mod tail;
mod topics;
mod trust;

use std::time::Duration;

use kc::keystore_file::{NodeFiles, SearchPlaces, find_node};

use self::broker::Cluster;
use self::chain::Granted;
use self::finding::{Check, Findings};
use crate::args::{ConnectionArgs, CopiesArg, NodeArg, PinArg, duration};
use crate::error::{CliError, Exit};
use crate::status::Report;
use crate::stop::{Stop, Until};
use crate::stored::StoredNode;
use crate::ui::Ui;

/// Check a node, its topics and the answers of other nodes, and say what is wrong and what to do
///
/// Each line is the result of a check: ok, warn (works, but should change), FAIL, or skip (not possible, with the
/// reason). The exit code is 5 if a check fails, else 0. A running node is asked, and not locked. A stopped consumer is
/// opened for a moment, to request the data keys of the last records.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    node: NodeArg,

    /// The data topics that the node shall use [default: the topics that the node's chain grants by name]
    #[arg(
        long,
        value_name = "TOPIC,...",
        value_delimiter = ',',
        help_heading = "Checks"
    )]
    topics: Vec<String>,

    /// Warn of chains that end within this time
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "7d", help_heading = "Checks")]
    ends_within: Duration,

    /// The time to wait for the answers to a request, for each topic
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s", help_heading = "Checks")]
    timeout: Duration,

    /// Check only the files, and contact no broker
    #[arg(long, help_heading = "Checks")]
    offline: bool,

    /// Correct what can be corrected without any loss: permissions of secret files, and missing side and management
    /// topics
    #[arg(long, help_heading = "Checks")]
    fix: bool,

    /// Print a JSON object on each line
    #[arg(long, help_heading = "Output")]
    json: bool,

    #[command(flatten)]
    copies: CopiesArg,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// The checks of the content of the files.
const OF_CONTENT: [Check; 16] = [
    Check::FilesLock,
    Check::ConfigKafka,
    Check::ConfigUnknown,
    Check::ConfigIdle,
    Check::ConfigRisk,
    Check::TrustRoots,
    Check::TrustPassword,
    Check::TrustClassical,
    Check::ChainValid,
    Check::ChainEnd,
    Check::ChainLength,
    Check::ChainUsages,
    Check::ChainTopics,
    Check::RatchetState,
    Check::RatchetCopy,
    Check::TokenKeys,
];
/// The checks that need a broker.
const OF_CLUSTER: [Check; 6] = [
    Check::TopicsExist,
    Check::TopicsPartitions,
    Check::TopicsRetention,
    Check::TopicsAccess,
    Check::ClockRecords,
    Check::ExchangeAnswers,
];

pub(crate) async fn run(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let files = find_node(&args.node.node, &SearchPlaces::from_environment())?;
    let mut until = Until::new(stop, None);
    let mut findings = Findings::new(ui, args.json);
    if let Some(stored) = offline(&args, &files, &mut findings).await?
        && !args.offline
    {
        online(&args, &stored, ui, &mut until, &mut findings).await?;
    }
    findings.end()
}

fn interrupted() -> CliError {
    CliError::new(Exit::Interrupted, "interrupted before all checks were done")
}

/// What the checks of the files have found out about a node.
struct Examined {
    node: StoredNode,
    /// `None` if the state of the node is not known.
    report: Option<Report>,
    /// `None` if no chain is valid.
    granted: Option<Granted>,
}

/// Makes the checks that need no broker. Returns `None` if the files cannot be read.
async fn offline(
    args: &Args,
    files: &NodeFiles,
    findings: &mut Findings,
) -> Result<Option<Examined>, CliError> {
    let Some(node) = files::check(files, args.fix, findings)? else {
        findings.skip_all(&OF_CONTENT, "node", Check::FilesContent)?;
        return Ok(None);
    };
    let report = files::lock(files, findings).await?;
    settings::check(&node, findings)?;
    trust::check(&node, findings)?;
    let granted = chain::check(&node, &args.topics, args.ends_within, findings)?;
    ratchet::check(&node, granted.as_ref(), findings)?;
    ratchet::token(&node, report.as_ref(), findings)?;
    Ok(Some(Examined {
        node,
        report,
        granted,
    }))
}

/// Makes the checks that need a broker. A signal ends them.
async fn online(
    args: &Args,
    examined: &Examined,
    ui: Ui,
    until: &mut Until,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let node = &examined.node;
    let reached = until.or(broker::check(args, node, ui, findings)).await;
    let cluster = match reached.map_err(|_| interrupted())?? {
        Ok(cluster) => cluster,
        Err(failed) => return findings.skip_all(&OF_CLUSTER, "cluster", failed),
    };
    let in_cluster = of_cluster(args, examined, &cluster, ui, until, findings).await;
    cluster.admin.close().await;
    in_cluster
}

async fn of_cluster(
    args: &Args,
    examined: &Examined,
    cluster: &Cluster,
    ui: Ui,
    until: &mut Until,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let node = &examined.node;
    let Some(granted) = &examined.granted else {
        return findings.skip_all(&OF_CLUSTER, "topics", Check::ChainValid);
    };
    let topics = match args.topics.as_slice() {
        [] => &granted.by_name,
        _ => &args.topics,
    };
    if topics.is_empty() && granted.has_messages() {
        let detail = "the chain grants no topic by name";
        for check in OF_CLUSTER {
            findings.skip(
                check,
                "topics",
                detail,
                "name the data topics: --topics TOPIC,...",
            )?;
        }
        return Ok(());
    }
    let checking = topics::check(node, topics, cluster, args.fix, findings);
    let there = until.or(checking).await.map_err(|_| interrupted())??;
    let checking = clock::check(cluster, &there, findings);
    until.or(checking).await.map_err(|_| interrupted())??;
    let Some(report) = &examined.report else {
        return findings.skip_all(&[Check::ExchangeAnswers], "requests", Check::FilesLock);
    };
    if let Some(running) = &report.running {
        return exchange::of_running(running, findings);
    }
    let check = Check::ExchangeAnswers;
    if report.in_use.is_some() {
        let advice = "stop the process that has the node open, or give the node a process that reports its status";
        return findings.skip(
            check,
            "requests",
            "the node is in use, and does not report its status",
            advice,
        );
    }
    if !granted.consumes {
        return findings.ok(check, "requests", "none: the node requests no data keys");
    }
    exchange::ask(args, &there, cluster, ui, until, findings).await
}
