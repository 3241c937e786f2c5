use super::ServeArgs;
use crate::error::CliError;
use crate::session::Session;
use crate::stop::Stop;
use crate::ui::Ui;

/// Answers key requests until a signal.
pub(super) async fn run(args: ServeArgs, ui: Ui, mut stop: Stop) -> Result<(), CliError> {
    let options = args.connection.node(&args.node.node, ui);
    let session = Session::open(options, "node serve", ui).await?;
    let served = tokio::select! {
        () = stop.requested() => Ok(()),
        checked = check(&session) => match checked {
            Ok(()) => {
                let node = session.node().config().node_id();
                ui.note(format!("{node} hands out the keys it has kept; Ctrl-C ends it"));
                stop.requested().await;
                Ok(())
            }
            Err(error) => Err(error),
        },
    };
    session.close().await?;
    served
}

/// What would make serving pointless is better said at once.
async fn check(session: &Session) -> Result<(), CliError> {
    let open = session.node();
    let status = open.node.status().await?;
    let mut problems = status.identities.iter().map(|(_, valid)| valid);
    if let Some(Err(refusal)) = problems.next()
        && problems.all(|valid| valid.is_err())
    {
        let node = open.config().node_id();
        return Err(CliError::refused(
            format!("node {node} may not hand out keys"),
            refusal,
        ));
    }
    open.backend().admin().await?.close().await;
    Ok(())
}
