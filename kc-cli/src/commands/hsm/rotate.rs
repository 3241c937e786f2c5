use kc::rotate_opaque;

use crate::args::{NodeArg, PinArg};
use crate::error::CliError;
use crate::pin;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    node: NodeArg,

    #[command(flatten)]
    pin: PinArg,
}

pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let node = &args.node.node;
    pin::with(args.pin.file(), |pin| rotate_opaque(node, pin))?;
    ui.result(format!(
        "{node} has a new key for the values of its configuration"
    ))?;
    Ok(())
}
