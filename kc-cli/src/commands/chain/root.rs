//! `kc chain root`, `kc chain sign` and `kc chain provisioners`: the root's public key, its signatures, and the
//! requests of provisioners.

use kc::core::chain::Certificate;
use kc::core::keys::{KeyType, Signer};
use kc::core::provision::{
    ProvisionError, Provisioner, derive_provisioner, request_provisioner, sign_request,
};
use kc::keystore_file::system_rng;
#[cfg(feature = "hsm")]
use kc::keystore_hsm::{NodeLabels, Token};
use serde_json::json;

#[cfg(feature = "hsm")]
use crate::args::KeystoreArgs;
use crate::args::{Given, ProvisioningPasswordArg, RootArgs, base64, key_type};
use crate::certificate::Described;
use crate::error::CliError;
#[cfg(feature = "hsm")]
use crate::pin;
#[cfg(feature = "hsm")]
use crate::token_signer::{draw, require_whole};
use crate::ui::Ui;
use crate::ui::confirm;

#[derive(Debug, clap::Args)]
pub(crate) struct PublicArgs {
    #[command(flatten)]
    root: RootArgs,

    /// The type of the root's key: 1 is Ed25519; 4 adds SLH-DSA, against quantum computers
    #[arg(long, value_name = "1|4", default_value = "1", value_parser = key_type)]
    key_type: KeyType,
}

pub(super) fn public(args: &PublicArgs, ui: Ui) -> Result<(), CliError> {
    let root = args.root.signer(args.key_type)?;
    let key = root.verifying_key();
    ui.note(format!("root of trust {}", key.fingerprint()));
    ui.result(base64(key.to_bytes()))
}

#[derive(Debug, clap::Args)]
pub(crate) struct SignArgs {
    /// The request that `kc provision --by-hand` or `kc chain provisioners` printed; - is stdin
    #[arg(value_name = "FILE|BASE64|-")]
    request: Given,

    #[command(flatten)]
    root: RootArgs,

    /// The type of the root's key: 1 is Ed25519; 4 adds SLH-DSA, against quantum computers [default: the type of the
    /// key in the request]
    #[arg(long, value_name = "1|4", value_parser = key_type)]
    key_type: Option<KeyType>,

    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

/// Shows the content of the request, asks for confirmation, and signs the request.
pub(super) fn sign(args: &SignArgs, ui: Ui) -> Result<(), CliError> {
    let request = args.request.bytes("the request")?;
    let certificate = Certificate::parse(&request).map_err(ProvisionError::Request)?;
    let key = certificate
        .keys
        .signer()
        .ok_or(ProvisionError::NotARequest)?;
    let key_type = args.key_type.unwrap_or(key.key_type());
    ui.say("the request asks the root of trust to certify:");
    let described = Described::new(&certificate, false).map_err(ProvisionError::Request)?;
    for line in described.lines() {
        ui.say(format!("  {line}"));
    }
    confirm("the root of trust will certify all of this", args.yes)?;
    let root = args.root.signer(key_type)?;
    let signed = sign_request(root.as_ref(), &request, &mut system_rng()?)?;
    let name = root.verifying_key().fingerprint();
    ui.note(format!("signed by root of trust {name}"));
    ui.result(base64(signed))
}

/// Print the requests of the provisioners, for a root whose password is elsewhere
///
/// The root signs each request with `kc chain sign`, and `kc provision --signed-provisioner` takes the result. The
/// command also prints a revocation for each provisioner: keep the revocations in a safe place. If the provisioning
/// password becomes known, or the keys on the token are stolen, send the revocations with `kc trust publish`. All
/// nodes then deny the provisioners, and all nodes that the provisioners certified. This cannot be undone.
#[derive(Debug, clap::Args)]
pub(crate) struct ProvisionersArgs {
    /// The public key of the root of trust, which `kc chain root` prints
    #[arg(long, value_name = "FILE|BASE64")]
    root_public: Given,

    #[command(flatten)]
    password: ProvisioningPasswordArg,

    #[cfg(feature = "hsm")]
    #[command(flatten)]
    keystore: KeystoreArgs,

    /// The type of the provisioners' keys: 1 is Ed25519; 4 adds SLH-DSA [default: the type of the root]
    #[arg(long, value_name = "1|4", value_parser = key_type)]
    key_type: Option<KeyType>,

    /// Print a line of JSON for each provisioner
    #[arg(long, help_heading = "Output")]
    json: bool,
}

pub(super) fn provisioners(args: &ProvisionersArgs, ui: Ui) -> Result<(), CliError> {
    for (provisioner, key) in Provisioner::ALL.into_iter().zip(args.keys()?) {
        print(provisioner, key.as_ref(), args.json, ui)?;
    }
    Ok(())
}

impl ProvisionersArgs {
    /// Returns the keys of all provisioners. They are derived from the password or, with --keystore, are on the token.
    /// Keys that the token does not have yet are generated there.
    fn keys(&self) -> Result<Vec<Box<dyn Signer>>, CliError> {
        let root = self.root_public.verifying_key()?;
        let key_type = self.key_type.unwrap_or(root.key_type());
        let all = Provisioner::ALL.into_iter();
        #[cfg(feature = "hsm")]
        if let Some(uri) = &self.keystore.keystore {
            require_whole(uri, key_type)?;
            let token = Token::open(uri, pin::of_token(uri, self.keystore.pin_file.as_deref())?)?;
            let labels = |by: Provisioner| NodeLabels::provisioner(by.name());
            let keys = all.map(|by| draw(token.clone(), labels(by), key_type));
            return Ok(keys.collect::<Result<_, _>>()?);
        }
        let password = self.password.read()?;
        let derive = |by| -> Result<Box<dyn Signer>, CliError> {
            let derived = derive_provisioner(&password, by, &root, key_type)?;
            Ok(Box::new(derived.key))
        };
        all.map(derive).collect()
    }
}

fn print(
    provisioner: Provisioner,
    key: &dyn Signer,
    as_json: bool,
    ui: Ui,
) -> Result<(), CliError> {
    let request = request_provisioner(provisioner, key, &mut system_rng()?)
        .map_err(ProvisionError::Signing)?;
    let (name, key) = (provisioner.name(), key.verifying_key().fingerprint());
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
