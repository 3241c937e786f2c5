//! The text of `kc node status`.

use std::collections::BTreeMap;
use std::time::Duration;

use kc::core::text::counted;

use super::report::{Chain, Given, Held, Refusal, Report, Running};
use crate::args::shown_duration;
use crate::neighbours::KnownNames;

/// Returns the lines of a report for people.
pub(crate) fn lines(report: &Report, names: &KnownNames) -> Vec<String> {
    let mut lines = vec![format!(
        "node {} ({})",
        report.node,
        report.config.display()
    )];
    match (&report.running, report.in_use) {
        (Some(running), _) => lines.extend(running_lines(running, names)),
        (None, Some(user)) => lines.push(format!(
            "{}, which does not report the status of the node",
            user.describe()
        )),
        (None, None) => lines.push("not running".to_owned()),
    }
    lines.extend(
        report
            .roots
            .iter()
            .map(|root| format!("root of trust {root}")),
    );
    if report.roots.is_empty() {
        lines.push("no root of trust: the node trusts no other node".to_owned());
    }
    lines.extend(report.chains.iter().map(|chain| chain_line(chain, names)));
    if report.chains.is_empty() {
        lines.push(
            "no certificate chain: this node can neither request data keys nor hand them out"
                .to_owned(),
        );
    }
    lines
}

fn running_lines(running: &Running, names: &KnownNames) -> Vec<String> {
    let mut lines = vec![
        format!("running: {} (process {})", running.command, running.process),
        format!("data keys for opening records: {}", running.opening_keys),
        format!(
            "data keys retained for consumers: {}",
            counts(&running.retained_keys)
        ),
        format!("data keys being requested now: {}", counts(&running.wanted)),
        format!(
            "own requests that can still be answered: {}",
            running.outstanding
        ),
        format!(
            "data keys whose requests were not answered: {}",
            counts(&running.unanswered)
        ),
        format!(
            "records that wait for data keys: {}",
            counts(&running.waiting_records)
        ),
        format!("requests of other nodes answered: {}", running.answered),
    ];
    lines.extend(running.held.iter().map(|held| held_line(held, names)));
    if let Some(forwarded) = running.forwarded {
        lines.push(format!("requests vouched for: {forwarded}"));
    }
    let custody = running.custody.iter().flatten();
    lines.extend(custody.map(|root| format!("custody of {}", root.line())));
    lines.push(format!(
        "requests, replies and updates refused, by check: {}",
        counts(&running.refused)
    ));
    lines.extend(
        running
            .refusals
            .iter()
            .map(|refusal| refusal_line(refusal, names)),
    );
    lines.extend(running.given.iter().map(|given| given_line(given, names)));
    lines.push(format!("keys on the denylist: {}", running.denied));
    if running.self_denied > 0 || running.dropped_revocations > 0 {
        lines.push(format!(
            "unknown keys that revoked themselves: {}; self-revocations dropped without verification: {}",
            running.self_denied, running.dropped_revocations
        ));
    }
    lines.push(format!(
        "data key requests delayed, and records of side topics dropped, by a limit: {}",
        running.bounds_hit
    ));
    for (store, fault) in &running.failing_stores {
        let advice = fault
            .advice
            .iter()
            .map(|advice| format!("; advice: {advice}"));
        let advice: String = advice.collect();
        lines.push(format!(
            "{store}: FAILED when last used: {}{advice}",
            fault.reason
        ));
    }
    lines
}

fn refusal_line(refusal: &Refusal, names: &KnownNames) -> String {
    let claimed = if refusal.claimed { " (claimed)" } else { "" };
    let key = match &refusal.key {
        Some(key) => format!("key {}{claimed}", names.of_fingerprint(key)),
        None => "a sender that names no key".to_owned(),
    };
    let under = refusal.root_of_trust.iter();
    let under: String = under
        .map(|root| format!(" under root of trust {root}"))
        .collect();
    format!(
        "check {} refused records {}: signed by {key}{under}, on the side topic for {} of root topic {}",
        refusal.check,
        counted(refusal.times, "time"),
        refusal.side,
        refusal.root
    )
}

fn held_line(held: &Held, names: &KnownNames) -> String {
    let waited = Duration::from_secs(held.waited);
    let (key, owner) = (held.key.as_ref(), held.owner.as_ref());
    format!(
        "partition {} of {} has been held at offset {} for {}: {}{}{}",
        held.partition,
        held.topic,
        held.offset,
        shown_duration(waited),
        held.reason.as_deref().unwrap_or("closed"),
        key.map_or_else(String::new, |key| format!(", data key {key}")),
        owner.map_or_else(String::new, |owner| format!(
            " of {}",
            names.of_fingerprint(owner)
        )),
    )
}

fn given_line(given: &Given, names: &KnownNames) -> String {
    format!(
        "data keys of {} handed out {} in reply to requests signed by key {} under root of trust {}",
        given.root,
        counted(given.times, "time"),
        names.of_fingerprint(&given.key),
        given.root_of_trust
    )
}

fn chain_line(chain: &Chain, names: &KnownNames) -> String {
    let all = |list: &Option<Vec<String>>| {
        list.as_ref()
            .map_or_else(|| "any".to_owned(), |list| list.join(", "))
    };
    let mut line = match &chain.key {
        Some(key) => format!(
            "chain of key {}: usages {}; topics {}; {}",
            names.of_fingerprint(key),
            all(&chain.usages),
            all(&chain.topics),
            chain.until()
        ),
        None => "chain".to_owned(),
    };
    if let Some(problem) = &chain.problem {
        line.push_str(&format!(
            "; NOT VALID: {} ({})",
            problem.reason, problem.check
        ));
    }
    line
}

fn counts<N: std::fmt::Display>(counts: &BTreeMap<String, N>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    let counts: Vec<_> = counts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    counts.join(", ")
}
