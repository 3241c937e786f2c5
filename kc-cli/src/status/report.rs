//! The JSON of `kc node status`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kc::actors::exchange::{GivenKeys, RefusedSender};
use kc::actors::{HeldPartition, StoreFault};
use kc::core::custody::RootCustody;
use kc::core::exchange::Sender;
use kc::core::keys::VerifyingKey;
use kc::core::text::counted;
use kc::core::types::{RootTopic, SideTopic};
use kc::keystore_file::LockHolder;
use kc::{NodeStatus, Reason};
use serde::{Deserialize, Serialize};

/// The status of a node: the JSON of `kc node status`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    /// The node's id.
    pub(crate) node: String,
    /// The path of the node's configuration.
    pub(crate) config: PathBuf,
    /// The answer of the process that has the node open; null if no process answers.
    pub(crate) running: Option<Running>,
    /// The process that has the node open and does not answer; null if there is no such process.
    pub(crate) in_use: Option<InUse>,
    /// The fingerprints of the node's roots of trust.
    pub(crate) roots: Vec<String>,
    /// The node's certificate chains.
    pub(crate) chains: Vec<Chain>,
}

/// A process that has a node open and does not report the node's status, for example a program that uses the library.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct InUse {
    /// The process id, if it is known.
    pub(crate) process: Option<u32>,
}

/// The report of the process that has the node open.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Running {
    /// The process id.
    pub(crate) process: u32,
    /// The command of the process, for example `produce` or `node serve`.
    pub(crate) command: String,
    /// The number of data keys that the node can open records with.
    pub(crate) opening_keys: usize,
    /// The number of data keys that the node retains for late consumers, by root topic.
    pub(crate) retained_keys: BTreeMap<String, usize>,
    /// The number of data keys that the node is requesting now, by root topic.
    pub(crate) wanted: BTreeMap<String, usize>,
    /// The number of the node's requests to which it still accepts replies.
    pub(crate) outstanding: usize,
    /// The number of data keys whose request has had no answer for 20 s (or for three times `crypto_sub_interval`, if
    /// that is shorter), by root topic.
    pub(crate) unanswered: BTreeMap<String, usize>,
    /// The number of fetched records that wait for data keys, by root topic.
    pub(crate) waiting_records: BTreeMap<String, usize>,
    /// The partitions of which a consumer gets no records, because their next record cannot be opened.
    pub(crate) held: Vec<Held>,
    /// The number of requests that the node has answered.
    pub(crate) answered: u64,
    /// The number of requests that the node has vouched for; null if the node is not a controller.
    pub(crate) forwarded: Option<u64>,
    /// The data keys of other nodes that the node keeps, by root topic; null if the node is not a custodian.
    pub(crate) custody: Option<Vec<Custody>>,
    /// The number of requests, replies and updates that the node has refused, by check.
    pub(crate) refused: BTreeMap<String, u64>,
    /// The senders of recently refused requests and replies, with the check that refused them.
    pub(crate) refusals: Vec<Refusal>,
    /// The nodes that recently received data keys.
    pub(crate) given: Vec<Given>,
    /// The number of keys on the denylist.
    pub(crate) denied: usize,
    /// The number of keys that revoked themselves before this node saw them in use.
    pub(crate) self_denied: usize,
    /// The number of self-revocations that were dropped without verification, because they were too many or too long.
    pub(crate) dropped_revocations: u64,
    /// The number of times that a limit delayed the request for a data key, or that a record of a side topic was
    /// dropped because a limit was reached.
    pub(crate) bounds_hit: u64,
    /// The stores that failed when they were last used, with the cause.
    pub(crate) failing_stores: BTreeMap<String, Fault>,
}

/// The data keys of a root topic that a custodian keeps.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Custody {
    /// The root topic.
    pub(crate) root: String,
    /// The number of data keys that are kept.
    pub(crate) kept: u64,
    /// The number of data keys that records need and that are not kept yet.
    pub(crate) pending: u64,
    /// The first of the days on which a record last needed one of the kept data keys (UTC); null if none is kept.
    pub(crate) first: Option<String>,
    /// The last of these days.
    pub(crate) last: Option<String>,
}

