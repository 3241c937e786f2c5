use kc::move_to_token;

use super::TokenArgs;
use crate::args::NodeArg;
use crate::error::CliError;
use crate::ui::Ui;

/// The signing keys go onto the token, and the ratchet goes on where it was. The file of the ratchet is
/// destroyed: two copies of a ratchet repeat keys. What was interrupted goes on when it is done again, and is ended by
/// `kc hsm undo-import`; until then the ratchet takes no step.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    token: TokenArgs,

    #[command(flatten)]
    node: NodeArg,

    /// Destroy the file of the signing keys, too; else it is left for you to put away
    #[arg(long)]
    shred: bool,
}

pub(super) fn run(args: Args, ui: Ui) -> Result<(), CliError> {
    let moved = move_to_token(&args.node.node, &args.token.uri, args.token.pin()?)?;
    let config = moved.files.config();
    ui.result(format!("{} is on the token now", config.display()))?;
    let Some(keys) = moved.keys else {
        return Ok(());
    };
    let path = keys.path().display().to_string();
    if args.shred {
        keys.shred()?;
        ui.note(format!("{path} is destroyed; backups of it are not"));
    } else {
        ui.note(format!(
            "{path} still holds the signing keys: put it away, or destroy it (the same again with --shred does)"
        ));
    }
    Ok(())
}
