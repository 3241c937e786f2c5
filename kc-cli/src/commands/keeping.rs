//! The wait until a custodian keeps the data keys of what was sent.

use std::time::Duration;

use kc::core::keys::VerifyingKey;
use kc::{ErrorKind, Node};

use crate::error::{CliError, Exit};
use crate::stop::Stop;
use crate::stored::StoredNode;
use crate::ui::Ui;

/// The maximum time to wait for a custodian after all records are acknowledged, if `--exit-after` is not given.
const DEADLINE: Duration = Duration::from_secs(60);

/// Returns the fingerprints of a custodian's signing keys.
pub(super) fn keys_of(name: &str) -> Result<Vec<String>, CliError> {
    let is_fingerprint = name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    match StoredNode::read(name) {
        Ok(node) => {
            let chains = node.chains()?;
            let keys = chains.iter().filter_map(|chain| chain.key.as_ref());
            let keys: Vec<_> = keys.map(VerifyingKey::fingerprint).collect();
            if keys.is_empty() {
                return Err(CliError::failure(format!("node {name} has no chain")));
            }
            Ok(keys)
        }
        Err(_) if is_fingerprint => Ok(vec![name.to_ascii_lowercase()]),
        Err(error) => Err(error),
    }
}

/// Waits until the custodian of this name, with signing keys of these fingerprints, has the data keys of all records.
///
/// # Errors
/// [`Exit::Unresolved`] if the custodian does not request the data keys in time, and [`Exit::Interrupted`] at a signal.
pub(super) async fn wait(
    node: &Node,
    (name, keys): (&str, &[String]),
    deadline: Option<Duration>,
    stop: &mut Stop,
    ui: Ui,
) -> Result<(), CliError> {
    let awaited = tokio::select! {
        () = stop.requested() => return Err(not_all_kept(name)),
        awaited = node.await_custodian(keys, deadline.unwrap_or(DEADLINE)) => awaited,
    };
    match awaited {
        Ok(()) => {
            ui.note(format!("{name} has the data keys of all records"));
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::Timeout => {
            Err(CliError::unresolved(error.to_string()).advise(format!(
                "check that the custodian {name} is running and that its chain grants the topic; all records are sent, \
                 and `kc node serve` hands out their data keys"
            )))
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns the error of a run that was interrupted while it waited for a custodian.
pub(super) fn not_all_kept(custodian: &str) -> CliError {
    let text = format!("interrupted before {custodian} had all data keys");
    CliError::new(Exit::Interrupted, text)
        .advise("all records are sent; `kc node serve` hands out their data keys")
}
