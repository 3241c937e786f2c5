//! Keys of nodes, roots of trust and provisioners that are generated on a token or imported onto a token.

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

/// Generate the keys of a future node, or the key of a root of trust, on a token
///
/// Use this to prepare a token before its node is provisioned, or to make a root of trust that exists only on the
/// token. If the token already has the root's key, the key stays unchanged.
#[derive(Debug, clap::Args)]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    token: TokenArgs,

    /// The id of the future node
    #[arg(long, value_name = "ID", required_unless_present = "root")]
    node: Option<String>,

    /// Generate the key of a root of trust instead of the keys of a node
    #[arg(long, conflicts_with = "node")]
    root: bool,

    /// The name of the root; the label of its key on the token is kc-root:NAME:id
    #[arg(long, default_value = ROOT_NAME, conflicts_with = "node")]
    name: String,

    #[command(flatten)]
    adopt: AdoptArg,

    /// The type of the signing key: 1 is Ed25519; 4 adds SLH-DSA, against quantum computers
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
                format!("`{provision}` makes a node with this key"),
            )
        }
        None => {
            let labels = NodeLabels::root(&args.name);
            let root = uri.with_object(labels.identity());
            let key = draw(args.token.open()?, labels, args.key_type)?;
            (
                key.verifying_key().clone(),
                format!("`kc chain sign --root-key '{root}'` signs with this key"),
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

/// Derive the root of trust from the root password, and import its key onto a token
///
/// Afterwards, other commands sign with --root-key and do not need the root password. `kc hsm generate --root`
/// generates a root key for which there is no password.
#[derive(Debug, clap::Args)]
pub(crate) struct RootArgs {
    #[command(flatten)]
    token: TokenArgs,

    /// The name of the root; the label of its key on the token is kc-root:NAME:id
    #[arg(long, default_value = ROOT_NAME)]
    name: String,

    #[command(flatten)]
    root_password: RootPasswordArg,

    /// The type of the root's key: 1 is Ed25519; 4 adds SLH-DSA, against quantum computers
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
    ui.note(format!(
        "`kc chain sign --root-key '{uri}'` signs with this root"
    ));
    Ok(())
}

/// Derive the provisioners from the provisioning password, and import their keys onto a token
///
/// Afterwards, `kc provision` certifies nodes with --provisioner-key and does not need the provisioning password. `kc
/// chain provisioners --keystore` generates provisioner keys for which there is no password.
#[derive(Debug, clap::Args)]
pub(crate) struct ProvisionersArgs {
    #[command(flatten)]
    token: TokenArgs,

    /// The public key of the root of trust, which `kc chain root` prints
    #[arg(long, value_name = "FILE|BASE64")]
    root_public: Given,

    #[command(flatten)]
    password: ProvisioningPasswordArg,

    /// The type of the provisioners' keys: 1 is Ed25519; 4 adds SLH-DSA [default: the type of the root]
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
            "`kc provision --provisioner-key '{uri}'` certifies nodes with this provisioner"
        ));
    }
    Ok(())
}
