//! The answers of other nodes to requests for data keys.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kc::core::text::{counted, with_sources};
use kc::core::types::{KeyId, SideTopic};
use kc::{Clock, EventListener, NodeEvent, Opener, Reason};
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::broker::Cluster;
use super::finding::{Check, Findings};
use super::{Args, clock, tail};
use crate::args::shown_duration;
use crate::commands::inspect::{Openings, Owners, Scan, await_keys};
use crate::error::CliError;
use crate::neighbours::KnownNames;
use crate::session::Session;
use crate::status::Running;
use crate::stop::Until;
use crate::ui::Ui;

const CHECK: Check = Check::ExchangeAnswers;

const START_PRODUCER: &str = "start the producer, `kc node serve` on its files, or its custodian; `kc inspect` shows whose \
                              keys are missing, and `kc node status` of a running node shows refused answers";

/// Reports what a running node says about its requests.
pub(super) fn of_running(running: &Running, findings: &mut Findings) -> Result<(), CliError> {
    for (root, keys) in &running.unanswered {
        findings.fail(
            CHECK,
            root,
            format!(
                "the running node has had no answer for {}",
                counted(*keys, "data key")
            ),
            START_PRODUCER,
        )?;
    }
    if running.unanswered.is_empty() {
        let detail = format!(
            "no request of the running node waits for an answer; it has {}, and has answered {}",
            counted(running.opening_keys, "data key"),
            counted(running.answered, "request")
        );
        findings.ok(CHECK, "requests", detail)?;
    }
    let check = Check::ExchangeCustody;
    let Some(roots) = &running.custody else {
        return findings.ok(check, "keys of other nodes", "the node is no custodian");
    };
    for root in roots.iter().filter(|root| root.pending > 0) {
        findings.warn(
            check,
            &root.root,
            format!("this custodian still misses {}", counted(root.pending, "data key")),
            "let the producers run until the custodian has their keys: `kc produce --custodian NAME`",
        )?;
    }
    match roots.iter().all(|root| root.pending == 0) {
        true => findings.ok(check, "keys of other nodes", "this custodian misses none"),
        false => Ok(()),
    }
}

/// Opens the stopped node, requests the data keys of the last records of each topic as a consumer does, and reports who
/// answered after which time. Ends with a signal, but closes the node before.
pub(super) async fn ask(
    args: &Args,
    topics: &[String],
    cluster: &Cluster,
    ui: Ui,
    until: &mut Until,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let mut asked = Vec::new();
    for topic in topics {
        let mut scan = Scan::default();
        let backend = cluster.connection.backend.as_ref();
        let read = tail::read(backend, std::slice::from_ref(topic), |record| {
            scan.add(record)
        })
        .await;
        if let Err(error) = read {
            let advice = error
                .advice()
                .unwrap_or("the right Read on the topic is needed");
            findings.skip(CHECK, topic, with_sources(&error), advice)?;
        } else if scan.samples.is_empty() {
            let detail =
                "the topic has no sealed record to ask for, among the last of each partition";
            findings.skip(
                CHECK,
                topic,
                detail,
                "run kc doctor again when a producer has sent records",
            )?;
        } else {
            asked.push((topic, scan));
        }
    }
    if asked.is_empty() {
        return Ok(());
    }
    let options = args.connection.node(&args.node.node, ui);
    let options = args.pin.of(args.copies.of(options));
    let session = match Session::open(options, "doctor", ui, until).await {
        Ok(Ok(session)) => session,
        Ok(Err(_)) => return Err(super::interrupted()),
        Err(error) => {
            let advice = error
                .advice()
                .unwrap_or("correct what the checks above name");
            return findings.fail(CHECK, "node", format!("cannot be opened: {error}"), advice);
        }
    };
    let mut asking = Asking {
        opener: session.node().opener(),
        events: session.node().events(),
        names: KnownNames::near(Some(session.node().files())),
        patience: args.timeout,
        cluster,
    };
    let mut result = Ok(());
    for (topic, scan) in &asked {
        let asking = until.or(asking.ask(topic, scan, findings)).await;
        result = asking.unwrap_or_else(|_| Err(super::interrupted()));
        if result.is_err() {
            break;
        }
    }
    session.close().await?;
    result
}

/// An open node that requests data keys.
struct Asking<'c> {
    opener: Opener,
    events: EventListener,
    names: KnownNames,
    patience: Duration,
    cluster: &'c Cluster,
}

/// The data keys that other nodes sent.
#[derive(Debug, Default)]
struct Answers {
    /// The time to the first answer of each node.
    after: BTreeMap<String, Duration>,
    /// The nodes that sent each data key.
    givers: BTreeMap<KeyId, BTreeSet<String>>,
}

