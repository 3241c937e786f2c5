use kc::core::keys::KeyType;

use crate::args::{RootArgs, base64, key_type};
use crate::error::CliError;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    root: RootArgs,

    /// The root's type: 1 is Ed25519; 4 adds SLH-DSA, against quantum computers
    #[arg(long, value_name = "1|4", default_value = "1", value_parser = key_type)]
    key_type: KeyType,
}

pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let root = args.root.signer(args.key_type)?;
    let key = root.verifying_key();
    ui.note(format!("root of trust {}", key.fingerprint()));
    ui.result(base64(key.to_bytes()))
}
