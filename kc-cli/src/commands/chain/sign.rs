use kc::core::chain::Certificate;
use kc::core::keys::KeyType;
use kc::core::provision::{ProvisionError, sign_request};
use kc::keystore_file::system_rng;

use crate::args::{Given, RootArgs, base64, key_type};
use crate::certificate::Described;
use crate::confirm::confirm;
use crate::error::CliError;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What `kc provision --by-hand` or `kc chain provisioners` printed
    #[arg(value_name = "FILE|BASE64|-")]
    request: Given,

    #[command(flatten)]
    root: RootArgs,

    /// The root's type: 1 is Ed25519; 4 adds SLH-DSA, against quantum computers [default: that of the
    /// key in the request]
    #[arg(long, value_name = "1|4", value_parser = key_type)]
    key_type: Option<KeyType>,

    /// Sign without being asked
    #[arg(long)]
    yes: bool,
}

/// Shows what the request grants, and signs it.
pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let request = args.request.bytes("the request")?;
    let certificate = Certificate::parse(&request).map_err(ProvisionError::Request)?;
    let key = certificate
        .keys
        .signer()
        .ok_or(ProvisionError::NotARequest)?;
    let key_type = args.key_type.unwrap_or(key.key_type());
    ui.say("to be certified:");
    let described = Described::new(&certificate, false).map_err(ProvisionError::Request)?;
    for line in described.lines() {
        ui.say(format!("  {line}"));
    }
    confirm("the root of trust vouches for all of this", args.yes)?;
    let root = args.root.signer(key_type)?;
    let signed = sign_request(root.as_ref(), &request, &mut system_rng()?)?;
    let name = root.verifying_key().fingerprint();
    ui.note(format!("signed by root of trust {name}"));
    ui.result(base64(signed))
}
