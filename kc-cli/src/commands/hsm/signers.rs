//! Keys that are drawn on a token or put onto one: of nodes, of the root of trust, of provisioners.

use kc::core::keys::{KeyType, Signer};
use kc::core::provision::{Provisioner, derive_provisioner, derive_root};
use kc::keystore_hsm::{NodeLabels, ROOT_NAME};
use kc::maintenance::{NewTokenKeys, SameId};

use super::TokenArgs;
use crate::args::{AdoptArg, Given, ProvisioningPasswordArg, RootPasswordArg, key_type};
use crate::certificate::DescribedKey;
use crate::error::CliError;
use crate::token_signer::{draw, import, require_whole};
use crate::ui::Ui;

/// Draw the keys of a future node on a token
///
/// For a token that is prepared where it is kept, before a node is made of it; or for a root of trust that is on
/// the token alone. A root that is on the token already stays as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    token: TokenArgs,

    /// The id of the node to be
    #[arg(long, value_name = "ID", required_unless_present = "root")]
    node: Option<String>,

    /// Draw the key of a root of trust
    #[arg(long, conflicts_with = "node")]
    root: bool,

    /// What the root is called on the token: kc-root:NAME:id
    #[arg(long, default_value = ROOT_NAME, conflicts_with = "node")]
    name: String,

    #[command(flatten)]
    adopt: AdoptArg,

    /// Its signing key: 1 is Ed25519; 4 adds SLH-DSA, against quantum computers
    #[arg(long, value_name = "1|4", default_value = "1", value_parser = key_type)]
    key_type: KeyType,

    /// Print the public key as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn generate(args: &GenerateArgs, ui: Ui) -> Result<(), CliError> {
    let uri = &args.token.uri;
    require_whole(uri, args.key_type)?;
    let (key, use_it) = match &args.node {
        Some(node) => {
            let same_id = if args.adopt.adopt {
                SameId::Adopt
            } else {
                SameId::Refuse
            };
            let pin = args.token.pin()?;
            let keys = NewTokenKeys::draw(node, uri, pin, args.key_type, same_id)?;
            let provision = format!("kc provision ROLE --node {node} --keystore URI --adopt");
            (
                keys.verifying_key().clone(),
                format!("`{provision}` makes a node of it"),
            )
        }
        None => {
            let labels = NodeLabels::root(&args.name);
            let root = uri.with_object(labels.identity());
            let key = draw(args.token.open()?, labels, args.key_type)?;
            (
                key.verifying_key().clone(),
                format!("`kc chain sign --root-key '{root}'` signs with it"),
            )
        }
    };
    let key = DescribedKey::signing(&key);
    if args.json {
        return ui.result(serde_json::to_string(&key).map_err(CliError::from_error)?);
    }
    ui.result(key.line())?;
    ui.note(use_it);
    Ok(())
}

/// Put the root of trust of a password onto a token
///
/// Then --root-key signs in place of the root password, which need not be typed any more. A root that never had a
/// password is drawn by `kc hsm generate --root`.
#[derive(Debug, clap::Args)]
pub(crate) struct RootArgs {
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

pub(super) fn import_root(args: &RootArgs, ui: Ui) -> Result<(), CliError> {
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

/// Put the provisioners of a provisioning password onto a token
///
/// Then --provisioner-key certifies nodes in place of the provisioning password, which need not be typed any more.
/// Provisioners that never had a password are drawn by `kc chain provisioners --keystore`.
#[derive(Debug, clap::Args)]
pub(crate) struct ProvisionersArgs {
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

pub(super) fn import_provisioners(args: &ProvisionersArgs, ui: Ui) -> Result<(), CliError> {
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
