use std::collections::BTreeMap;
use std::path::PathBuf;

use kc::NodeStatus;
use kc::actors::StoreFault;
use kc::actors::exchange::{GivenKeys, RefusedSender};
use kc::core::exchange::Sender;
use kc::core::keys::VerifyingKey;
use kc::core::types::{RootTopic, SideTopic};
use kc::keystore_file::LockHolder;
use serde::{Deserialize, Serialize};

/// How a node is; the JSON of `kc node status`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    /// The node's id.
    pub(crate) node: String,
    /// Its configuration.
    pub(crate) config: PathBuf,
    /// How it is, if the process that has it open answers.
    pub(crate) running: Option<Running>,
    /// The process that has it open, if that does not answer.
    pub(crate) in_use: Option<InUse>,
    /// The fingerprints of its roots of trust.
    pub(crate) roots: Vec<String>,
    /// Its certificate chains.
    pub(crate) chains: Vec<Chain>,
}

/// A process that has a node open and does not say how it is: another program that uses the library.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct InUse {
    /// Its process id, if it is known.
    pub(crate) process: Option<u32>,
}

/// What the process that has a node open says of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Running {
    /// Its process id.
    pub(crate) process: u32,
    /// What it does: `produce`, `consume`, `node serve`.
    pub(crate) command: String,
    /// How many keys it can open with.
    pub(crate) opening_keys: usize,
    /// How many retained keys it keeps for late consumers, by root topic.
    pub(crate) held_keys: BTreeMap<String, usize>,
    /// How many keys it asks for, by root topic.
    pub(crate) wanted: BTreeMap<String, usize>,
    /// How many of its requests wait for a reply.
    pub(crate) outstanding: usize,
    /// How many of them no node answers for, by root topic.
    pub(crate) unanswered: BTreeMap<String, usize>,
    /// How many records that it has fetched wait for keys, by root topic.
    pub(crate) waiting_records: BTreeMap<String, usize>,
    /// How many requests it has answered.
    pub(crate) answered: u64,
    /// How many requests it has vouched for; none if it is no controller.
    pub(crate) forwarded: Option<u64>,
    /// How many requests, replies and updates it has refused, by check.
    pub(crate) refused: BTreeMap<String, u64>,
    /// The senders of recently refused requests and replies, and why.
    pub(crate) refusals: Vec<Refusal>,
    /// The nodes that were given keys recently.
    pub(crate) given: Vec<Given>,
    /// How many keys are denied by the denylist.
    pub(crate) denied: usize,
    /// How many keys that this node has seen nowhere denied themselves.
    pub(crate) self_denied: usize,
    /// How many messages of keys that deny themselves were dropped for lack of room.
    pub(crate) dropped_revocations: u64,
    /// How often a bound kept a key from being asked for at once.
    pub(crate) bounds_hit: u64,
    /// Which of its stores failed when they were last used, and why.
    pub(crate) failing_stores: BTreeMap<String, Fault>,
}

/// A sender whose requests or replies were refused.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Refusal {
    /// The root topic.
    pub(crate) root: String,
    /// Which of its side topics: `requests`, `keys`, `subscriptions`.
    pub(crate) side: String,
    /// The check that refused.
    pub(crate) check: String,
    /// The fingerprint of the sender's key, if it names one.
    pub(crate) key: Option<String>,
    /// Whether nothing verified that key.
    pub(crate) claimed: bool,
    /// The fingerprint of the sender's root of trust, if its chain was verified.
    pub(crate) root_of_trust: Option<String>,
    /// How often.
    pub(crate) times: u64,
}

/// A node that was given keys.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Given {
    /// The root topic.
    pub(crate) root: String,
    /// The fingerprint of the node's key.
    pub(crate) key: String,
    /// The fingerprint of its root of trust.
    pub(crate) root_of_trust: String,
    /// How many of its requests were answered.
    pub(crate) times: u64,
}

/// Why a store fails.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Fault {
    /// In words.
    pub(crate) reason: String,
    /// What can be done about it.
    pub(crate) advice: Option<String>,
}

/// A certificate chain of a node.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Chain {
    /// The fingerprint of the key that it certifies.
    pub(crate) key: Option<String>,
    /// What it grants; none means everything.
    pub(crate) usages: Option<Vec<String>>,
    /// The topics it grants, as names and regular expressions; none means all.
    pub(crate) topics: Option<Vec<String>>,
    /// When it ends, in UTC.
    pub(crate) expires: Option<String>,
    /// Why it is not valid.
    pub(crate) problem: Option<Problem>,
}

/// Why a chain is not valid.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Problem {
    /// The check that refused.
    pub(crate) check: String,
    /// In words.
    pub(crate) reason: String,
}

impl Chain {
    /// Until when it is valid, for people.
    pub(crate) fn until(&self) -> String {
        match &self.expires {
            Some(end) => format!("until {end}"),
            None => "without end".to_owned(),
        }
    }
}

impl InUse {
    /// For people.
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
            held_keys: by_root(&status.held_keys),
            wanted: by_root(&exchange.wanted),
            outstanding: exchange.outstanding,
            unanswered: unanswered
                .map(|of_root| (of_root.root_topic.to_string(), of_root.unanswered.len()))
                .collect(),
            waiting_records: by_root(&status.waiting_records),
            answered: exchange.answered,
            forwarded: status
                .controller
                .as_ref()
                .map(|controller| controller.forwarded),
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
