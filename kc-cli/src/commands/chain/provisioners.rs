use kc::core::keys::{KeyType, Signer};
use kc::core::provision::{ProvisionerRequest, request_provisioners};
use kc::keystore_file::system_rng;
use serde_json::json;

use crate::args::{Given, ProvisioningPasswordArg, base64, key_type};
use crate::error::CliError;
use crate::ui::Ui;

/// The root signs each request with `kc chain sign`; `kc provision --signed-provisioner` takes the answer. A
/// revocation is for the day on which the provisioning password gets known: `kc trust publish` then ends the
/// trust in all that its provisioner certified, and nobody can take it back.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The public key of the root of trust: `kc chain root` prints it
    #[arg(long, value_name = "FILE|BASE64")]
    root_public: Given,

    #[command(flatten)]
    password: ProvisioningPasswordArg,

    /// The provisioners' type: 1 is Ed25519; 4 adds SLH-DSA [default: that of the root]
    #[arg(long, value_name = "1|4", value_parser = key_type)]
    key_type: Option<KeyType>,

    /// Print a line of JSON for each
    #[arg(long, help_heading = "Output")]
    json: bool,
}

pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let root = args.root_public.verifying_key()?;
    let password = args.password.read()?;
    let key_type = args.key_type.unwrap_or(root.key_type());
    let requests = request_provisioners(&password, &root, key_type, &mut system_rng()?)?;
    requests
        .iter()
        .try_for_each(|request| print(request, args.json, ui))
}

fn print(request: &ProvisionerRequest, as_json: bool, ui: Ui) -> Result<(), CliError> {
    let name = request.provisioner.name();
    let key = request.key.verifying_key().fingerprint();
    let (to_sign, revocation) = (base64(&request.to_sign), base64(&request.self_revocation));
    if as_json {
        let line = json!({
            "provisioner": name,
            "fingerprint": key,
            "request": to_sign,
            "revocation": revocation,
        });
        return ui.result(line.to_string());
    }
    ui.result(format!("provisioner {name}, key {key}"))?;
    ui.result(format!("  request {to_sign}"))?;
    ui.result(format!("  revocation {revocation}"))
}
