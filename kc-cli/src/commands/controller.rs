//! `kc controller`.

use kc::actors::NodeRoles;
use kc::core::chain::Usage;

use super::staying::{self, Args, Purpose};
use crate::error::CliError;
use crate::session::Session;
use crate::stop::Stop;
use crate::ui::Ui;

/// Vouches for consumers that may not ask producers themselves, until a signal.
pub(crate) async fn run(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let purpose = Purpose {
        command: "controller",
        roles: NodeRoles {
            controller: true,
            ..NodeRoles::default()
        },
        usage: Some(Usage::EncryptRequest),
        may_not: "vouch for requests",
    };
    staying::run(args, purpose, ui, stop, async |session: &Session| {
        let node = session.node().config().node_id();
        Ok(format!("{node} vouches for requests of all root topics"))
    })
    .await
}
