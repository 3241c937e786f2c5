use std::collections::BTreeMap;

use kc::actors::NodeRoles;
use kc::core::chain::Usage;
use kc::core::types::RootTopic;

use crate::commands::staying::{self, Args, Purpose};
use crate::error::CliError;
use crate::session::Session;
use crate::stop::Stop;
use crate::ui::Ui;

/// Answers key requests until a signal.
pub(super) async fn run(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let purpose = Purpose {
        command: "node serve",
        roles: NodeRoles::default(),
        usage: Some(Usage::Encrypt),
        may_not: "hand out keys",
    };
    staying::run(args, purpose, ui, stop, async |session: &Session| {
        let open = session.node();
        let (node, status) = (open.config().node_id(), open.node.status().await?);
        let kept = describe(&status.held_keys);
        Ok(format!("{node} hands out the keys it has kept: {kept}"))
    })
    .await
}

fn describe(kept: &BTreeMap<RootTopic, usize>) -> String {
    if kept.is_empty() {
        return "none".to_owned();
    }
    let counts: Vec<_> = kept
        .iter()
        .map(|(root, count)| format!("{root} {count}"))
        .collect();
    counts.join(", ")
}
