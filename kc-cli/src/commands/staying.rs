//! Commands that keep a node running for others: `kc node serve`, `kc controller`, `kc chain-server`.

use std::collections::BTreeMap;

use kc::actors::NodeRoles;
use kc::core::chain::Usage;
use kc::core::store::config::Section;
use kc::core::types::RootTopic;

use crate::args::{ConnectionArgs, NodeArg, PinArg};
use crate::error::CliError;
use crate::session::Session;
use crate::status::granted;
use crate::stop::{Stop, Until};
use crate::ui::Ui;

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
struct Purpose {
    /// The command's name.
    command: &'static str,
    /// What the node does beside handing out keys.
    roles: NodeRoles,
    /// What its chain must grant, if anything special.
    usage: Option<Usage>,
    /// What it may not do without: "hand out keys".
    may_not: &'static str,
}

/// Keeps a node running until a signal, once `say` has said what for.
async fn stay(
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
    let trust = open.status().await?.trust;
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

/// Vouches for consumers that may not ask producers themselves, until a signal.
pub(crate) async fn controller(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let purpose = Purpose {
        command: "controller",
        roles: NodeRoles {
            controller: true,
            ..NodeRoles::default()
        },
        usage: Some(Usage::EncryptRequest),
        may_not: "vouch for requests",
    };
    stay(args, purpose, ui, stop, async |session: &Session| {
        let node = session.node().config().node_id();
        Ok(format!("{node} vouches for requests of all root topics"))
    })
    .await
}

/// Renews the chains of other nodes, until a signal.
pub(crate) async fn chain_server(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let purpose = Purpose {
        command: "chain-server",
        roles: NodeRoles {
            chain_server: true,
            ..NodeRoles::default()
        },
        usage: None,
        may_not: "renew chains",
    };
    stay(args, purpose, ui, stop, async |session: &Session| {
        let config = session.node().config();
        let keys = config.own_settings(Section::CHAIN_KEYS)?.len();
        let node = config.node_id();
        Ok(format!("{node} keeps the chains of {keys} keys fresh"))
    })
    .await
}

/// Answers key requests until a signal.
pub(crate) async fn serve(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let purpose = Purpose {
        command: "node serve",
        roles: NodeRoles::default(),
        usage: Some(Usage::Encrypt),
        may_not: "hand out keys",
    };
    stay(args, purpose, ui, stop, async |session: &Session| {
        let open = session.node();
        let (node, status) = (open.config().node_id(), open.status().await?);
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
