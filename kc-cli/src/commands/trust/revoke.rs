use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use kc::core::chain::TrustList;
use kc::core::keys::VerifyingKey;
use kc::core::provision::self_revocation;
use kc::core::store::KeyStoreSigner;
use kc::keystore_file::system_rng;
use kc::{Clock, LockedNode};

use super::publish::nobody;
use super::refusal::refused;
use super::topic_of;
use crate::args::{ConnectionArgs, NodeArg, PinArg};
use crate::confirm::confirm;
use crate::error::CliError;
use crate::pin;
use crate::publish::{Update, publish};
use crate::ui::Ui;

/// The node must not run. Without --publish the revocations are printed in base64, a line for each key, and
/// change nothing until `kc trust publish` sends them: to be kept where the keys are not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    node: NodeArg,

    /// Send it to all nodes now
    #[arg(long)]
    publish: bool,

    /// Do not ask whether it is meant
    #[arg(long)]
    yes: bool,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
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
    let consequence =
        format!("all nodes will deny the keys of {id}, and nobody can take that back");
    confirm(&consequence, args.yes)?;
    let topic = publish(&connection, topic_of(TrustList::Deny), &revocations).await?;
    for Update { key, .. } in &revocations {
        let fingerprint = key.fingerprint();
        ui.result(format!("{fingerprint} of {id} revoked on topic {topic}"))?;
    }
    ui.note("`kc provision --force` gives the node new keys");
    Ok(())
}

fn revocations(node: &LockedNode) -> Result<Vec<Update>, CliError> {
    let mut rng = system_rng()?;
    let revocation = |key: VerifyingKey| {
        let signer = KeyStoreSigner::new(node.keys(), key.clone());
        let message = self_revocation(&signer, &mut rng).map_err(CliError::from_error)?;
        let accepted = TrustList::Deny.judge(&message, &nobody(), Clock::system().now());
        accepted.map_err(|refusal| refused("nobody would take this revocation", &refusal))?;
        Ok(Update { key, message })
    };
    node.keys()
        .verifying_keys()
        .into_iter()
        .map(revocation)
        .collect()
}
