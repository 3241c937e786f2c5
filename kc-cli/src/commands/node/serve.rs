use std::collections::BTreeMap;

use kc::core::chain::Usage;
use kc::core::types::RootTopic;

use super::ServeArgs;
use crate::error::CliError;
use crate::session::Session;
use crate::status::granted;
use crate::stop::Stop;
use crate::ui::Ui;

/// Answers key requests until a signal.
pub(super) async fn run(args: ServeArgs, ui: Ui, mut stop: Stop) -> Result<(), CliError> {
    let options = args.connection.node(&args.node.node, ui);
    let session = Session::open(options, "node serve", ui).await?;
    let served = tokio::select! {
        () = stop.requested() => Ok(()),
        checked = check(&session) => match checked {
            Ok(kept) => {
                let node = session.node().config().node_id();
                ui.say(format!("{node} hands out the keys it has kept: {}", describe(&kept)));
                ui.note("Ctrl-C ends it");
                stop.requested().await;
                Ok(())
            }
            Err(error) => Err(error),
        },
    };
    session.close().await?;
    served
}

/// What would make serving pointless is better said at once. Gives the number of keys by root topic.
async fn check(session: &Session) -> Result<BTreeMap<RootTopic, usize>, CliError> {
    let open = session.node();
    let refused = || format!("node {} may not hand out keys", open.config().node_id());
    let status = open.node.status().await?;
    let mut problems = status.identities.iter().map(|(_, valid)| valid);
    if let Some(Err(refusal)) = problems.next()
        && problems.all(|valid| valid.is_err())
    {
        return Err(CliError::refused(refused(), refusal));
    }
    let granted = granted(open.files(), open.config(), Usage::Encrypt)?;
    granted.map_err(|refusal| CliError::refused(refused(), &refusal))?;
    open.backend().admin().await?.close().await;
    Ok(open.kept_keys().await?)
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
