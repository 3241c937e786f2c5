//! Updates for the lists of all nodes, and their refusals.

use std::fmt;

use kc::Clock;
use kc::core::chain::{ChainError, Check, MaxAge, TrustList, TrustStore, UpdateError};
use kc::core::exchange::RefusalId;

use super::signer::UpdateSigner;
use super::topic_of;
use super::{EntryArgs, entries};
use crate::error::{CliError, Exit};
use crate::neighbours::KnownNames;
use crate::publish::{Update, publish};
use crate::status::trust_of;
use crate::ui::Ui;

/// Makes an update for each key, checks that nodes can accept the updates, and sends them.
pub(super) async fn run(
    list: TrustList,
    args: &EntryArgs,
    topics: &[String],
    ui: Ui,
) -> Result<(), CliError> {
    let keys = args.key.read()?;
    let of_node = args.node.as_deref().or(args.signer.as_deref());
    let connection = args.connection.connect_management(of_node, ui)?;
    let entries = entries(list, &keys, topics, &connection.scheme)?;
    let judge = args.node.as_deref().map(trust_of).transpose()?;

    let now = Clock::system().now();
    let signer = match &args.signer {
        Some(node) => UpdateSigner::of_node((node, args.pin.file()), list, now)?,
        None => UpdateSigner::Root(args.root().signer(args.key_type)?),
    };
    let end = now.plus(args.lifetime);
    let mut updates = Vec::new();
    for (key, entry) in keys.iter().zip(&entries) {
        let message = signer.sign(list, entry, MaxAge::until(end))?;
        let update = Update {
            key: key.clone(),
            message,
        };
        check(list, &update, (&signer, judge.as_ref()))?;
        updates.push(update);
    }
    let topic = publish(&connection, topic_of(list), &updates).await?;
    let names = KnownNames::near(None);
    for key in &keys {
        let (key, signer) = (names.of(key), signer.name());
        ui.result(format!(
            "update for key {key} sent to topic {topic}, signed by {signer}; nodes accept the update until {end}"
        ))?;
    }
    note_on_python(list, ui);
    if judge.is_none() {
        ui.note(
            "only nodes that trust the root of this signer accept the update; with --node N, kc sends an update only \
             if node N accepts it",
        );
    }
    Ok(())
}

/// Prints a note that nodes of the Python peer ignore updates.
pub(super) fn note_on_python(list: TrustList, ui: Ui) {
    let (name, verb) = match list {
        TrustList::Allow => ("allowlist", "allow"),
        TrustList::Deny => ("denylist", "deny"),
    };
    ui.note(format!(
        "nodes of the Python peer ignore {name} updates that they receive: stop each of these nodes, and change its \
         own file with `kc trust {verb} KEY --node PATH`"
    ));
}

/// Checks that nodes can accept an update. If `judge`, the lists of a node, is given, also checks that this node
/// accepts the update.
///
/// # Errors
/// [`Exit::Refused`] if all nodes would refuse the update, or if the given node refuses the update or already has the
/// entry.
fn check(
    list: TrustList,
    Update { key, message }: &Update,
    (signer, judge): (&UpdateSigner, Option<&TrustStore>),
) -> Result<(), CliError> {
    let (name, now) = (list.name(), Clock::system().now());
    // Other nodes may lack the entry although the signer has it.
    let others = signer.trust()?.without(list, key);
    list.judge(message, &others, now)
        .map_err(|refusal| refused(format!("no node would accept this {name} update"), &refusal))?;
    let Some(judge) = judge else {
        return Ok(());
    };
    let taken = if judge.lists(list, key) {
        Err(UpdateError::Present)
    } else {
        list.judge(message, judge, now).map(drop)
    };
    taken.map_err(|refusal| {
        let signer = signer.name();
        let what =
            format!("the node that --node names refuses this {name} update, which {signer} signed");
        refused(what, &refusal)
    })
}

/// Returns the error for a list update that was refused. The message begins with `what`, for example "the update was
/// not sent".
pub(super) fn refused(what: impl fmt::Display, refusal: &UpdateError) -> CliError {
    let check = RefusalId::from(refusal);
    let message = format!("{what}: {refusal} (check {check})");
    CliError::new(Exit::Refused, message).advise(advice(refusal))
}

fn advice(refusal: &UpdateError) -> &'static str {
    match refusal {
        UpdateError::Chain(error) => advice_on_chain(error),
        UpdateError::Present => {
            "the node already has the entry. To send the update to other nodes, use --publish without --node, and \
             name the broker with -b"
        }
        UpdateError::Entry(_) | UpdateError::EntryKey => {
            "make the update again with `kc trust revoke`, `allow` or `deny`; a revocation that the provisioning \
             tool of the peers printed has no entry, and therefore no effect"
        }
        _ => "make the update again with `kc trust revoke`, `allow` or `deny`",
    }
}

fn advice_on_chain(refusal: &ChainError) -> &'static str {
    match refusal.check() {
        Check::Root => {
            "wrong root password? The node that --node names must trust the root of the signer"
        }
        Check::Allowlist => {
            "the node that --node names trusts no root: `kc trust allow KEY --node N` adds a root"
        }
        Check::Denylist => "the key that signed the update is denied: sign with another key",
        Check::Expiry => "make the update again, with a longer --lifetime",
        Check::PathLength => {
            "the signer's certificate must allow one more certificate: issue it with --pathlen 1"
        }
        _ => "make the update again with `kc trust revoke`, `allow` or `deny`",
    }
}
