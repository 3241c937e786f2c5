use kc::core::keys::KeyType;
use kc::keystore_hsm::{NodeLabels, ROOT_NAME};
use kc::{NewTokenKeys, SameId};

use super::TokenArgs;
use crate::args::{AdoptArg, key_type};
use crate::certificate::DescribedKey;
use crate::error::CliError;
use crate::token_signer::{draw, require_whole};
use crate::ui::Ui;

/// For a token that is prepared where it is kept, before anybody makes a node of it; or for a root of trust that is on
/// the token alone. A root that is on the token already stays as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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

pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
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
