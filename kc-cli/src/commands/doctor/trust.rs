//! The roots of trust.

use kc::Clock;
use kc::core::chain::{TEMPORARY_ROOT, TrustEntry, TrustList};
use kc::core::keys::{KeyType, VerifyingKey};

use super::finding::{Check, Findings};
use crate::error::CliError;
use crate::stored::StoredNode;

const ALLOWLIST: &str = "allowlist";

pub(super) fn check(node: &StoredNode, findings: &mut Findings) -> Result<(), CliError> {
    roots(node, findings)?;
    let entries = node.trust.allowlist().unwrap_or_default();
    let keys: Vec<_> = entries.iter().filter_map(TrustEntry::key).collect();
    one_password(&keys, findings)?;
    classical(node, findings)
}

fn roots(node: &StoredNode, findings: &mut Findings) -> Result<(), CliError> {
    let check = Check::TrustRoots;
    let now = Clock::system().now();
    let mut in_force = Vec::new();
    for (root, entry) in node.trust.roots() {
        if entry.max_age().is_over(now) {
            findings.warn(
                check,
                root.fingerprint(),
                "this root of trust has expired",
                "add its successor with `kc trust allow`, or remove the entry from the allowlist",
            )?;
        } else if !node.trust.lists(TrustList::Deny, root) {
            in_force.push(root.fingerprint());
        }
    }
    let entries = node.trust.allowlist().unwrap_or_default();
    if entries
        .iter()
        .any(|entry| entry.key() == Some(&TEMPORARY_ROOT))
    {
        findings.warn(
            check,
            TEMPORARY_ROOT.fingerprint(),
            "the temporary root, whose private key is public, is on the allowlist; kc ignores it",
            "remove the entry from the allowlist",
        )?;
    }
    if in_force.is_empty() {
        return findings.fail(
            check,
            ALLOWLIST,
            "no root of trust is in force, so the node trusts no other node",
            "`kc trust allow` adds a root; `kc trust list` says why the listed ones are ignored",
        );
    }
    findings.ok(
        check,
        ALLOWLIST,
        format!("in force: {}", in_force.join(", ")),
    )
}

/// Looks for a classical root and a hybrid root from the same password: both have the same Ed25519 key.
fn one_password(keys: &[&VerifyingKey], findings: &mut Findings) -> Result<(), CliError> {
    let check = Check::TrustPassword;
    let mut found = false;
    for hybrid in keys.iter().filter(|key| key.key_type() == KeyType::Hybrid) {
        let half = |key: &&&VerifyingKey| {
            key.key_type() == KeyType::Ed25519 && key.ed25519() == hybrid.ed25519()
        };
        let Some(classical) = keys.iter().find(half) else {
            continue;
        };
        found = true;
        findings.warn(
            check,
            classical.fingerprint(),
            format!(
                "this classical root and the hybrid root {} are from one password",
                hybrid.fingerprint()
            ),
            "when no node has a chain of the classical root any more, remove its entry from the allowlist",
        )?;
    }
    match found {
        true => Ok(()),
        false => findings.ok(check, ALLOWLIST, "no two roots are from one password"),
    }
}

/// Looks for a classical root in force beside a hybrid one.
fn classical(node: &StoredNode, findings: &mut Findings) -> Result<(), CliError> {
    let check = Check::TrustClassical;
    let of_type = |wanted: KeyType| {
        let roots = node
            .trust
            .roots()
            .filter(move |(root, _)| root.key_type() == wanted);
        roots
            .map(|(root, _)| root.fingerprint())
            .collect::<Vec<_>>()
    };
    let (classical, hybrid) = (of_type(KeyType::Ed25519), of_type(KeyType::Hybrid));
    if hybrid.is_empty() || classical.is_empty() {
        let kind = if hybrid.is_empty() {
            "classical"
        } else {
            "hybrid"
        };
        return findings.ok(check, ALLOWLIST, format!("all roots in force are {kind}"));
    }
    let advice = if node.settings.allow_classical_root {
        "remove `allow_classical_root` when all nodes have hybrid chains, and the classical roots from the allowlist"
    } else {
        "remove the classical roots from the allowlist when all nodes have hybrid chains"
    };
    findings.warn(
        check,
        classical.join(", "),
        format!(
            "classical roots are in force beside the hybrid roots {}: an attacker with a quantum computer can certify \
             nodes of its own",
            hybrid.join(", ")
        ),
        advice,
    )
}
