//! `kc chain-server`.

use kc::actors::NodeRoles;
use kc::core::store::config::Section;

use super::staying::{self, Args, Purpose};
use crate::error::CliError;
use crate::session::Session;
use crate::stop::Stop;
use crate::ui::Ui;

/// Renews the chains of other nodes, until a signal.
pub(crate) async fn run(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let purpose = Purpose {
        command: "chain-server",
        roles: NodeRoles {
            chain_server: true,
            ..NodeRoles::default()
        },
        usage: None,
        may_not: "renew chains",
    };
    staying::run(args, purpose, ui, stop, async |session: &Session| {
        let config = session.node().config();
        let keys = config.own_settings(Section::CHAIN_KEYS)?.len();
        let node = config.node_id();
        Ok(format!("{node} keeps the chains of {keys} keys fresh"))
    })
    .await
}
