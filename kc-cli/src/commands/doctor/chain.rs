//! The certificate chains of the node.

use std::time::Duration;

use kc::Clock;
use kc::core::chain::{ChainError, Demand, UnverifiedChain, Usage, ValidatedChain, multimatch};
use kc::core::keys::VerifyingKey;
use kc::core::provision::Role;
use kc::core::types::Timestamp;

use super::finding::{Check, Findings};
use crate::args::shown_duration;
use crate::commands::chain::role_of;
use crate::error::CliError;
use crate::stored::StoredNode;

/// The only regular expression that nodes of the Python peer accept.
const ANY_TOPIC: &str = "^.*$";

/// The checks that need a valid chain.
const OF_VALID: [Check; 4] = [
    Check::ChainEnd,
    Check::ChainLength,
    Check::ChainUsages,
    Check::ChainTopics,
];

/// The content of the first valid chain of a node.
#[derive(Debug)]
pub(super) struct Granted {
    /// Whether the node may seal records.
    pub(super) produces: bool,
    /// Whether the node may request data keys for records.
    pub(super) consumes: bool,
    /// The root topics that are granted by name.
    pub(super) by_name: Vec<String>,
}

impl Granted {
    /// Returns whether the node seals or opens records.
    pub(super) fn has_messages(&self) -> bool {
        self.produces || self.consumes
    }
}

/// Checks the chain of each signing key. Returns what the first valid one grants. `topics` are the data topics that the
/// node shall use.
pub(super) fn check(
    node: &StoredNode,
    topics: &[String],
    ends_within: Duration,
    findings: &mut Findings,
) -> Result<Option<Granted>, CliError> {
    let now = Clock::system().now();
    let mut granted = None;
    for (position, key) in node.keys()?.iter().enumerate() {
        let name = format!("key {}", key.fingerprint());
        match validated(node, position, key, now)? {
            Ok(chain) => {
                let root = chain
                    .root()
                    .map(VerifyingKey::fingerprint)
                    .unwrap_or_default();
                findings.ok(
                    Check::ChainValid,
                    &name,
                    format!("valid under root of trust {root}"),
                )?;
                let of_key = contents(node, &chain, &name, topics, (now, ends_within), findings)?;
                granted.get_or_insert(of_key);
            }
            Err(error) => {
                let advice = error
                    .advice()
                    .unwrap_or("issue a new chain: `kc chain issue`");
                findings.fail(Check::ChainValid, &name, error.to_string(), advice)?;
                findings.skip_all(&OF_VALID, &name, Check::ChainValid)?;
            }
        }
    }
    Ok(granted)
}

/// Validates the chains of a key. Returns the first valid one, or the refusal of the first.
fn validated(
    node: &StoredNode,
    position: usize,
    key: &VerifyingKey,
    now: Timestamp,
) -> Result<Result<ValidatedChain, CliError>, CliError> {
    let chains = node.chains()?;
    let mut refusal: Option<ChainError> = None;
    for chain in chains.of_key(position, key) {
        let parsed = UnverifiedChain::parse(&chain.bytes);
        match parsed.and_then(|chain| chain.validate(&node.trust, &Demand::at(now))) {
            Ok(chain) => return Ok(Ok(chain)),
            Err(error) => drop(refusal.get_or_insert(error)),
        }
    }
    Ok(Err(match refusal {
        Some(refusal) => CliError::refused("the chain is not valid", &refusal),
        None => CliError::failure("no chain certifies this key").advise(
            "`kc chain issue` gives the key a chain; `kc node keys` shows and changes the keys of the node",
        ),
    }))
}

