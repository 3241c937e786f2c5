use kc::Clock;
use kc::core::chain::{ChainError, Demand, UnverifiedChain};
use kc::core::keys::VerifyingKey;
use kc::core::types::ManagementTopic;

use crate::args::{ConnectionArgs, read_bytes};
use crate::error::CliError;
use crate::publish::{Update, publish};
use crate::status::trust_of;
use crate::ui::Ui;

/// The node whose key it certifies adopts the chain if it ends no earlier than the one in use.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The chain, in base64, or a file that holds it; - is stdin
    #[arg(value_name = "FILE|BASE64|-")]
    chain: String,

    /// The node that tells where the broker is, and whose lists the chain must hold under before it is
    /// sent. It may be running
    #[arg(long, value_name = "ID|PATH", help_heading = "Node")]
    node: Option<String>,

    #[command(flatten)]
    connection: ConnectionArgs,
}

pub(super) async fn run(args: &Args, ui: Ui) -> Result<(), CliError> {
    let message = read_bytes("the chain", &args.chain)?;
    let node = args.node.as_deref();
    let connection = args.connection.connect_management(node, ui)?;
    let key = certified_key(&message, node)?;
    let fingerprint = key.fingerprint();
    let update = [Update { key, message }];
    let topic = publish(&connection, ManagementTopic::Chains, &update).await?;
    ui.result(format!("chain of key {fingerprint} sent to topic {topic}"))
}

/// The key that a chain certifies: under the lists of a node, or as it says itself.
fn certified_key(chain: &[u8], node: Option<&str>) -> Result<VerifyingKey, CliError> {
    let parsed = UnverifiedChain::parse(chain);
    let trust = node.map(trust_of).transpose()?;
    let key = parsed.and_then(|chain| match &trust {
        Some(trust) => {
            let proven = chain.validate(trust, &Demand::at(Clock::system().now()))?;
            let key = proven.keys().signer().cloned();
            key.ok_or(ChainError::NotASigner(chain.links().len()))
        }
        None => chain.claimed_key(),
    });
    key.map_err(|refusal| {
        CliError::refused("the chain is not sent", &refusal).advise(
            "have the chain issued again, under a root of trust of the nodes that it is for",
        )
    })
}
