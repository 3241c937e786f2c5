use kc::renew_ratchet;

use crate::args::{NodeArg, PinArg};
use crate::error::CliError;
use crate::pin;
use crate::ui::Ui;

/// For a node whose ratchet is lost: its file, or its key on the token. What was sealed before is still handed out.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    node: NodeArg,

    #[command(flatten)]
    pin: PinArg,
}

pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let node = &args.node.node;
    let first = pin::with(args.pin.file(), |pin| renew_ratchet(node, pin))?;
    ui.result(format!(
        "{node} has a new ratchet, which begins at index {first}"
    ))
}
