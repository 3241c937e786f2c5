use kc::keystore_file::{SearchPlaces, find_node};

use super::RotateArgs;
use crate::error::CliError;
use crate::status::{Rotated, rotate};
use crate::ui::Ui;

/// Asks the process that has the node open to turn its ratchet.
pub(super) async fn run(args: &RotateArgs, ui: Ui) -> Result<(), CliError> {
    let files = find_node(&args.node.node, &SearchPlaces::from_environment())?;
    match rotate(&files).await? {
        Some(Rotated::Roots(0)) => ui.result("nothing is sealed: no key was in use"),
        Some(Rotated::Roots(1)) => ui.result("ratchet turned: 1 root topic has a new key"),
        Some(Rotated::Roots(roots)) => {
            ui.result(format!("ratchet turned: {roots} root topics have new keys"))
        }
        Some(Rotated::Failed(reason)) => Err(CliError::failure(format!(
            "the ratchet was not turned: {reason}"
        ))),
        None => {
            ui.note("not running: a node begins with new keys whenever it starts");
            Ok(())
        }
    }
}