fn contents(
    node: &StoredNode,
    chain: &ValidatedChain,
    name: &str,
    topics: &[String],
    (now, ends_within): (Timestamp, Duration),
    findings: &mut Findings,
) -> Result<Granted, CliError> {
    match chain.max_age().timestamp() {
        Some(end) if end.since(now) < ends_within => findings.warn(
            Check::ChainEnd,
            name,
            format!("ends soon: {end}"),
            format!(
                "`kc chain issue` issues a new chain. A chain server renews its nodes about a day before the end: for \
                 these nodes run kc doctor with --ends-within 20h in place of {}",
                shown_duration(ends_within)
            ),
        )?,
        Some(end) => findings.ok(Check::ChainEnd, name, format!("ends {end}"))?,
        None => findings.ok(Check::ChainEnd, name, "has no end")?,
    }
    let constraints = chain.constraints();
    let role = role_of(node, constraints);
    let needed = role.map_or(1, |role| i64::from(role.default_path_length()));
    match constraints.path_length {
        Some(length) if length < needed => findings.fail(
            Check::ChainLength,
            name,
            format!("{length} further certificates may follow, but {needed} are needed"),
            format!("`kc chain issue --pathlen {needed}`; other nodes refuse what the node sends"),
        )?,
        Some(length) => {
            let detail = format!("{length} further certificates may follow; {needed} are needed");
            findings.ok(Check::ChainLength, name, detail)?;
        }
        None => findings.ok(Check::ChainLength, name, "not limited")?,
    }
    let usages = constraints.usages.as_deref().unwrap_or_default();
    match role {
        Some(role) => findings.ok(Check::ChainUsages, name, format!("those of the role {role}"))?,
        None if usages.is_empty() => findings.fail(
            Check::ChainUsages,
            name,
            "no usage is granted, so the node can do nothing",
            "`kc chain issue --role ROLE` issues a chain for a role",
        )?,
        None => findings.warn(
            Check::ChainUsages,
            name,
            format!("those of no role: {}", usages.join(", ")),
            "if something is refused by check C14, `kc chain issue --role ROLE` issues a chain for a role",
        )?,
    }
    let listed = constraints.topics.as_deref().unwrap_or_default();
    of_topics(node, listed, role, name, topics, findings)?;
    let by_name = listed.iter().filter(|topic| !topic.starts_with('^'));
    let has_messages = !matches!(role, Some(Role::Controller | Role::ChainServer));
    let requests = chain.grants(Usage::EncryptRequest) || chain.grants(Usage::EncryptSubscribe);
    Ok(Granted {
        produces: has_messages && chain.grants(Usage::Encrypt),
        consumes: has_messages && requests,
        by_name: by_name.cloned().collect(),
    })
}

fn of_topics(
    node: &StoredNode,
    listed: &[String],
    role: Option<Role>,
    name: &str,
    topics: &[String],
    findings: &mut Findings,
) -> Result<(), CliError> {
    let check = Check::ChainTopics;
    let needs_none = matches!(role, Some(Role::ChainServer | Role::Administrator));
    if listed.is_empty() && !needs_none {
        return findings.fail(
            check,
            name,
            "no topic is granted",
            "`kc chain issue --topics TOPIC,...` issues a chain for these topics",
        );
    }
    let scheme = node.settings.scheme();
    let mut refused = false;
    for topic in topics {
        let root = scheme.root_of(topic).to_string();
        if !multimatch(&root, listed).map_err(CliError::from_error)? {
            refused = true;
            findings.fail(
                check,
                topic,
                format!("the chain of {name} does not grant root topic {root}"),
                "`kc chain issue --topics TOPIC,...`; the new chain grants only the topics that you name",
            )?;
        }
    }
    if refused {
        return Ok(());
    }
    let pattern = |topic: &&String| topic.starts_with('^') && *topic != ANY_TOPIC;
    if let Some(pattern) = listed.iter().find(pattern) {
        return findings.warn(
            check,
            name,
            format!("granted by the regular expression {pattern}"),
            "name the topics one by one if nodes of the Python peer take part: they refuse this chain",
        );
    }
    let shown = if listed.is_empty() {
        "none, as the role needs none".to_owned()
    } else {
        listed.join(", ")
    };
    findings.ok(check, name, format!("granted: {shown}"))
}
