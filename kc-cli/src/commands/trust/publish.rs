//! `kc trust revoke` makes self-revocations. `kc trust publish` sends self-revocations and other updates from a file or
//! from an argument.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kc::Clock;
use kc::core::chain::{ChainError, Check, TrustList, TrustStore, UpdateError};
use kc::core::keys::VerifyingKey;
use kc::core::provision::self_revocation;
use kc::core::store::KeyStoreSigner;
use kc::keystore_file::system_rng;
use kc::maintenance::LockedNode;

use super::topic_of;
use super::update::{note_on_python, refused};
use crate::args::{ConnectionArgs, NodeArg, PinArg, read_bytes};
use crate::error::CliError;
use crate::pin;
use crate::publish::{Update, publish};
use crate::status::trust_of;
use crate::ui::Ui;
use crate::ui::confirm;

#[derive(Debug, clap::Args)]
pub(crate) struct PublishArgs {
    /// The revocation or update, in base64, or a file that holds it; - is stdin
    #[arg(value_name = "FILE|BASE64|-")]
    message: String,

    /// A node, running or stopped, whose configuration names the broker. kc sends the update only if this node accepts
    /// the update. Without a node, kc sends only self-revocations
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    node: Option<String>,

    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn send(args: &PublishArgs, ui: Ui) -> Result<(), CliError> {
    let message = read_bytes("the update", &args.message)?;
    let connection = args
        .connection
        .connect_management(args.node.as_deref(), ui)?;
    let judge = args.node.as_deref().map(trust_of).transpose()?;
    let (list, key) = accepted(&message, &judge.unwrap_or_else(no_roots))?;
    let fingerprint = key.fingerprint();
    let topic = publish(&connection, topic_of(list), &[Update { key, message }]).await?;
    ui.result(format!(
        "update for key {fingerprint} sent to topic {topic}"
    ))?;
    note_on_python(list, ui);
    Ok(())
}

/// Returns lists without a root of trust, under which only self-revocations are valid.
fn no_roots() -> TrustStore {
    TrustStore::new(Some(Vec::new()), Vec::new())
}

/// Checks that a node with the lists `judge` accepts an update. Returns the list and the key that the update is for.
///
/// # Errors
/// [`Exit::Refused`](crate::error::Exit::Refused) if such a node would refuse the update.
fn accepted(message: &[u8], judge: &TrustStore) -> Result<(TrustList, VerifyingKey), CliError> {
    let now = Clock::system().now();
    let look = |list: TrustList| {
        let entry = list.judge(message, judge, now)?;
        let key = entry.key().cloned().ok_or(UpdateError::EntryKey)?;
        Ok((list, key))
    };
    let taken = match look(TrustList::Deny) {
        Err(UpdateError::Chain(error)) if error.check() == Check::Usage => look(TrustList::Allow),
        taken => taken,
    };
    taken.map_err(|refusal| {
        let error = refused("the update was not sent", &refusal);
        match refusal {
            UpdateError::Chain(ChainError::UnknownRoot) => error.advise(
                "the node that --node names must trust the root of the signer; without --node, kc sends only \
                 self-revocations",
            ),
            UpdateError::Present => error.advise(
                "the node already has the entry. To send the update to other nodes, name a node without this entry in \
                 --node; a self-revocation can also be sent without --node, to the broker in -b",
            ),
            _ => error,
        }
    })
}

/// Revoke the signing keys of a node, permanently and on all nodes, after the keys were lost or stolen
///
/// The command revokes the keys that the node uses: if the node's .config has `keytypes`, only keys of these types. The
/// node must not be running. Without --publish, the command prints the revocations in base64, one line for each key.
/// The revocations have no effect until `kc trust publish` sends them. Make the revocations in advance, and do not
/// store them in the same place as the keys.
#[derive(Debug, clap::Args)]
pub(crate) struct RevokeArgs {
    #[command(flatten)]
    node: NodeArg,

    /// Send the revocations to all nodes now
    #[arg(long)]
    publish: bool,

    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn revoke(args: &RevokeArgs, ui: Ui) -> Result<(), CliError> {
    let node = pin::lock(&args.node.node, args.pin.file())?;
    let revocations = revocations(&node)?;
    if !args.publish {
        for Update { message, .. } in &revocations {
            ui.result(BASE64.encode(message))?;
        }
        return Ok(());
    }
    let connection = args
        .connection
        .connect_management(Some(&args.node.node), ui)?;
    let id = node.config().node_id();
    let consequence = format!(
        "all nodes that accept updates of the denylist will deny the keys of node {id}; nodes of the Python peer ignore \
         such updates; this cannot be undone"
    );
    confirm(&consequence, args.yes)?;
    let topic = publish(&connection, topic_of(TrustList::Deny), &revocations).await?;
    for Update { key, .. } in &revocations {
        let fingerprint = key.fingerprint();
        ui.result(format!(
            "revocation of key {fingerprint} of node {id} sent to topic {topic}"
        ))?;
    }
    note_on_python(TrustList::Deny, ui);
    ui.note("`kc provision --force` gives the node new keys");
    Ok(())
}

fn revocations(node: &LockedNode) -> Result<Vec<Update>, CliError> {
    let mut rng = system_rng()?;
    let revocation = |key: VerifyingKey| {
        let signer = KeyStoreSigner::new(node.keys(), key.clone());
        let message = self_revocation(&signer, &mut rng).map_err(CliError::from_error)?;
        let accepted = TrustList::Deny.judge(&message, &no_roots(), Clock::system().now());
        accepted.map_err(|refusal| refused("no node would accept this revocation", &refusal))?;
        Ok(Update { key, message })
    };
    node.keys()
        .verifying_keys()
        .into_iter()
        .map(revocation)
        .collect()
}
