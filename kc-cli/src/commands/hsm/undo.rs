use kc::undo_move;

use crate::args::{NodeArg, PinArg};
use crate::error::CliError;
use crate::pin;
use crate::ui::Ui;

/// What is on the token of the move is destroyed. Its configuration says which token that is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    node: NodeArg,

    #[command(flatten)]
    pin: PinArg,
}

pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let node = &args.node.node;
    pin::with(args.pin.file(), |pin| undo_move(node, pin))?;
    ui.result(format!("{node} goes on in its files"))
}
