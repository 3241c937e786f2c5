use kc::NewTokenKeys;
use kc::core::keys::KeyType;

use super::TokenArgs;
use crate::args::key_type;
use crate::certificate::DescribedKey;
use crate::error::CliError;
use crate::token_signer::require_whole;
use crate::ui::Ui;

/// For a token that is prepared where it is kept, before anybody makes a node of it; or for a root of trust that is on
/// the token alone. What is on the token already stays.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    token: TokenArgs,

    /// The id of the node to be, or a name for the root of trust
    #[arg(long, value_name = "ID")]
    node: String,

    /// Its signing key: 1 is Ed25519; 4 adds SLH-DSA, against quantum computers
    #[arg(long, value_name = "1|4", default_value = "1", value_parser = key_type)]
    key_type: KeyType,

    /// Print the public key as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let (node, uri) = (&args.node, &args.token.uri);
    require_whole(uri, args.key_type)?;
    let keys = NewTokenKeys::draw(node, uri, args.token.pin()?, args.key_type)?;
    let key = DescribedKey::signing(keys.verifying_key());
    if args.json {
        return ui.result(serde_json::to_string(&key).map_err(CliError::from_error)?);
    }
    ui.result(key.line())?;
    ui.note(format!(
        "`kc provision ROLE --node {node} --keystore URI` makes a node of it, `kc chain sign --root-key` \
         signs with it as a root of trust"
    ));
    Ok(())
}
