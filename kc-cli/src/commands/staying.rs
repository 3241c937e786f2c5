//! Commands that keep a node running for other nodes: `kc node serve`, `kc controller`, `kc chain-server`,
//! `kc custodian`.

use std::collections::BTreeMap;

use kc::NodeBuilder;
use kc::actors::NodeRoles;
use kc::core::chain::Usage;
use kc::core::store::config::Section;
use kc::core::text::counted;
use kc::core::types::RootTopic;

use crate::args::{ConnectionArgs, NodeArg, PinArg};
use crate::error::CliError;
use crate::session::Session;
use crate::status::granted;
use crate::stop::{Stop, Until};
use crate::ui::Ui;

/// The node, and its connection to Kafka.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    node: NodeArg,

    #[command(flatten)]
    pin: PinArg,

    #[command(flatten)]
    connection: ConnectionArgs,
}

impl Args {
    fn options(&self, ui: Ui) -> NodeBuilder {
        self.pin.of(self.connection.node(&self.node.node, ui))
    }
}

/// The purpose for which a node is kept running.
struct Purpose {
    /// The name of the command.
    command: &'static str,
    /// The usages that the node's chain must grant.
    usages: &'static [Usage],
    /// The action that the node may not do without a valid chain, for error messages: for example "hand out data keys".
    may_not: &'static str,
}

/// Keeps a node running until a signal. When the node is ready, prints the line that `say` returns.
async fn stay(
    options: NodeBuilder,
    purpose: Purpose,
    ui: Ui,
    mut stop: Stop,
    say: impl AsyncFnOnce(&Session) -> Result<String, CliError>,
) -> Result<(), CliError> {
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
                ui.note("Ctrl-C stops this node");
                stop.requested().await;
                Ok(())
            }
            Err(error) => Err(error),
        },
    };
    session.close().await?;
    kept
}

/// Checks that the node can serve its purpose, so that the command fails at once if it cannot.
///
/// # Errors
/// [`CliError`] if no chain of the node is valid, if the purpose needs a usage that no valid chain grants, or if the
/// broker cannot be reached.
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
    for usage in purpose.usages {
        let granted = granted(open.files(), open.config(), *usage)?;
        granted.map_err(|refusal| CliError::refused(refused(), &refusal))?;
    }
    open.backend().admin().await?.close().await;
    Ok(())
}

/// Vouches for limited nodes, which may request data keys only from controllers, until a signal.
pub(crate) async fn controller(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let purpose = Purpose {
        command: "controller",
        usages: &[Usage::EncryptRequest],
        may_not: "vouch for requests",
    };
    let options = args.options(ui).roles(NodeRoles {
        controller: true,
        ..NodeRoles::default()
    });
    stay(options, purpose, ui, stop, async |session: &Session| {
        let node = session.node().config().node_id();
        Ok(format!("{node} vouches for requests of all root topics"))
    })
    .await
}

/// Renews the chains of other nodes, until a signal.
pub(crate) async fn chain_server(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let purpose = Purpose {
        command: "chain-server",
        usages: &[],
        may_not: "renew chains",
    };
    let options = args.options(ui).roles(NodeRoles {
        chain_server: true,
        ..NodeRoles::default()
    });
    stay(options, purpose, ui, stop, async |session: &Session| {
        let config = session.node().config();
        let keys = config.own_settings(Section::CHAIN_KEYS)?.len();
        let node = config.node_id();
        Ok(format!(
            "{node} renews the chains of {}",
            counted(keys, "key")
        ))
    })
    .await
}

/// Answers requests for data keys until a signal.
pub(crate) async fn serve(args: Args, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let purpose = Purpose {
        command: "node serve",
        usages: &[Usage::Encrypt],
        may_not: "hand out data keys",
    };
    stay(
        args.options(ui),
        purpose,
        ui,
        stop,
        async |session: &Session| {
            let open = session.node();
            let (node, status) = (open.config().node_id(), open.status().await?);
            let kept = describe(&status.retained_keys);
            Ok(format!("{node} hands out its retained data keys: {kept}"))
        },
    )
    .await
}

/// Collects and hands out the data keys of other nodes, until a signal.
pub(super) async fn custodian(options: NodeBuilder, ui: Ui, stop: Stop) -> Result<(), CliError> {
    let purpose = Purpose {
        command: "custodian",
        usages: &[Usage::Encrypt, Usage::EncryptRequest],
        may_not: "keep data keys for other nodes",
    };
    stay(options, purpose, ui, stop, async |session: &Session| {
        let open = session.node();
        let (node, status) = (open.config().node_id(), open.status().await?);
        let kept: u64 = status.custody.iter().flatten().map(|root| root.kept).sum();
        Ok(format!(
            "{node} keeps {} of other nodes, and collects more",
            counted(kept, "data key")
        ))
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