impl Custody {
    pub(crate) fn new(root: &RootCustody) -> Self {
        Self {
            root: root.root_topic.to_string(),
            kept: root.kept,
            pending: root.pending,
            first: root.days.map(|(first, _)| first.to_string()),
            last: root.days.map(|(_, last)| last.to_string()),
        }
    }

    /// Describes the data keys in a line.
    pub(crate) fn line(&self) -> String {
        let kept = counted(self.kept, "data key");
        let days = match (&self.first, &self.last) {
            (Some(first), Some(last)) => format!(", last needed on {first} to {last}"),
            _ => String::new(),
        };
        format!(
            "{}: {kept} kept{days}; {} still missing",
            self.root, self.pending
        )
    }
}

/// A sender whose requests or replies were refused.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Refusal {
    /// The root topic.
    pub(crate) root: String,
    /// The side topic: `requests`, `keys` or `subscriptions`.
    pub(crate) side: String,
    /// The check that refused the request or reply.
    pub(crate) check: String,
    /// The fingerprint of the sender's key; null if the record names no key.
    pub(crate) key: Option<String>,
    /// True if no signature proved that the record is from this key.
    pub(crate) claimed: bool,
    /// The fingerprint of the sender's root of trust; null if the sender's chain was not verified.
    pub(crate) root_of_trust: Option<String>,
    /// The number of refusals.
    pub(crate) times: u64,
}

/// A node that received data keys.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Given {
    /// The root topic.
    pub(crate) root: String,
    /// The fingerprint of the node's key.
    pub(crate) key: String,
    /// The fingerprint of the node's root of trust.
    pub(crate) root_of_trust: String,
    /// The number of the node's requests that were answered.
    pub(crate) times: u64,
}

/// A partition of which a consumer gets no records, because its next record cannot be opened.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Held {
    /// The topic.
    pub(crate) topic: String,
    /// The partition.
    pub(crate) partition: i32,
    /// The offset of the record.
    pub(crate) offset: i64,
    /// The reason, as `--undecryptable` names it; null if the node is closed.
    pub(crate) reason: Option<String>,
    /// The id of the data key; null if the record is not sealed.
    pub(crate) key: Option<String>,
    /// The fingerprint of the node to which the data key belongs; null if it is not known.
    #[serde(default)]
    pub(crate) owner: Option<String>,
    /// The number of seconds since the record was fetched.
    pub(crate) waited: u64,
}

/// The fault of a store.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Fault {
    /// The cause as a text.
    pub(crate) reason: String,
    /// The advice for the operator.
    pub(crate) advice: Option<String>,
}

/// A certificate chain of a node. If the chain is invalid for a reason other than its expiry, all fields except
/// `problem` are null.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Chain {
    /// The fingerprint of the key that the chain certifies.
    pub(crate) key: Option<String>,
    /// The granted usages; null means all.
    pub(crate) usages: Option<Vec<String>>,
    /// The granted topics, as names and regular expressions; null means all.
    pub(crate) topics: Option<Vec<String>>,
    /// The time at which the chain expires, as ISO 8601 in UTC; null if it does not expire.
    pub(crate) expires: Option<String>,
    /// The reason why the chain is not valid; null if the chain is valid.
    pub(crate) problem: Option<Problem>,
}

/// The reason why a chain is not valid.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Problem {
    /// The check that refused the chain.
    pub(crate) check: String,
    /// The cause as a text.
    pub(crate) reason: String,
}

impl Chain {
    /// Returns the text "until TIME", or "without end" if the chain does not expire.
    pub(crate) fn until(&self) -> String {
        match &self.expires {
            Some(end) => format!("until {end}"),
            None => "without end".to_owned(),
        }
    }
}

