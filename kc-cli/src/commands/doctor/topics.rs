//! The topics of the node, and its accesses to them.

use std::collections::BTreeSet;
use std::time::Duration;

use kc::core::access::ResourceKind;
use kc::core::backend::{MAX_LOG_PARTITIONS, Retention, TopicSpec};
use kc::core::text::{counted, with_sources};
use kc::core::types::SideTopic;
use kc::{BackendError, BackendErrorKind};

use super::broker::{AsFindings, Cluster};
use super::finding::{Check, Findings};
use crate::args::shown_duration;
use crate::commands::access::accesses;
use crate::commands::reach::judge;
use crate::error::CliError;
use crate::stored::StoredNode;

/// The time limit of a call to the broker.
const DEADLINE: Duration = Duration::from_secs(10);

const RIGHTS: &str = "ask the administrator of the cluster for the right to describe the topic";

/// Checks the data topics, their side topics and the management topics. Returns the data topics that exist.
pub(super) async fn check(
    node: &StoredNode,
    topics: &[String],
    cluster: &Cluster,
    fix: bool,
    findings: &mut Findings,
) -> Result<Vec<String>, CliError> {
    let mut there = Vec::new();
    let mut missing = BTreeSet::new();
    let mut side_topics = BTreeSet::new();
    for topic in topics {
        match exists(topic, cluster).await {
            Ok(Some(partitions)) => {
                findings.ok(Check::TopicsExist, topic, counted(partitions, "partition"))?;
                there.push(topic.clone());
            }
            Ok(None) => {
                missing.insert(topic.clone());
                let advice = format!("kc topics create {topic} -b {}", cluster.connection.servers);
                let detail = "the data topic does not exist, or this user may not describe it";
                findings.fail(Check::TopicsExist, topic, detail, advice)?;
            }
            Err(error) => unknown(Check::TopicsExist, topic, &error, findings)?,
        }
        let scheme = &cluster.connection.scheme;
        let root = scheme.root_of(topic);
        let sides = [
            SideTopic::Requests,
            SideTopic::Keys,
            SideTopic::Subscriptions,
        ];
        side_topics.extend(sides.map(|side| scheme.side_topic(&root, side)));
    }
    let management = cluster.connection.management.names().map(str::to_owned);
    let control = side_topics.into_iter().map(|topic| (topic, true));
    for (topic, is_side) in control.chain(management.into_iter().map(|topic| (topic, false))) {
        if !control_topic(&topic, is_side, cluster, fix, findings).await? {
            missing.insert(topic);
        }
    }
    access(node, topics, &missing, cluster, findings).await?;
    Ok(there)
}

async fn exists(topic: &str, cluster: &Cluster) -> Result<Option<usize>, BackendError> {
    cluster.admin.partitions(topic, false, DEADLINE).await
}

fn unknown(
    check: Check,
    topic: &str,
    error: &BackendError,
    findings: &mut Findings,
) -> Result<(), CliError> {
    findings.fail(
        check,
        topic,
        with_sources(error),
        error.advice().unwrap_or(RIGHTS),
    )
}

/// Checks a side or management topic. Returns whether it exists.
async fn control_topic(
    topic: &str,
    is_side: bool,
    cluster: &Cluster,
    fix: bool,
    findings: &mut Findings,
) -> Result<bool, CliError> {
    const REST: [Check; 2] = [Check::TopicsPartitions, Check::TopicsRetention];
    let check = Check::TopicsExist;
    let partitions = match exists(topic, cluster).await {
        Ok(Some(partitions)) => {
            findings.ok(check, topic, "exists")?;
            partitions
        }
        Ok(None) if fix => match cluster
            .admin
            .create_topic(&TopicSpec::control(topic), DEADLINE)
            .await
        {
            Err(error) if error.kind() != BackendErrorKind::TopicExists => {
                let advice = error
                    .advice()
                    .unwrap_or("ask the administrator of the cluster to create the topic");
                findings.fail(check, topic, with_sources(&error), advice)?;
                findings.skip_all(&REST, topic, check)?;
                return Ok(false);
            }
            _ => {
                findings.fixed(check, topic, "created, with one partition and compaction")?;
                1
            }
        },
        Ok(None) => {
            let servers = &cluster.connection.servers;
            if is_side {
                let advice = format!(
                    "`kc doctor --fix` creates it; so does `kc topics create` with the data topic and -b {servers}"
                );
                let detail = "the side topic does not exist, so no data keys are exchanged";
                findings.fail(check, topic, detail, advice)?;
                findings.skip_all(&REST, topic, check)?;
            } else {
                let advice = format!(
                    "`kc doctor --fix` creates it; so does `kc topics create {topic} -b {servers}`"
                );
                let detail =
                    "the management topic does not exist, so no chain and no denial arrives";
                findings.warn(check, topic, detail, advice)?;
            }
            return Ok(false);
        }
        Err(error) => {
            unknown(check, topic, &error, findings)?;
            findings.skip_all(&REST, topic, check)?;
            return Ok(false);
        }
    };
    self::partitions(topic, partitions, findings)?;
    retention(topic, cluster, findings).await?;
    Ok(true)
}

fn partitions(topic: &str, partitions: usize, findings: &mut Findings) -> Result<(), CliError> {
    let check = Check::TopicsPartitions;
    let most = usize::try_from(MAX_LOG_PARTITIONS).unwrap_or(usize::MAX);
    let detail = counted(partitions, "partition");
    let advice = "create the topic again with one partition, when no node runs: records in it are requests and replies, which \
                  the nodes send again; of management topics, publish the lists again";
    if partitions > most {
        let detail = format!("{detail}: kc reads only the first {most}");
        findings.fail(check, topic, detail, advice)
    } else if partitions > 1 {
        let detail = format!("{detail}: nodes of the Python and Java peers read only the first");
        findings.warn(check, topic, detail, advice)
    } else {
        findings.ok(check, topic, detail)
    }
}

async fn retention(
    topic: &str,
    cluster: &Cluster,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let check = Check::TopicsRetention;
    match cluster.admin.retention(topic, DEADLINE).await {
        Ok(Some(Retention::Forever)) => findings.ok(check, topic, "compacted, or kept without a limit of time"),
        Ok(Some(Retention::For(time))) => findings.warn(
            check,
            topic,
            format!("not only compacted: records are deleted after {}", shown_duration(time)),
            format!(
                "kafka-configs.sh --bootstrap-server {} --alter --topic {topic} --add-config cleanup.policy=compact",
                cluster.connection.servers
            ),
        ),
        Ok(None) => findings.skip(
            check,
            topic,
            "not known: the broker or the backend does not say",
            "look at cleanup.policy and retention.ms of the topic with the tools of the broker",
        ),
        Err(error) => findings.skip(
            check,
            topic,
            format!("not known: {}", with_sources(&error)),
            error.advice().unwrap_or("the right DescribeConfigs on the topic is needed"),
        ),
    }
}

/// Checks each access that the node needs, except those to topics that are missing.
async fn access(
    node: &StoredNode,
    topics: &[String],
    missing: &BTreeSet<String>,
    cluster: &Cluster,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let needed = accesses(node, topics, false, &cluster.connection)?;
    for access in &needed {
        if access.kind == ResourceKind::Topic && missing.contains(&access.name) {
            let target = format!("topic {}", access.name);
            findings.skip_all(&[Check::TopicsAccess], &target, Check::TopicsExist)?;
        } else {
            judge(access, cluster.admin.as_ref(), &mut AsFindings(findings)).await?;
        }
    }
    Ok(())
}
