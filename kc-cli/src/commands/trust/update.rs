//! Updates for the lists of all nodes.

use kc::Clock;
use kc::core::chain::{MaxAge, TrustList, TrustStore, UpdateError};

use super::args::{EntryArgs, entries};
use super::refusal::refused;
use super::signer::UpdateSigner;
use super::topic_of;
use crate::date::date;
use crate::error::CliError;
use crate::publish::{Update, publish};
use crate::status::trust_of;
use crate::ui::Ui;

/// Makes an update for each key, and sends them once it is sure that nodes can take them.
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
    for key in &keys {
        let (fingerprint, signer, end) = (key.fingerprint(), signer.name(), date(end));
        ui.result(format!(
            "{fingerprint} sent to topic {topic}, signed by {signer}; nodes take it until {end}"
        ))?;
    }
    if judge.is_none() {
        ui.note(
            "only nodes that trust this signer's root take it; --node N checks with node N first",
        );
    }
    Ok(())
}

/// What everybody would refuse is not sent, nor what the node that was named has or refuses.
fn check(
    list: TrustList,
    Update { key, message }: &Update,
    (signer, judge): (&UpdateSigner, Option<&TrustStore>),
) -> Result<(), CliError> {
    let (name, now) = (list.name(), Clock::system().now());
    // That the signer has it says nothing of the others.
    let others = signer.trust()?.without(list, key);
    list.judge(message, &others, now)
        .map_err(|refusal| refused(format!("nobody would take this {name} update"), &refusal))?;
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
        let what = format!("the node does not take this {name} update, signed by {signer}");
        refused(what, &refusal)
    })
}
