use kc::core::keys::{KeyType, Signer};
use kc::core::provision::derive_root;
use kc::keystore_hsm::{NodeLabels, ROOT_NAME};

use super::TokenArgs;
use crate::args::{RootPasswordArg, key_type};
use crate::error::CliError;
use crate::token_signer::{import, require_whole};
use crate::ui::Ui;

/// Then --root-key signs in place of the root password, which nobody needs to type any more. A root that never had a
/// password is drawn by `kc hsm generate --root`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    token: TokenArgs,

    /// What the root is called on the token: kc-root:NAME:id
    #[arg(long, default_value = ROOT_NAME)]
    name: String,

    #[command(flatten)]
    root_password: RootPasswordArg,

    /// The root's type: 1 is Ed25519; 4 adds SLH-DSA, against quantum computers
    #[arg(long, value_name = "1|4", default_value = "1", value_parser = key_type)]
    key_type: KeyType,
}

pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    require_whole(&args.token.uri, args.key_type)?;
    let root = derive_root(&args.root_password.read()?, args.key_type)?.key;
    let labels = NodeLabels::root(&args.name);
    let token = args.token.open()?;
    import(&token, &labels, &root)?;
    let name = root.verifying_key().fingerprint();
    ui.result(format!("root of trust {name} is on {token}"))?;
    let uri = args.token.uri.with_object(labels.identity());
    ui.note(format!("`kc chain sign --root-key '{uri}'` signs with it"));
    Ok(())
}