impl Asking<'_> {
    async fn ask(
        &mut self,
        topic: &str,
        scan: &Scan,
        findings: &mut Findings,
    ) -> Result<(), CliError> {
        let started = Instant::now();
        let openings = await_keys(&self.opener, topic, self.patience, scan).await;
        let (elapsed, now) = (started.elapsed(), Clock::system().now());
        let answers = self.answers(scan);
        judge(topic, &openings, &answers, elapsed, findings)?;
        if answers.after.is_empty() {
            return Ok(());
        }
        let scheme = &self.cluster.connection.scheme;
        let replies = scheme.side_topic(&scheme.root_of(topic), SideTopic::Keys);
        let mut owners = Owners::on_this_host(None);
        let mut latest = None;
        let backend = self.cluster.connection.backend.as_ref();
        let read = tail::read(backend, std::slice::from_ref(&replies), |record| {
            latest = latest.max(record.timestamp);
            if let Some(value) = &record.value {
                owners.add_reply(value);
            }
        });
        if let Err(error) = read.await {
            let advice = error.advice().unwrap_or("run kc doctor again");
            return findings.skip(Check::ClockAnswers, &replies, with_sources(&error), advice);
        }
        clock::of_answer(latest, now, &replies, findings)?;
        let keys = scan.keys().clone();
        let owners = spawn_blocking(move || owners.of(&keys)).await;
        let owners = owners.map_err(CliError::from_error)?;
        let owners = owners
            .into_iter()
            .map(|(id, owner)| (id, owner.node))
            .collect();
        custodians(topic, &answers, &owners, findings)
    }

    /// Returns the answers of other nodes that have come since the last call.
    fn answers(&mut self, scan: &Scan) -> Answers {
        let mut answers = Answers::default();
        while let Some(event) = self.events.try_next() {
            let NodeEvent::Received {
                ids, giver, after, ..
            } = event
            else {
                continue;
            };
            let fingerprint = giver.key.fingerprint();
            // The name that `Owners` gives to the same node.
            let name = self.names.get(&fingerprint).map(str::to_owned);
            let name = name.unwrap_or_else(|| format!("key {fingerprint}"));
            for id in ids.iter().filter(|id| scan.samples.contains_key(id)) {
                answers.after.entry(name.clone()).or_insert(after);
                answers.givers.entry(*id).or_default().insert(name.clone());
            }
        }
        answers
    }
}

/// Reports the result of a request.
fn judge(
    topic: &str,
    openings: &Openings,
    answers: &Answers,
    elapsed: Duration,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let mut closed: BTreeMap<Reason, BTreeSet<&KeyId>> = BTreeMap::new();
    for (id, reason) in openings {
        if let Some(reason) = reason {
            closed.entry(*reason).or_default().insert(id);
        }
    }
    if closed.is_empty() {
        let after = answers.after.iter();
        let givers: Vec<_> = after
            .map(|(name, after)| format!("{name} after {}", millis(*after)))
            .collect();
        let by = match givers.as_slice() {
            [] => "no other node was needed".to_owned(),
            givers => format!("answered by {}", givers.join(", ")),
        };
        let keys = counted(openings.len(), "data key");
        return findings.ok(CHECK, topic, format!("{keys} of the last records: {by}"));
    }
    for (reason, ids) in closed {
        let first = ids.first().map(ToString::to_string).unwrap_or_default();
        let keys = counted(ids.len(), "data key");
        let after = millis(elapsed);
        findings.fail(
            CHECK,
            topic,
            format!("{keys} of the last records, such as {first}: {reason}, after {after}"),
            START_PRODUCER,
        )?;
    }
    Ok(())
}

/// Reports which nodes answered in place of the node to which a data key belongs.
fn custodians(
    topic: &str,
    answers: &Answers,
    owners: &BTreeMap<KeyId, String>,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let check = Check::ExchangeCustody;
    let mut found = BTreeSet::new();
    for (id, givers) in &answers.givers {
        let Some(owner) = owners.get(id) else {
            continue;
        };
        let others = givers.iter().filter(|giver| *giver != owner);
        found.extend(others.map(|giver| format!("{giver} for {owner}")));
    }
    if found.is_empty() {
        return findings.ok(check, topic, "no custodian answered");
    }
    let found = Vec::from_iter(found).join(", ");
    findings.ok(check, topic, format!("answered as custodians: {found}"))
}

fn millis(time: Duration) -> String {
    shown_duration(Duration::from_millis(
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
    ))
}
