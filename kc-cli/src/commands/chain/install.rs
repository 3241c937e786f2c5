use kc::Clock;
use kc::core::chain::{ChainError, Demand, UnverifiedChain, encode_chain};

use super::stored::StoredChain;
use crate::args::{Given, NodeArg};
use crate::error::{CliError, Exit};
use crate::stored::StoppedNode;
use crate::ui::Ui;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    node: NodeArg,

    /// The signed certificate, as `kc chain sign` prints it; or a whole chain
    #[arg(value_name = "FILE|BASE64|-")]
    signed: Given,

    /// Print the result as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Validates the answer under the node's roots of trust, and stores it for the key that it certifies.
pub(super) fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let signed = args.signed.bytes("the signed certificate")?;
    let chain = match UnverifiedChain::parse(&signed) {
        Err(ChainError::Encoding(_)) => encode_chain(&[&signed]),
        _ => signed,
    };
    let node = StoppedNode::open(&args.node.node)?;
    let demand = Demand::at(Clock::system().now());
    let proven = UnverifiedChain::parse(&chain)
        .and_then(|chain| chain.validate(&node.stored.trust, &demand))
        .map_err(|error| {
            CliError::refused("this chain is not stored", &error).advise(
                "check that the right root signed it, in time and unaltered; `kc chain inspect` shows it",
            )
        })?;
    let keys = node.stored.keys()?;
    let mut of_node = keys.iter().enumerate();
    let certified = of_node.find(|(_, key)| proven.keys().signer() == Some(key));
    let Some((index, key)) = certified else {
        let id = node.stored.config.node_id();
        return Err(CliError::new(
            Exit::Refused,
            format!("this chain is not stored: it certifies no signing key of {id} (check M04)"),
        )
        .advise("`kc node keys` shows the node's keys, `kc chain inspect` whose chain it is"));
    };
    node.store_chain(index, &chain, None)?;
    let stored = StoredChain {
        index,
        key,
        end: proven.max_age().timestamp(),
        new_root: None,
    };
    stored.report(args.json, ui)
}
