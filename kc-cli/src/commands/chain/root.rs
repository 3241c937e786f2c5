use kc::core::keys::{KeyType, Signer};
use kc::core::provision::derive_root;

use crate::args::{RootPasswordArg, base64, key_type};
use crate::error::CliError;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    root_password: RootPasswordArg,

    /// The root's type: 1 is Ed25519; 4 adds SLH-DSA, against quantum computers
    #[arg(long, value_name = "1|4", default_value = "1", value_parser = key_type)]
    key_type: KeyType,
}

pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let root = derive_root(&args.root_password.read()?, args.key_type)?.key;
    let key = root.verifying_key();
    ui.note(format!("root of trust {}", key.fingerprint()));
    ui.result(base64(key.to_bytes()))
}
