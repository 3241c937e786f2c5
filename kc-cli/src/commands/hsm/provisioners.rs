use kc::core::keys::{KeyType, Signer};
use kc::core::provision::{Provisioner, derive_provisioner};
use kc::keystore_hsm::NodeLabels;

use super::TokenArgs;
use crate::args::{Given, ProvisioningPasswordArg, key_type};
use crate::error::CliError;
use crate::token_signer::{import, require_whole};
use crate::ui::Ui;

/// Then --provisioner-key certifies nodes in place of the provisioning password, which nobody needs to type any more.
/// Provisioners that never had a password are drawn by `kc chain provisioners --keystore`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    token: TokenArgs,

    /// The public key of the root of trust: `kc chain root` prints it
    #[arg(long, value_name = "FILE|BASE64")]
    root_public: Given,

    #[command(flatten)]
    password: ProvisioningPasswordArg,

    /// The provisioners' type: 1 is Ed25519; 4 adds SLH-DSA [default: that of the root]
    #[arg(long, value_name = "1|4", value_parser = key_type)]
    key_type: Option<KeyType>,
}

pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let root = args.root_public.verifying_key()?;
    let key_type = args.key_type.unwrap_or(root.key_type());
    require_whole(&args.token.uri, key_type)?;
    let password = args.password.read()?;
    let token = args.token.open()?;
    for provisioner in Provisioner::ALL {
        let key = derive_provisioner(&password, provisioner, &root, key_type)?.key;
        let labels = NodeLabels::provisioner(provisioner.name());
        import(&token, &labels, &key)?;
        let (name, key) = (provisioner.name(), key.verifying_key().fingerprint());
        ui.result(format!("provisioner {name}, key {key}, is on {token}"))?;
        let uri = args.token.uri.with_object(labels.identity());
        ui.note(format!(
            "`kc provision --provisioner-key '{uri}'` certifies by it"
        ));
    }
    Ok(())
}
