use std::fmt;

use kc::core::chain::{ChainError, Check, UpdateError};
use kc::core::exchange::RefusalId;

use crate::error::{CliError, Exit};

/// A list update that is not taken.
pub(super) fn refused(what: impl fmt::Display, refusal: &UpdateError) -> CliError {
    let check = RefusalId::from(refusal);
    let message = format!("{what}: {refusal} (check {check})");
    CliError::new(Exit::Refused, message).advise(advice(refusal))
}

fn advice(refusal: &UpdateError) -> &'static str {
    match refusal {
        UpdateError::Chain(error) => advice_on_chain(error),
        UpdateError::Present => {
            "nothing is left to do for this node; to reach others, publish without --node, and say with -b \
             where the broker is"
        }
        UpdateError::Entry(_) | UpdateError::EntryKey => {
            "make it again with `kc trust revoke`, `allow` or `deny`; a revocation that the peers' \
             provisioning printed has no entry, and takes no effect"
        }
        _ => "make it again with `kc trust revoke`, `allow` or `deny`",
    }
}

fn advice_on_chain(refusal: &ChainError) -> &'static str {
    match refusal.check() {
        Check::Root => {
            "wrong root password? It must be signed under a root of trust of the node that it is checked \
             with; --node N names that node"
        }
        Check::Allowlist => "that node trusts nobody: kc trust allow KEY --node N",
        Check::Denylist => "who signs it is denied: sign with another key",
        Check::Expiry => "make it again, with a longer --lifetime",
        Check::PathLength => {
            "the signer's certificate must allow one more after it: a path length of 1"
        }
        _ => "make it again with `kc trust revoke`, `allow` or `deny`",
    }
}