impl InUse {
    /// Returns the description of the process for people.
    pub(crate) fn describe(self) -> String {
        match self.process {
            Some(process) => format!("in use by process {process}"),
            None => "in use by another process".to_owned(),
        }
    }
}

impl From<LockHolder> for InUse {
    fn from(holder: LockHolder) -> Self {
        Self {
            process: holder.process,
        }
    }
}

impl From<StoreFault> for Fault {
    fn from(fault: StoreFault) -> Self {
        Self {
            reason: fault.reason,
            advice: fault.advice.map(str::to_owned),
        }
    }
}

impl Refusal {
    fn new(refused: &RefusedSender) -> Self {
        let (key, party) = match &refused.sender {
            Sender::Verified(party) => (Some(&party.key), Some(party)),
            Sender::Claimed(key) => (Some(key), None),
            Sender::Unknown => (None, None),
        };
        Self {
            root: refused.root_topic.to_string(),
            side: match refused.side {
                SideTopic::Requests => "requests",
                SideTopic::Keys => "keys",
                SideTopic::Subscriptions => "subscriptions",
            }
            .to_owned(),
            check: refused.check.to_string(),
            key: key.map(VerifyingKey::fingerprint),
            claimed: matches!(refused.sender, Sender::Claimed(_)),
            root_of_trust: party.map(|party| party.root.fingerprint()),
            times: refused.times,
        }
    }
}

impl Given {
    fn new(given: &GivenKeys) -> Self {
        Self {
            root: given.root_topic.to_string(),
            key: given.requester.key.fingerprint(),
            root_of_trust: given.requester.root.fingerprint(),
            times: given.times,
        }
    }
}

impl Held {
    fn new(held: &HeldPartition) -> Self {
        Self {
            topic: held.topic.clone(),
            partition: held.partition,
            offset: held.offset,
            reason: Reason::of(&held.failure).map(|reason| reason.to_string()),
            key: held.failure.key_id().map(ToString::to_string),
            owner: held.owner.as_ref().map(VerifyingKey::fingerprint),
            waited: held.waited.as_secs(),
        }
    }
}

impl Running {
    pub(super) fn new(command: &str, status: NodeStatus) -> Self {
        let refused = status.refused();
        let exchange = status.exchange;
        let by_root = |counts: &BTreeMap<RootTopic, usize>| {
            let counts = counts.iter();
            counts
                .map(|(root, count)| (root.to_string(), *count))
                .collect()
        };
        let unanswered = exchange.missing.iter();
        let unanswered = unanswered.filter(|missing| !missing.unanswered.is_empty());
        let vouching = status.controller.iter();
        let vouching = vouching.flat_map(|controller| &controller.refusals);
        let refusals = exchange.refusals.iter().chain(vouching);
        Self {
            process: std::process::id(),
            command: command.to_owned(),
            opening_keys: status.opening_keys,
            retained_keys: by_root(&status.retained_keys),
            wanted: by_root(&exchange.wanted),
            outstanding: exchange.outstanding,
            unanswered: unanswered
                .map(|of_root| (of_root.root_topic.to_string(), of_root.unanswered.len()))
                .collect(),
            waiting_records: by_root(&status.waiting_records),
            held: status.held.iter().map(Held::new).collect(),
            answered: exchange.answered,
            forwarded: status
                .controller
                .as_ref()
                .map(|controller| controller.forwarded),
            custody: status
                .custody
                .map(|roots| roots.iter().map(Custody::new).collect()),
            refusals: refusals.map(Refusal::new).collect(),
            given: exchange.given.iter().map(Given::new).collect(),
            denied: status.trust.denied,
            self_denied: status.trust.self_denied,
            dropped_revocations: status.trust.dropped_revocations,
            refused: refused
                .iter()
                .map(|(check, times)| (check.to_string(), *times))
                .collect(),
            bounds_hit: status.bounds_hit,
            failing_stores: status
                .failing_stores
                .into_iter()
                .map(|(store, fault)| (store.to_string(), Fault::from(fault)))
                .collect(),
        }
    }
}
