//! Commands that keep a node running for others: `kc node serve`, `kc controller`, `kc chain-server`.

use kc::actors::NodeRoles;
use kc::core::chain::Usage;

use crate::args::{ConnectionArgs, NodeArg, PinArg};
use crate::error::CliError;
use crate::session::Session;
use crate::status::granted;
use crate::stop::Stop;
use crate::ui::Ui;
use crate::until::Until;

/// Which node, and how it reaches Kafka.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    node: NodeArg,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

/// What a node is kept running for.
pub(crate) struct Purpose {
    /// The command's name.
    pub(crate) command: &'static str,
    /// What the node does beside handing out keys.
    pub(crate) roles: NodeRoles,
    /// What its chain must grant, if anything special.
    pub(crate) usage: Option<Usage>,
    /// What it may not do without: "hand out keys".
    pub(crate) may_not: &'static str,
}

/// Keeps a node running until a signal, once `say` has said what for.
pub(crate) async fn run(
    args: Args,
    purpose: Purpose,
    ui: Ui,
    mut stop: Stop,
    say: impl AsyncFnOnce(&Session) -> Result<String, CliError>,
) -> Result<(), CliError> {
    let options = args.pin.of(args.connection.node(&args.node.node, ui));
    let options = options.roles(purpose.roles);
    let mut until = Until::new(stop.clone(), None);
    let Ok(session) = Session::open(options, purpose.command, ui, &mut until).await? else {
        return Ok(());
    };
    let starting = async {
        check(&session, &purpose).await?;
        say(&session).await
    };
    let kept = tokio::select! {
        () = stop.requested() => Ok(()),
        said = starting => match said {
            Ok(said) => {
                ui.say(said);
                ui.note("Ctrl-C ends it");
                stop.requested().await;
                Ok(())
            }
            Err(error) => Err(error),
        },
    };
    session.close().await?;
    kept
}

/// What would make staying pointless is better said at once.
async fn check(session: &Session, purpose: &Purpose) -> Result<(), CliError> {
    let open = session.node();
    let refused = || {
        format!(
            "node {} may not {}",
            open.config().node_id(),
            purpose.may_not
        )
    };
    let trust = open.node.status().await?.trust;
    let mut problems = trust.identities.iter().map(|identity| &identity.chain);
    if let Some(Err(refusal)) = problems.next()
        && problems.all(Result::is_err)
    {
        return Err(CliError::refused(refused(), refusal));
    }
    if let Some(usage) = purpose.usage {
        let granted = granted(open.files(), open.config(), usage)?;
        granted.map_err(|refusal| CliError::refused(refused(), &refusal))?;
    }
    open.backend().admin().await?.close().await;
    Ok(())
}
