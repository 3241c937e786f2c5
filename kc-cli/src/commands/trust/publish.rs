use kc::Clock;
use kc::core::chain::{ChainError, Check, TrustList, TrustStore, UpdateError};
use kc::core::keys::VerifyingKey;

use super::refusal::refused;
use super::topic_of;
use crate::args::{ConnectionArgs, read_bytes};
use crate::error::CliError;
use crate::publish::{Update, publish};
use crate::status::trust_of;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The revocation or update, in base64, or a file that holds it; - is stdin
    #[arg(value_name = "FILE|BASE64|-")]
    message: String,

    /// The node that tells where the broker is, and that must take the update before others get it; only
    /// revocations hold without one. It may be running
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    node: Option<String>,

    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let message = read_bytes("the update", &args.message)?;
    let connection = args
        .connection
        .connect_management(args.node.as_deref(), ui)?;
    let judge = args.node.as_deref().map(trust_of).transpose()?;
    let (list, key) = accepted(&message, &judge.unwrap_or_else(nobody))?;
    let fingerprint = key.fingerprint();
    let topic = publish(&connection, topic_of(list), &[Update { key, message }]).await?;
    ui.result(format!("{fingerprint} sent to topic {topic}"))
}

/// Trusts no root: all that holds are the revocations of keys by themselves.
pub(super) fn nobody() -> TrustStore {
    TrustStore::new(Some(Vec::new()), Vec::new())
}

/// Which list an update is for, and which key.
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
        let error = refused("the update is not taken", &refusal);
        match refusal {
            UpdateError::Chain(ChainError::UnknownRoot) => error.advise(
                "only a key's own revocation holds without a root of trust; --node N checks with the roots \
                 of node N",
            ),
            _ => error,
        }
    })
}
